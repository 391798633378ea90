"""Segments of tracks for training."""
