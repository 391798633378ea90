"""Training and validation segments cut from prepared tracks.

augmentation   gains, channel swaps, sign flips, pitch and tempo, by name
random_plans   random choice of tracks, positions and augmentations for a batch
mixing         cut, stretch and mix segments on the CPU
dataset        segments for a DataLoader, from memory-mapped tracks
gpu_dataset    random segments cut in a GPU's memory
batch_sampler  resumable batch sampler, endless shuffling, collation
"""
