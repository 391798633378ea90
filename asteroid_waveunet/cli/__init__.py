"""The command `waveunet`, one module per command.

main      parse the command line; load the chosen command only
separate  write the stems of songs
catalogue  separate many songs: URLs, manifests, clusters
evaluate  score a model or a folder of estimates
compare   compare two sets of scores
publish   upload an experiment's model to the Hugging Face Hub
export    write a model as one file
convert   turn a TensorFlow checkpoint into a model
choices   values that options may take, without importing torch
pipes     `-` and pipes as songs, `-` as the output
output    standard output and error whose failure is never the work's
common    options that commands share; check output folders

Each command module has `add_options(parser)` and `run(options)`, and imports torch only in `run`,
so that help and wrong options answer at once.
"""
