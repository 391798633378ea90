"""The command `waveunet`, one module per command.

main      parse the command line; load the chosen command only
separate  write the stems of songs
catalogue  separate many songs: URLs, manifests, clusters
evaluate  score a model or a folder of estimates
compare   compare two sets of scores
publish   upload an experiment's model to the Hugging Face Hub
export    write a model as one file, or as a page
demo      separate songs in the browser
convert   turn a TensorFlow checkpoint into a model
choices   values that options may take, without importing torch
streams   standard input, output and error
common    options that commands share; check output folders

Each command module has `add_options(parser)` and `run(options)`, and imports torch only in `run`,
so that help and wrong options answer at once.
"""
