"""Layers and transforms that the networks are built from."""
