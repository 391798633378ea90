"""Exact block-wise inference."""
