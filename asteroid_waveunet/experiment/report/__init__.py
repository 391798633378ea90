"""Pages, tables and plots of results.

evaluation_page     the page of an evaluation, with excerpts of the best, median and worst track
page                a page to judge a model by: scores, plots, excerpts, settings
page_files          the folder of a page: templates, file names, allowed contents
track_sections      the page's sections on single tracks: SDR over time, and the player
tables              score tables, and the choice of representative tracks
plots               plots of scores as SVG
training_curves     losses and scores of a training, read and plotted
spectrogram_images  images of a waveform above its spectrogram
excerpts            choice of a lively excerpt, and its playback levels
benchmark_table     one Markdown table of several experiments
"""
