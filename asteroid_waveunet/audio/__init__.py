"""Audio files as tensors and back.

formats     suffixes of audio files, names that are no songs
folders     find audio files in folders
sources     pipes and file objects as files
reader      read audio files, whole or in blocks
file_structure  what files state about their length, and joined files
container   decode compressed files (PyAV)
io          write audio files; all of `reader`
mp4         write `.stem.mp4` files (PyAV)
stem_names  names and order of the streams of `.stem.mp4` files
tags        tags and cover of a song, for its stems
resampling  resample signals, whole or in blocks
checks      check samples and convert channel counts
"""
