"""Audio files as tensors and back.

io          read and write audio files, whole or in blocks
mp4         read m4a and mp4 files, write `.stem.mp4` files (PyAV)
truncation  detect truncated wav, aiff and ogg files
resampling  resample signals, whole or in blocks
checks      check samples and convert channel counts
"""
