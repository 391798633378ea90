"""Checkpoints of the paper's TensorFlow code as models of ours, without TensorFlow.

conversion  variables -> a model and its weights
bundle      a checkpoint file -> variables
"""

from asteroid_waveunet.experiment.tf_checkpoint.conversion import (
    convert,
    read,
    state_dict_from_variables,
)

__all__ = ["convert", "read", "state_dict_from_variables"]
