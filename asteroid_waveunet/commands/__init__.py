"""The commands of `waveunet`, one a module: `add` names its options, its namesake does it.

separate    the sources of songs as files
export      one hop of a model for other programs
convert     a model of a TensorFlow checkpoint of the paper's code
shared      what they share
"""
