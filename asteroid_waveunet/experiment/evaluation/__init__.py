"""Scores of separated tracks and data sets."""
