"""Training with Asteroid's System on Lightning.

fit             train a model and keep the best one
precision       choose float32 or bfloat16 for this machine and model
system          the LightningModule with its loss, optimizer and data loaders
teacher         train towards the estimates of trained weights
objectives      losses and learning-rate schedules by name
optimizers      Adam and Muon
distributed     collectives for several processes
signals         stop on SIGTERM, Ctrl-C or SLURM's time limit
restarts        go back after a collapse, with half the learning rate
checkpoint_io   read and write checkpoint files
loggers         TensorBoard, Weights & Biases and CSV
callbacks/      Lightning callbacks
"""
