"""Audio files as tensors and back."""
