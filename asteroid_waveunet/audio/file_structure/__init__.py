"""The structure of audio files, as far as it tells their length, without decoding.

truncation  compare files with the lengths that they state
chunks      wav, aiff, w64, caf, au, voc and avi: samples in chunks
boxes       mp4: boxes within boxes
objects     asf (wma) and matroska: sizes in headers
ogg         pages; streams one after another
mp3         the encoder's header in the first frame
"""
