"""Convert checkpoints of the paper's TensorFlow code to models, without TensorFlow.

conversion    variables -> a model and its weights
architecture  variables -> the sizes of the model, and assumptions about the rest
bundle        checkpoint files -> variables
index_table   the index file: a LevelDB table of protocol buffers
crc32c        checksums
"""

from asteroid_waveunet.experiment.tf_checkpoint.conversion import (
    convert,
    read,
    state_dict_from_variables,
)

__all__ = ["convert", "read", "state_dict_from_variables"]
