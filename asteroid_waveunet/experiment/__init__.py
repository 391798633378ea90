"""Training, evaluation and publishing of models. Needs asteroid-waveunet[experiment].

data            obtain data sets, list their tracks and prepare them for training
demo_songs      generate songs with exact stems
free_songs      generate songs from sampled instruments and sung phrases
segments        data loading: random segments, augmentation and batches
training        train a model with PyTorch Lightning
evaluation      museval scores of models and other estimators, and their comparison
report          HTML pages, tables and plots of scores, with audio excerpts
paper_figures   figures on the paper's arguments
web             a page that separates songs in the browser
publishing      model cards, licences and upload to the Hugging Face Hub
tf_checkpoint   convert checkpoints of the TensorFlow reference
config          load, check and compare configurations
settings        dataclasses of the configuration's sections
architectures   networks to choose from, with their arguments
experiment_dir  files and folders of an experiment
recorded_tracks  tracks that a training began with
stages          steps shared by the stages of the recipe
disk            free disk space and locks
"""
