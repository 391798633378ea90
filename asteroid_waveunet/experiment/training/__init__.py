"""Training with Asteroid's System on Lightning."""
