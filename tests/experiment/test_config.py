"""Settings and configurations: defaults, overrides, saving, and errors with a suggestion."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

import asteroid_waveunet
from asteroid_waveunet import MRCAE, SpectrogramUNet, TasNet, presets
from asteroid_waveunet.experiment import settings
from asteroid_waveunet.experiment.architectures import ARCHITECTURES
from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS
from asteroid_waveunet.experiment.settings import PRECISIONS, Training
from asteroid_waveunet.experiment.training.loggers import LOGGERS
from asteroid_waveunet.experiment.training.objectives import LOSSES, SCHEDULES
from helpers.paths import RECIPE

CONF = RECIPE / "conf"
FILES = sorted(CONF.glob("*.yml"))
PRESET_OF_FILE = {name.lower().replace("-", "_"): name for name in presets.names()}


def write_conf(tmp_path, text="model: {preset: M1, levels: 2}"):
    path = tmp_path / "conf.yml"
    path.write_text(text)
    return path


def test_names_of_choices_match_the_registries():
    assert tuple(LOSSES) == settings.LOSSES
    assert tuple(SCHEDULES) == settings.SCHEDULES
    assert tuple(AUGMENTATIONS) == settings.AUGMENTATIONS
    assert tuple(LOGGERS) == settings.LOGGERS
    for name, defaults in ARCHITECTURES.items():
        signature = inspect.signature(getattr(asteroid_waveunet, name))
        assert {n: p.default for n, p in signature.parameters.items()} == defaults, name


def test_loading_imports_neither_torch_nor_asteroid():
    program = (
        "import sys; from asteroid_waveunet.experiment.config import load;"
        "audio = load(sys.argv[1]).audio_format; assert audio.sample_rate == 44100;"
        "assert not {'torch', 'asteroid', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(CONF / "m5_highsr.yml")], check=True)


# --- conf/*.yml ---


def expected_model(name):
    """The model of a file under conf/, built from the public classes."""
    if name in PRESET_OF_FILE:
        return presets.make(PRESET_OF_FILE[name])
    return {
        "fast": lambda: presets.make("M4"),
        **dict.fromkeys(
            ("free", "real"),
            lambda: presets.make(
                "M4", levels=9, initial_filters=16, filter_growth=16, output_activation="linear"
            ),
        ),
        "m4_transposed": lambda: presets.make("M4", upsampling="transposed"),
        "m4_same": lambda: presets.make("M4", context=False),
        "u7": SpectrogramUNet,
        "u7a": SpectrogramUNet,
        "tasnet": lambda: TasNet(in_channels=2),
        "tasnet_mse": lambda: TasNet(in_channels=2),
        "mrcae": MRCAE,
    }[name]()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipe_file_has_its_model_and_fitting_segments(path):
    configuration = load(path)
    with torch.device("meta"):
        model = configuration.make_model()
        if path.stem not in ("demo", "small"):
            assert model.get_model_args() == expected_model(path.stem).get_model_args()
            dataset = "musdb18_7" if path.stem == "real" else "musdb18"
            assert configuration.data.dataset == dataset
    audio = configuration.audio_format
    assert (audio.sources, audio.sample_rate, audio.channels) == (
        model.sources,
        model.sample_rate,
        model.in_channels,
    )
    length = configuration.training.segment_length
    assert model.geometry.fit(length).output <= 1.05 * length


def test_only_the_projects_own_recipe_files_choose_the_precision():
    """The paper's models and those of its comparison are trained in float32 unless told."""
    automatic = {path.stem for path in FILES if load(path).training.precision == "auto"}
    assert automatic == {"demo", "small", "free", "real", "fast"}
    assert Training().precision == "32-true"


def test_every_preset_has_a_recipe_file():
    assert PRESET_OF_FILE.keys() <= {path.stem for path in FILES}


def test_fast_recipe_epochs_have_the_papers_duration_with_any_preset():
    for preset in ("M3", "M4", "M5", "M5-HighSR", "M6", "M7"):
        configuration = load(CONF / "fast.yml", {"preset": preset})
        with torch.device("meta"):
            geometry = configuration.make_model().geometry
        lengths = geometry.fit(configuration.training.segment_length)
        assert lengths.output == configuration.training.segment_length, preset
        samples = configuration.training.epoch_length * lengths.output
        paper = Training().epoch_length * geometry.fit(Training().segment_length).output
        assert samples == pytest.approx(paper, rel=1e-3), preset


# --- load and save ---


def test_missing_settings_have_the_papers_defaults(tmp_path):
    assert load(write_conf(tmp_path)).training == Training()


def test_command_line_overrides_the_file(tmp_path):
    path = write_conf(tmp_path, "model: {preset: M1}\ntraining: {lr: 0.1, batch_size: 4}")
    command_line = "--lr 1e-3 --levels=3 --valid 0.25 --augmentation [] --data_name null"
    configuration = load(path, parse_overrides(command_line.split()))
    assert configuration.training.lr == 1e-3
    assert configuration.training.batch_size == 4
    assert configuration.training.augmentation == []
    assert configuration.data.valid == 0.25
    assert configuration.publishing.data_name is None
    assert len(configuration.make_model().down) == 3


def test_precision_accepts_all_spellings_in_files_and_options(tmp_path):
    names = {"32": "32-true", "32-true": "32-true", "bf16": "bf16-mixed", "16-mixed": "16-mixed"}
    for spelling, name in names.items():
        by_option = load(write_conf(tmp_path), {"precision": spelling})
        in_file = load(write_conf(tmp_path, f"training: {{precision: {spelling}}}"))
        for configuration in (by_option, in_file):
            assert PRECISIONS[configuration.training.precision] == name, spelling


def test_only_constant_schedules_fine_tune():
    assert Training().fine_tunes
    assert not Training(schedule="one_cycle").fine_tunes
    assert not Training(fine_tuning=False).fine_tunes


def test_saved_configuration_loads_unchanged(tmp_path):
    path = write_conf(tmp_path)
    configuration = load(path, {"lr": "3e-4", "valid": "['a*', b]", "sources": "[a, b]"})
    configuration.save(tmp_path / "saved.yml")
    assert load(tmp_path / "saved.yml") == configuration
    assert configuration.differences(load(tmp_path / "saved.yml")) == []
    assert load(path, {"lr": 1.0}).differences(load(path)) == ["lr: 1.0, not 0.0001"]
    assert load(path, {"lr": 1.0}).differences(load(path), ignore=["lr"]) == []


def test_text_settings_are_not_parsed_as_yaml(tmp_path):
    """YAML would cut a path at a # and turn names into numbers."""
    for text in ("/x/hash #1 songs", "/x/col: on", "2024", "'2024'", "Ångström"):
        configuration = load(write_conf(tmp_path), {"dataset": text, "data_name": text})
        configuration.save(tmp_path / "saved.yml")
        saved = load(tmp_path / "saved.yml")
        assert saved.data.dataset == saved.publishing.data_name == text


def test_lists_accept_a_single_name(tmp_path):
    for text, names in (("wandb", ["wandb"]), ("[csv, wandb]", ["csv", "wandb"]), ("[]", [])):
        assert load(write_conf(tmp_path), {"logger": text}).training.logger == names


def test_scoring_notes_state_differences_from_the_default(tmp_path):
    default = load(write_conf(tmp_path))
    changed = load(write_conf(tmp_path), {"prediction": "segments", "fit_levels": "true"})
    assert default.scoring_notes == []
    assert changed.scoring_notes == [
        "in segments of 16384 samples",
        "levels fitted to the mixture",
    ]


def test_audio_format_prefers_settings_over_preset_over_defaults(tmp_path):
    path = write_conf(tmp_path, "model: {preset: M5-HighSR, sources: [a, b, c]}")
    audio = load(path).audio_format
    assert (audio.sources, audio.sample_rate, audio.channels) == (("a", "b", "c"), 44100, 2)


# --- errors ---

UNKNOWN_NAMES = [
    ("model: {preset: M1}", {"batch_sise": "4"}, "'batch_sise'.*'batch_size'"),
    ("model: {preset: M1, level: 3}", {}, "'level' .*section model.*'levels'"),
    ("training: {levels: 3}", {}, "'levels' .*section training"),
    ("training: {clip: 5.0}", {}, "'clip' .*'gradient_clip'"),
    ("model: {preset: M1}", {"clip": "1"}, "'clip' .*'gradient_clip'"),
    ("modle: {preset: M1}", {}, "'modle'.*'model'"),
    ("data: {1: 2}", {}, "no setting 1 "),
    ("model: {preset: M9}", {}, "preset 'M9'.*M1"),
    ("model: {architecture: TasNet, levels: 3}", {}, "TasNet .*levels; .* sources"),
    ("model: {architecture: TasNet, preset: M4}", {}, "'M4' .*'TasNet'.*--preset null"),
    ("model: {architecture: [TasNet]}", {}, "expected one of WaveUNet, SpectrogramUNet"),
    ("model: {architecture: X}", {}, "'X'.* WaveUNet, SpectrogramUNet, TasNet, MRCAE"),
    ("model: {preset: 5}", {}, "preset is 5; expected one of M1"),
    ("model: [M1]", {}, "not of the form section"),
    ("a: b: c", {}, "not valid YAML"),
    ("model: {preset: M1}", {"sources": "[bass, drums"}, "sources is .* not valid YAML"),
]


def test_unknown_names_and_invalid_files_are_refused(tmp_path):
    for text, overrides, message in UNKNOWN_NAMES:
        with pytest.raises(ValueError, match=message):
            load(write_conf(tmp_path, text), overrides)


INVALID_VALUES = {
    "batch_size is 'many'; expected int": {"batch_size": "many"},
    "batch_size is 2.5; expected int": {"batch_size": "2.5"},
    "batch_size is 0; .* at least 1": {"batch_size": "0"},
    "accumulate is 0; .* at least 1": {"accumulate": "0"},
    "max_epochs is 0; .* at least 1": {"max_epochs": "0"},
    "devices is 0; .* at least 1": {"devices": "0"},
    "jobs is 0; .* at least 1": {"jobs": "0"},
    "seed is -1; .* at least 0": {"seed": "-1"},
    "warmup_steps is -1; .* at least 0": {"warmup_steps": "-1"},
    "listen_every is -1; .* at least 0": {"listen_every": "-1"},
    "lr is nan; expected a number above 0": {"lr": ".nan"},
    "fine_tuning_lr is 0.0; expected a number above 0": {"fine_tuning_lr": "0"},
    "lr is 0.0001, too small for muon": {"optimizer": "muon"},
    "fine_tuning_lr is 1e-05, too small for muon": {"optimizer": "muon", "lr": "0.02"},
    "gradient_clip is -1.0; expected a number, 0": {"gradient_clip": "-1"},
    "checkpoint_minutes is inf; expected": {"checkpoint_minutes": "inf"},
    "valid is 2.0; expected a fraction": {"valid": "2.0"},
    "remix is 2.0; expected a fraction": {"remix": "2"},
    "ema is 1.0; .* from 0 to below 1": {"ema": "1.0"},
    "memory is 0.0; .* above 0": {"memory": "0"},
    "loss is 'mes'; expected one of mse, l1": {"loss": "mes"},
    "schedule is 'x'; expected one of constant": {"schedule": "x"},
    "store is 'disk'; expected one of memory, gpu": {"store": "disk"},
    "augmentation is 'x'; expected one of": {"augmentation": "[x]"},
    "pitch_tempo.*store: memory": {"augmentation": "[pitch_tempo]", "store": "gpu"},
    "logger is 'wand'; expected one of tensorb": {"logger": "wand"},
    "precision is 8; expected one of 32-true, bf16": {"precision": "8"},
    "'fsdp'; expected one of auto, ddp": {"strategy": "fsdp"},
    "prediction is 'whole'; .* seamless, segm": {"prediction": "whole"},
    "license is 1; expected str or null": {"license": 1},
    "'model'.* user/name": {"repo_id": "model"},
    "'v 1'.*v1.0": {"revision": "v 1"},
}


def test_invalid_values_are_refused(tmp_path):
    path = write_conf(tmp_path)
    for message, overrides in INVALID_VALUES.items():
        with pytest.raises(ValueError, match=message):
            load(path, overrides)


def test_check_model_refuses_impossible_arguments(tmp_path):
    for text, message in {
        "{preset: M1, levels: 0}": "levels is 0",
        "{preset: M1, sample_rate: abc}": "sample_rate is 'abc'",
        "{preset: M1, sources: 5}": "sources is 5",
        "{architecture: MRCAE, filters: 0}": "filters is 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            load(write_conf(tmp_path, f"model: {text}")).check_model()


def test_missing_file_lists_the_existing_ones(tmp_path):
    write_conf(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere.yml.*: conf"):
        load(tmp_path / "nowhere.yml")


def test_incomplete_options_are_refused():
    for arguments in (["lr", "1"], ["--lr"], ["--lr", "--levels", "3"], ["--"]):
        with pytest.raises(ValueError, match="expected --"):
            parse_overrides(arguments)
