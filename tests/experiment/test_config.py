"""Settings: one home each, overrides by name, and an unknown one told its nearest neighbour."""

from __future__ import annotations

from functools import partial

import pytest

from asteroid_waveunet import MRCAE, SpectrogramUNet, TasNet, presets
from asteroid_waveunet.experiment.config import PRECISIONS, Training, load, parse_overrides
from helpers.paths import RECIPE

CONF = RECIPE / "conf"


def conf(tmp_path, text="model: {preset: M1, levels: 2}"):
    path = tmp_path / "conf.yml"
    path.write_text(text)
    return path


# File -> what it is to build; those of presets have their names.
FULL_SIZE = {
    name.lower().replace("-", "_"): partial(presets.make, name) for name in presets.names()
}
FULL_SIZE |= {
    "fast": partial(presets.make, "M4"),
    "m4_transposed": partial(presets.make, "M4", upsampling="transposed"),
    "m4_same": partial(presets.make, "M4", context=False),
    "u7": SpectrogramUNet,
    "u7a": SpectrogramUNet,
    "tasnet": partial(TasNet, in_channels=2),
    "tasnet_mse": partial(TasNet, in_channels=2),
    "mrcae": MRCAE,
}


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yml")), ids=lambda path: path.stem)
def test_every_file_of_the_recipe_builds_its_model(path):
    configuration = load(path)
    model = configuration.make_model()
    if path.stem not in ("demo", "small"):
        assert model.get_model_args() == FULL_SIZE[path.stem]().get_model_args()
        assert configuration.data.dataset == "musdb18"


def test_there_is_a_file_for_every_preset():
    slugs = {name.lower().replace("-", "_") for name in presets.names()}
    assert slugs <= {path.stem for path in CONF.glob("*.yml")}


@pytest.mark.parametrize("preset", ["M3", "M4", "M5", "M5-HighSR", "M6", "M7"])
def test_the_fast_recipe_is_as_much_music_an_epoch_with_any_preset(preset):
    configuration = load(CONF / "fast.yml", {"preset": preset})
    lengths = configuration.make_model().geometry.fit(configuration.training.segment_length)
    paper = configuration.make_model().geometry.fit(Training().segment_length)
    assert lengths.output == configuration.training.segment_length, "a length that fits"
    music = configuration.training.epoch_length * lengths.output
    assert music == pytest.approx(Training().epoch_length * paper.output, rel=1e-3)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yml")), ids=lambda path: path.stem)
def test_every_file_of_the_recipe_trains_on_segments_that_fit(path):
    configuration = load(path)
    length = configuration.training.segment_length
    assert configuration.make_model().geometry.fit(length).output <= 1.05 * length


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{architecture: TasNet, levels: 3}", "A TasNet has no levels; its settings are sources"),
        ("{architecture: TasNet, preset: M4}", "one of the two settings, and --preset null"),
        ("{architecture: [TasNet]}", "expected one of WaveUNet, SpectrogramUNet"),
        ("{architecture: Demucs}", "expected one of WaveUNet, SpectrogramUNet, TasNet, MRCAE"),
        ("{architecture: MRCAE, filters: 0}", "filters is 0"),
    ],
)
def test_settings_are_those_of_the_architecture(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(conf(tmp_path, f"model: {text}"))


def test_what_is_unusual_about_scores_is_said_and_tells_them_from_others(tmp_path):
    plain = load(conf(tmp_path))
    odd = load(conf(tmp_path), {"prediction": "segments", "fit_levels": "true"})
    assert plain.unusual_scoring == []
    assert odd.unusual_scoring == ["in segments of 16384 samples", "levels fitted to the mixture"]
    with pytest.raises(ValueError, match="prediction is 'whole'; expected one of seamless, segm"):
        load(conf(tmp_path), {"prediction": "whole"})


def test_what_a_file_leaves_out_is_the_papers(tmp_path):
    assert load(conf(tmp_path)).training == Training()


def test_the_command_line_comes_over_the_file(tmp_path):
    path = conf(tmp_path, "model: {preset: M1}\ntraining: {lr: 0.1, batch_size: 4}")
    overrides = parse_overrides(
        [
            "--lr",
            "1e-3",
            "--levels=3",
            "--valid",
            "0.25",
            "--augmentation",
            "[]",
            "--data_name",
            "null",
        ]
    )
    configuration = load(path, overrides)
    assert configuration.training.lr == 1e-3
    assert configuration.training.batch_size == 4
    assert configuration.training.augmentation == []
    assert configuration.data.valid == 0.25
    assert configuration.publishing.data_name is None
    assert len(configuration.make_model().down) == 3


@pytest.mark.parametrize(
    ("written", "meant"),
    [("32", "32-true"), ("32-true", "32-true"), ("bf16", "bf16-mixed"), ("16-mixed", "16-mixed")],
)
def test_precisions_are_written_as_one_likes(tmp_path, written, meant):
    by_option = load(conf(tmp_path), {"precision": written})
    in_file = load(conf(tmp_path, f"model: {{preset: M1}}\ntraining: {{precision: {written}}}"))
    for configuration in (by_option, in_file):
        assert PRECISIONS[configuration.training.precision] == meant


def test_only_a_constant_schedule_has_a_second_round(tmp_path):
    assert load(conf(tmp_path)).training.fine_tunes
    assert not load(conf(tmp_path), {"schedule": "one_cycle"}).training.fine_tunes
    assert not load(conf(tmp_path), {"fine_tuning": "false"}).training.fine_tunes


def test_what_is_saved_loads_as_the_same(tmp_path):
    configuration = load(conf(tmp_path), {"lr": "3e-4", "valid": "['a*', b]", "sources": "[a, b]"})
    configuration.save(tmp_path / "saved.yml")
    assert load(tmp_path / "saved.yml") == configuration
    assert configuration.differences(load(tmp_path / "saved.yml")) == []
    assert load(conf(tmp_path), {"lr": 1.0}).differences(load(conf(tmp_path))) == [
        "lr: 1.0, not 0.0001"
    ]


def test_loggers_are_named_one_or_several(tmp_path):
    for text, names in (("wandb", ["wandb"]), ("[csv, wandb]", ["csv", "wandb"]), ("[]", [])):
        assert load(conf(tmp_path), {"logger": text}).training.logger == names


@pytest.mark.parametrize("text", ["/x/hash #1 songs", "/x/col: on", "2024", "'2024'", "Ångström"])
def test_text_is_taken_as_it_stands(tmp_path, text):
    """YAML would cut a path at a #, and make numbers of names."""
    configuration = load(conf(tmp_path), {"dataset": text, "data_name": text})
    configuration.save(tmp_path / "saved.yml")
    saved = load(tmp_path / "saved.yml")
    assert saved.data.dataset == saved.publishing.data_name == text


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("model: {preset: M1}", {"batch_sise": "4"}, "no setting 'batch_sise'.*'batch_size'"),
        ("model: {preset: M1, level: 3}", {}, "no setting 'level' .*section model.*'levels'"),
        ("training: {levels: 3}", {}, "no setting 'levels' .*section training"),
        ("modle: {preset: M1}", {}, "no setting 'modle'.*'model'"),
        ("model: {preset: M9}", {}, "no preset 'M9'; there are M1"),
        ("model: {preset: M1}", {"levels": "0"}, "levels is 0"),
        ("model: {preset: M1}", {"batch_size": "many"}, "batch_size is 'many'; expected int"),
        ("model: {preset: M1}", {"batch_size": "2.5"}, "batch_size is 2.5; expected int"),
        ("publishing: {license: 1}", {}, "license is 1; expected str or null"),
        ("publishing: {repo_id: model}", {}, "'model' is no name for a model on the Hugging"),
        ("publishing: {revision: v 1}", {}, "'v 1' is no name for a revision"),
        ("model: {preset: M1}", {"sources": "[bass, drums"}, "sources is .* which is no YAML"),
        ("model: {preset: M1}", {"sample_rate": "abc"}, "sample_rate is 'abc'"),
        ("model: {preset: M1}", {"sources": "5"}, "sources is 5"),
        ("model: {preset: 5}", {}, "preset is 5; expected one of M1"),
        ("model: {preset: M1}", {"loss": "mes"}, "loss is 'mes'; expected one of mse, l1"),
        ("model: {preset: M1}", {"schedule": "x"}, "schedule is 'x'; expected one of constant"),
        ("model: {preset: M1}", {"store": "disk"}, "store is 'disk'; expected one of memory, gpu"),
        ("model: {preset: M1}", {"augmentation": "[x]"}, "augmentation is 'x'; expected one of"),
        (
            "model: {preset: M1}",
            {"augmentation": "[pitch_tempo]", "store": "gpu"},
            "pitch_tempo is not done in a GPU's memory",
        ),
        ("model: {preset: M1}", {"valid": "2.0"}, "valid is 2.0; expected a fraction"),
        ("model: {preset: M1}", {"batch_size": "0"}, "batch_size is 0; .* at least 1"),
        ("model: {preset: M1}", {"max_epochs": "0"}, "max_epochs is 0; .* at least 1"),
        ("model: {preset: M1}", {"seed": "-1"}, "seed is -1; .* at least 0"),
        ("model: {preset: M1}", {"jobs": "0"}, "jobs is 0; .* at least 1"),
        ("model: {preset: M1}", {"ema": "1.0"}, "ema is 1.0; expected a decay from 0 to below 1"),
        ("model: {preset: M1}", {"warmup_steps": "-1"}, "warmup_steps is -1; .* at least 0"),
        ("model: {preset: M1}", {"listen_every": "-1"}, "listen_every is -1; .* at least 0"),
        ("model: {preset: M1}", {"logger": "wand"}, "logger is 'wand'; expected one of tensorb"),
        ("training: {lr: .nan}", {}, "lr is nan; expected a number above 0"),
        ("training: {fine_tuning_lr: 0}", {}, "fine_tuning_lr is 0.0; expected a number above 0"),
        ("training: {clip: -1}", {}, "clip is -1.0; expected a number, 0 or more"),
        ("model: {preset: M1}", {"checkpoint_minutes": "inf"}, "checkpoint_minutes is inf; expec"),
        (
            "model: {preset: M1}",
            {"precision": "8"},
            "precision is 8; expected one of 32-true, bf16",
        ),
        ("model: {preset: M1}", {"strategy": "fsdp"}, "'fsdp'; expected one of auto, ddp"),
        ("model: {preset: M1}", {"devices": "0"}, "devices is 0; .* at least 1"),
        ("model: {preset: M1}", {"accumulate": "0"}, "accumulate is 0; .* at least 1"),
        ("data: {1: 2}", {}, "no setting 1 "),
        ("model: [M1]", {}, "not of the form section"),
        ("a: b: c", {}, "is no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, overrides, says):
    with pytest.raises(ValueError, match=says):
        load(conf(tmp_path, text), overrides)


def test_a_file_that_is_not_there_is_told_those_that_are(tmp_path):
    conf(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere.yml; beside it there are: conf"):
        load(tmp_path / "nowhere.yml")


@pytest.mark.parametrize("arguments", [["lr", "1"], ["--lr"], ["--lr", "--levels", "3"], ["--"]])
def test_half_an_option_is_refused(arguments):
    with pytest.raises(ValueError, match="expected --"):
        parse_overrides(arguments)
