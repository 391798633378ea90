"""Stage 2: train the model and keep the weights with the best validation loss."""

import interrupted  # noqa: F401  # isort: skip

import dataclasses

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.segments import dataset, gpu_dataset
from asteroid_waveunet.experiment.settings import AUTO
from asteroid_waveunet.experiment.training import precision
from asteroid_waveunet.experiment.training.fit import fit
from asteroid_waveunet.file_locks import is_first_process
from asteroid_waveunet.weights.warm_start import warm_start

print_once = rank_zero_only(print)  # several devices train in several processes


def main(configuration, experiment):
    """Train the model, or resume an interrupted training."""
    if experiment.best_model.is_file():
        print(f"{experiment.best_model} is already trained; delete it to resume training.")
        return
    settings = configuration.training
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    model = configuration.make_model()
    if settings.init is not None:
        started = warm_start(model, settings.init)
        fresh = f"; random: {', '.join(started.kept)}" if started.kept else ""
        print_once(f"Starting from {settings.init}: {len(started.copied)} tensors{fresh}.")
    configuration = with_precision(configuration, experiment, model)
    settings = configuration.training
    train_set, valid_set = make_segments(configuration, experiment, model)
    fit(
        model,
        train_set,
        valid_set,
        experiment.exp_dir,
        settings,
        config=configuration.as_dict(),
        on_device=settings.store == "gpu",
    )
    print_once(f"The best model is in {experiment.best_model}.")


def with_precision(configuration, experiment, model):
    """Replace the precision `auto` by a choice, which the experiment's configuration then holds."""
    if configuration.training.precision != AUTO:
        return configuration
    settings, choice = precision.resolve(configuration.training, model)
    print_once(f"Precision {choice}.")
    configuration = dataclasses.replace(configuration, training=settings)
    if is_first_process():
        configuration.save(experiment.conf)
    return configuration


# Setting `store` -> data set of training segments.
STORES = {"memory": dataset.Segments, "gpu": gpu_dataset.DeviceSegments}


def make_segments(configuration, experiment, model):
    """Return random training segments, and the validation tracks in segments."""
    settings = configuration.training
    train_tracks, valid_tracks = stages.training_tracks(configuration, experiment)
    print_once(f"{len(train_tracks)} tracks to train on, {len(valid_tracks)} to validate.")
    lengths = model.geometry.fit(settings.segment_length)
    left = model.geometry.left_context
    train_set = STORES[settings.store](
        train_tracks,
        lengths,
        left,
        settings.epoch_length,
        settings.seed,
        settings.augmentation,
        remix=settings.remix,
        remix_stems=settings.remix_stems,
    )
    return train_set, dataset.Segments(valid_tracks, lengths, left, random=False)


if __name__ == "__main__":
    stages.run(main)
