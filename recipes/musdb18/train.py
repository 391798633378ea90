"""Stage 2: training, to the best model by validation loss."""

import interrupted  # noqa: F401  # isort: skip

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.segments import dataset, gpu_dataset
from asteroid_waveunet.experiment.training.fit import fit

say = rank_zero_only(print)  # several processes train where there are several devices


def main(configuration, places):
    """Trains the model; goes on where a run that was killed left off."""
    if places.best_model.is_file():
        print(f"{places.best_model} is trained already; without that file training goes on.")
        return
    settings = configuration.training
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    model = configuration.make_model()
    train_set, valid_set = make_segments(configuration, places, model)
    fit(
        model,
        train_set,
        valid_set,
        places.exp_dir,
        settings,
        config=configuration.as_dict(),
        on_device=settings.store == "gpu",
    )
    say(f"The best model is in {places.best_model}.")


# By the setting `store`: where training segments are cut.
STORES = {"memory": dataset.Segments, "gpu": gpu_dataset.DeviceSegments}


def make_segments(configuration, places, model):
    """Random segments to train on, and all of the validation tracks."""
    settings = configuration.training
    train_tracks, valid_tracks = stages.training_tracks(configuration, places)
    say(f"{len(train_tracks)} tracks to train on, {len(valid_tracks)} to validate.")
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
    )
    return train_set, dataset.Segments(valid_tracks, lengths, left, random=False)


if __name__ == "__main__":
    stages.run(main)
