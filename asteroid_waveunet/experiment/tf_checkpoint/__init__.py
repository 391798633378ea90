"""Checkpoints of the reference code as models."""
