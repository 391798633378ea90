"""Generated songs with true stems."""
