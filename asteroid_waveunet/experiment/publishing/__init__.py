"""Trained models for the Hugging Face Hub."""
