"""Trained models as files: written, read safely, found on the Hub."""
