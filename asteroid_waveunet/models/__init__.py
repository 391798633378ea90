"""The networks, as Asteroid models.

base              SourceModel: shapes, separation, saving and loading
per_channel       PerChannel, for mono networks
wave_unet         WaveUNet
presets           the paper's models: presets.make("M4")
spectrogram_unet  SpectrogramUNet, the baseline U7
conv_tasnet       TasNet, Asteroid's Conv-TasNet
mrcae             MRCAE, a multi-resolution convolutional auto-encoder
by_name           load_model: folders, files, Hub names, URLs, presets, package weights
argument_checks   range checks of model arguments
"""
