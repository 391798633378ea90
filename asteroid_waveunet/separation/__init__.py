"""Songs to stems.

separate     separate a tensor, an array or an audio file
stems        select stems, fit them to full scale, write them as files
background   write in other threads while the network computes
batch        find songs and separate them in parallel
layout       name the files of stems
stem_options  select stems, choose their format and how they are computed
stem_record  remember what stems were made from
stem_store   find, lock and record the stems of songs
"""
