"""Data sets on disk, from their download to prepared training tracks.

corpora          records of the known data sets: source, checksum, layout
obtain           download, unpack and check them
download         resumable HTTP download of one large file
unzip            safe extraction of untrusted zip files
licenses         terms of use of the known data sets
track            interface of a track; stems of equal shapes, grouped into sources
musdb            list and read tracks in MUSDB18's layout
ffmpeg           locate ffmpeg and ffprobe; decode `.stem.mp4` files
errata           known faults of songs
splits           division into training and validation tracks
prepare          decode training tracks into the store
prepared_store   the store of decoded tracks and its index
"""
