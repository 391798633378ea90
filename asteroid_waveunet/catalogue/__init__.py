"""Separation of catalogues: many songs, on object storage and on many machines.

separate_catalogue  separate_catalogue: check everything, run, write the table of all songs
songs               songs from files, folders, patterns and URLs
manifest            songs from the rows of a file
job                 the settings of a run
worker              the work on one song: download, separate, upload, record
stem_output         stems and their record in the output folder
scratch             temporary folders of workers
log                 results in few files; catalogue.parquet
engine              give songs to workers, repeat those whose workers died
local_engine        workers as threads
ray_engine          workers as Ray actors
progress            a line for a person, the summary
"""
