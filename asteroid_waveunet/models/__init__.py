"""The networks, as Asteroid models."""
