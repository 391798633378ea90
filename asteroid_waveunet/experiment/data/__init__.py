"""Data sets: obtained, checked, decoded once."""
