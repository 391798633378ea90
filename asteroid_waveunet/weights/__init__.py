"""Trained models as files: writing, safe loading, and the Hugging Face Hub.

pretrained      save and load a model with its class and arguments
serialization   write and read model files
safe_load       load untrusted checkpoint files without running code
hub             find and download published models
other_projects  detect checkpoint files of other projects
"""
