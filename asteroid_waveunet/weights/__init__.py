"""Trained models as files: writing, safe loading, and the Hugging Face Hub.

loading         save and load a model with its class and arguments
warm_start      start a model from trained weights, as far as they fit
serialization   write and read model files
safe_load       load untrusted checkpoint files without running code
hub             find and download published models
other_projects  detect checkpoint files of other projects
"""
