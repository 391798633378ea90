"""Generated demonstration songs with exact stems.

generate      write songs in MUSDB18-HQ's layout
composition   draw chords, rhythms and melodies; play and mix the four stems
synthesis     instruments, drums, singing voice, panning and reverb
"""
