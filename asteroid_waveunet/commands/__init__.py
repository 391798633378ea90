"""The commands of `waveunet`, one a module: `add` names its options, its namesake does it.

separate    the sources of songs as files
evaluate    scores of a model, or of a folder of estimates
compare     two sets of scores, track by track
export      a model as one file: its weights, or one hop for other programs
convert     a model of a TensorFlow checkpoint of the paper's code
shared      what they share
"""
