"""The command `waveunet`, one module a command."""
