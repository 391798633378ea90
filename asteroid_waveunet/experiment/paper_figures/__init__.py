"""Figures of the paper's arguments."""
