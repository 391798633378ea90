"""Free songs: sampled instruments play random arrangements, and recorded phrases are sung to them.

generate     write songs in MUSDB18-HQ's layout from a soundfont and folders of sung phrases
styles       kinds of music: tempo, grooves and instruments
arrangement  draw a song's players and sections, and write their notes
soundfont    play notes with the sampled instruments of a soundfont (FluidSynth)
phrases      find sung phrases and their key and tempo; fit them to a song
singing      draw a singer; place and mix the phrases of a song
effects      filters, saturation, compression, echo, formants
"""
