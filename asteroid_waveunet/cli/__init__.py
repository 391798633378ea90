"""The command `waveunet`. Each command's module imports what it runs inside its functions.

main      parse the arguments, run a command, report errors
separate  songs to stems
evaluate  scores of a model or of a folder of estimates
compare   two sets of scores, track by track
publish   an experiment's model to the Hugging Face Hub
export    a model as one file
convert   a TensorFlow checkpoint to a model
common    loading a model, checking folders
"""
