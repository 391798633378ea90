"""`waveunet separate`, `export` and `convert` on small files."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from tqdm import tqdm

from asteroid_waveunet import WaveUNet, presets, separate
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import stem_names
from asteroid_waveunet.audio.tags import Tags, read_tags
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.cli.separate import advancing
from asteroid_waveunet.models.by_name import load_model as load
from asteroid_waveunet.separation import batch
from asteroid_waveunet.separation.layout import RECORD
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.separation.stems import clamped
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, assert_same_model, tiny
from helpers.paths import GOLDEN

SOURCES = ("bass", "drums", "vocals")
SUFFIXES = ("bin", "safetensors", "pt", "onnx")  # of exported models


@pytest.fixture(scope="module")
def songs_and_model(tmp_path_factory):
    """A folder with a trained model and songs of all kinds; do not change it."""
    tmp_path = tmp_path_factory.mktemp("songs_and_model")
    torch.manual_seed(0)
    model = tiny(sources=SOURCES, in_channels=2, sample_rate=8000)
    serialization.save(model.serialize(), tmp_path / "model")
    kinds = {
        "plain.wav": (2, 8000, "PCM_16"),
        "album/studio.wav": (2, 96000, "PCM_24"),
        "album/phone.wav": (1, 8000, "PCM_U8"),
        "album/float.wav": (2, 44100, "FLOAT"),
        "album/lossless.flac": (2, 11025, "PCM_24"),
        "album/lossy.ogg": (2, 22050, None),
    }
    for name, (channels, rate, subtype) in kinds.items():
        samples = 0.2 * torch.randn(channels, rate // 3)
        audio_io.write(tmp_path / "songs" / name, samples, rate, subtype)
    return tmp_path


@pytest.fixture
def here(songs_and_model, tmp_path, monkeypatch):
    """A copy of the module's folder as working directory."""
    shutil.copytree(songs_and_model, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words) -> int:
    return main([str(word) for word in words])


def separated(*words) -> int:
    return run("separate", "-m", "model", "-o", "out", *words)


def written() -> list[str]:
    """All files in the output folder but the records of what stems were made from."""
    files = (p for p in Path("out").rglob("*") if p.is_file() and not p.name.endswith(RECORD))
    return sorted(str(path.relative_to("out")) for path in files)


def test_stems_are_like_their_songs(here, capsys):
    assert separated("songs") == 0
    stems = {path.parent: soundfile.info(path) for path in Path("out").rglob("*.wav")}
    kinds = {
        str(folder.relative_to("out")): (info.channels, info.samplerate, info.frames, info.subtype)
        for folder, info in stems.items()
    }
    assert kinds == {
        "plain": (2, 8000, 2666, "PCM_16"),
        "album/studio": (2, 96000, 32000, "PCM_24"),
        "album/phone": (1, 8000, 2666, "PCM_16"),
        "album/float": (2, 44100, 14700, "FLOAT"),
        "album/lossless": (2, 11025, 3675, "PCM_24"),
        "album/lossy": (2, 22050, 7350, "FLOAT"),
    }
    assert written() == sorted(f"{name}/{source}.wav" for name in kinds for source in SOURCES)
    assert sorted(capsys.readouterr().out.split()) == sorted(f"out/{name}" for name in kinds)


def test_stems_are_the_models_estimates_and_sum_to_the_song(here):
    assert separated("songs/plain.wav") == 0
    song, _ = audio_io.read("songs/plain.wav")
    stems = torch.stack([audio_io.read(f"out/plain/{source}.wav")[0] for source in SOURCES])
    torch.testing.assert_close(stems.sum(0), song, atol=2 / 2**15, rtol=0)
    model = load("model")
    estimates = clamped(separate(model, song))
    torch.testing.assert_close(stems, estimates, atol=1 / 2**15, rtol=0)


@pytest.mark.parametrize("build", SYSTEMS.values(), ids=SYSTEMS)
def test_other_architectures_separate_in_evaluation_mode(here, build):
    model = build(sources=SOURCES, sample_rate=8000).train()
    model(torch.randn(5, 1, 3000))  # updates the running statistics of batch normalisation
    serialization.save(model.serialize(), here / "model")
    assert separated("songs/album/float.wav", "--format", "wav") == 0
    song, rate = audio_io.read("songs/album/float.wav")
    stems = torch.stack([audio_io.read(f"out/float/{source}.wav")[0] for source in SOURCES])
    expected = separate_at_rate(model.eval(), song, rate)
    torch.testing.assert_close(stems, expected, atol=1e-5, rtol=0)


def test_two_stems_and_the_residual(here):
    song = here / "songs/album/float.wav"  # of more than the model's bandwidth
    assert separated(song, "--two-stems", "drums", "--residual") == 0
    assert written() == [f"float/{name}.wav" for name in ("drums", "no_drums", "residual")]
    stems = [audio_io.read(path)[0] for path in Path("out").rglob("*.wav")]
    torch.testing.assert_close(sum(stems), audio_io.read(song)[0], atol=1e-5, rtol=0)
    residual = audio_io.read("out/float/residual.wav")[0]
    assert residual.std() > 0.1, "white noise above 4 kHz"


def test_chosen_stems_and_the_song_without_one(here):
    song = here / "songs/plain.wav"
    assert separated(song, "--stems", "vocals, bass") == 0
    assert written() == ["plain/bass.wav", "plain/vocals.wav"]
    assert separated(song, "--without", "vocals", "--bits", "float", "-o", "karaoke") == 0
    estimates = separate(load("model"), song)
    without = audio_io.read("karaoke/plain/without_vocals.wav")[0]
    torch.testing.assert_close(without, audio_io.read(song)[0] - estimates[2], atol=1e-5, rtol=0)
    assert not Path("karaoke/plain/vocals.wav").exists()


def test_two_stems_of_a_model_with_one_source(here, capsys):
    model = tiny(sources=("vocals",), in_channels=2, sample_rate=8000, output="direct")
    serialization.save(model.serialize(), here / "model")
    song = here / "songs/plain.wav"
    assert separated(song, "--two-stems", "vocals", "--bits", "float") == 0
    vocals, rest = (audio_io.read(f"out/plain/{n}vocals.wav")[0] for n in ("", "no_"))
    assert rest.std() > 0.05
    torch.testing.assert_close(vocals + rest, audio_io.read(song)[0], atol=1e-5, rtol=0)
    capsys.readouterr()
    assert separated(song, "--mixture-consistency") == 1
    assert "only source into the mixture" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["flac", "mp3", "ogg", "wav"])
def test_formats(here, form):
    assert separated("songs/plain.wav", "--format", form) == 0
    assert written() == [f"plain/{source}.{form}" for source in SOURCES]
    assert soundfile.info(f"out/plain/bass.{form}").frames == 2666


def test_stem_files(here, capsys):
    assert separated("songs/plain.wav", "--format", "stem.mp4") == 0
    assert written() == ["plain.stem.mp4"]
    assert capsys.readouterr().out == "out/plain.stem.mp4\n"
    song, rate = audio_io.read("songs/plain.wav")
    mixture, mixture_rate = audio_io.read("out/plain.stem.mp4")
    assert mixture_rate == rate and mixture.shape == song.shape
    assert separated("out/plain.stem.mp4", "-o", "again") == 0
    assert audio_io.read("again/plain/drums.wav")[0].shape == song.shape
    assert stem_names.read_names(Path("out/plain.stem.mp4")) == ("drums", "bass", "vocals")
    assert separated("songs/plain.wav", "--bits", "float") == 0
    with av.open("out/plain.stem.mp4") as container:
        for number, name in enumerate(("drums", "bass", "vocals"), 1):
            frames = [frame.to_ndarray() for frame in container.decode(audio=number)]
            coded = torch.from_numpy(np.concatenate(frames, axis=1))[:, :2666]
            stem = audio_io.read(f"out/plain/{name}.wav")[0]
            assert torch.corrcoef(torch.stack((coded.flatten(), stem.flatten())))[0, 1] > 0.8
            container.seek(0)


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("--precision bf16", {"precision": "bf16"}),
        ("--shifts 3", {"shifts": 3}),
        ("--mixture-consistency", {"mixture_consistency": True}),
    ],
)
def test_separation_options_equal_those_of_python(here, words, how):
    model = tiny(sources=SOURCES, in_channels=2, sample_rate=8000, output="direct").train()
    serialization.save(model.serialize(), here / "direct")
    song = here / "songs/plain.wav"
    assert separated(song, "-m", "direct", "--bits", "float", *words.split()) == 0
    stems = torch.stack([audio_io.read(f"out/plain/{source}.wav")[0] for source in SOURCES])
    expected, plain = separate(model, song, **how), separate(model, song)
    torch.testing.assert_close(stems, expected, atol=1e-4, rtol=0)
    assert (stems - plain).abs().max() > 3e-4


@pytest.mark.parametrize("clip", ["clamp", "rescale", "none"])
def test_clip_option_limits_stems(here, clip):
    loud = 0.99 * torch.sign(torch.randn(2, 3000))
    audio_io.write("loud.wav", loud, 8000, "PCM_16")
    assert separated("loud.wav", "--clip", clip) == 0
    stems = torch.stack([audio_io.read(f"out/loud/{source}.wav")[0] for source in SOURCES])
    estimates = separate(load("model"), "loud.wav")
    assert estimates.abs().max() > 1.2
    expected = {
        "clamp": clamped(estimates),
        "rescale": estimates / estimates.abs().max(),
        "none": estimates.clamp(-1, 1),
    }
    torch.testing.assert_close(stems, expected[clip], atol=1.1 / 2**15, rtol=0)


def test_jobs_option_and_progress_bar(here, monkeypatch):
    jobs, bars, run_batch = [], [], batch.run

    class Bar:
        def __init__(self, total, **options):
            self.total, self.done = total, 0.0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update(self, n_bytes):
            self.done += n_bytes

        def write(self, line):
            pass

    def recorded(songs, work, n_jobs):
        jobs.append(n_jobs)
        return run_batch(songs, work, n_jobs)

    monkeypatch.setattr("asteroid_waveunet.cli.separate.tqdm", Bar)
    monkeypatch.setattr(batch, "run", recorded)
    assert separated("songs", "--jobs", "2") == 0
    assert jobs == [2]
    assert bars[0].total == sum(p.stat().st_size for p in Path("songs").rglob("*.*") if p.is_file())
    assert bars[0].done == pytest.approx(bars[0].total)


def test_stopped_run_ends_within_a_song(here):
    def stop():
        raise batch.Stopped

    progress = advancing(tqdm(total=1, disable=True), 1, stop)
    with pytest.raises(batch.Stopped):
        progress(1, 2)


def test_unusual_file_names_are_kept(here):
    odd = ["-m.wav", "a [1].wav", "100 % é 音.wav", "new\nline.wav", "Song: live.wav", "...wav"]
    latin = os.fsdecode(b"latin\xe9.wav")
    for name in [*odd, latin]:
        (here / "odd" / name).parent.mkdir(exist_ok=True)
        shutil.copy("songs/plain.wav", here / "odd" / name)
    assert separated("odd/...wav", "odd/" + latin, "odd") == 0
    stems = {str(path.relative_to("out").parent) for path in Path("out").rglob("bass.wav")}
    names = {name.removesuffix(".wav") for name in [*odd[:-1], latin]}
    assert stems == {*names, "...wav"}
    assert separated("odd/Song: live.wav", "--format", "stem.mp4", "-o", "one") == 0
    assert audio_io.read(Path("one/Song: live.stem.mp4"))[0].shape == (2, 2666)


def test_repeated_command_ignores_its_own_output(here):
    for pattern in ("songs/*", "songs/**/*.wav", "*", "."):
        assert separated(pattern) == 0
        first = written()
        assert separated(pattern) == 0
        assert written() == first
        shutil.rmtree("out")


def test_stems_do_not_replace_their_song(here, capsys):
    assert separated("songs/plain.wav", "--format", "stem.mp4", "-o", "mine") == 0
    song = here / "mine/plain.stem.mp4"
    before = song.read_bytes()
    words = ["--format", "stem.mp4", "-o", "mine", "--overwrite"]
    assert separated(song, *words) == 1
    assert "is a song to separate, and a stem would replace it" in capsys.readouterr().err
    assert song.read_bytes() == before


def test_song_name_outside_of_the_terminals_encoding(here):
    shutil.copy("songs/plain.wav", "日本.wav")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = command("日本.wav", "-m", "model", "-o", "out", env=ascii_only)
    assert "failed" not in process.communicate()[1] and process.returncode == 0
    assert audio_io.read("out/日本/bass.wav")[0].shape == (2, 2666)


@pytest.mark.parametrize("jobs", [1, 2])
def test_invalid_songs_are_reported_at_the_end_and_the_others_separated(here, capsys, jobs):
    songs = here / "songs"
    (songs / "a bad.wav").write_text("no audio")
    (songs / "zero.wav").touch()
    soundfile.write(songs / "none.wav", torch.zeros(0, 2).numpy(), 8000)
    audio_io.write(songs / "six.wav", torch.zeros(6, 100), 8000)
    samples = torch.zeros(2, 4000)
    samples[1, 3000] = float("nan")
    audio_io.write(songs / "nan.wav", samples, 8000)
    content = (songs / "plain.wav").read_bytes()
    (songs / "cut.wav").write_bytes(content[: len(content) // 2])
    assert separated("songs", "--jobs", jobs) == 1
    assert len(written()) == 21
    printed = capsys.readouterr().err
    assert "5 of 12 songs failed:" in printed
    assert "six.wav: its 6 channels are mixed down to 2" in printed
    for name, reason in {
        "a bad.wav": "cannot be read as audio",
        "zero.wav": "cannot be read as audio",
        "none.wav": "is empty",
        "nan.wav": r"first at 0.375 s (sample 3000 of channel 1)",
        "cut.wav": "truncated",
    }.items():
        (line,) = (line for line in printed.splitlines() if name in line)
        assert reason in line


def test_finished_songs_are_skipped_or_overwritten(here, capsys):
    assert separated("songs/plain.wav") == 0
    first = Path("out/plain/bass.wav").stat().st_mtime_ns
    Path("out/plain/drums.wav").unlink()
    assert separated("songs") == 0, "a song with a missing stem is not finished"
    assert len(written()) == 18 and Path("out/plain/bass.wav").stat().st_mtime_ns > first
    capsys.readouterr()
    times = {name: Path("out", name).stat().st_mtime_ns for name in written()}
    assert separated("songs", "--skip-existing") == 0
    assert "6 of 6 songs already in out; --overwrite" in capsys.readouterr().out
    assert times == {name: Path("out", name).stat().st_mtime_ns for name in written()}
    assert separated("songs", "--overwrite") == 0
    assert all(times[name] < Path("out", name).stat().st_mtime_ns for name in written())


def test_second_song_of_one_name_and_other_options_are_separated(here, capsys):
    for folder in ("one", "two"):
        audio_io.write(f"{folder}/01.wav", 0.2 * torch.randn(2, 2000), 8000, "PCM_16")
        assert separated(f"{folder}/01.wav") == 0
    for name, folder in {"01": "one", "01 (2)": "two"}.items():
        stems = sum(audio_io.read(f"out/{name}/{source}.wav")[0] for source in SOURCES)
        expected = audio_io.read(f"{folder}/01.wav")[0]
        torch.testing.assert_close(stems, expected, atol=2 / 2**15, rtol=0)
    capsys.readouterr()
    assert separated("one/01.wav", "--bits", "24") == 0
    assert "1 of 1 songs in out separated again" in capsys.readouterr().out
    assert soundfile.info("out/01/bass.wav").subtype == "PCM_24"
    other = tiny(sources=SOURCES, in_channels=2, sample_rate=8000)
    serialization.save(other.serialize(), here / "other")
    before = Path("out/01/bass.wav").read_bytes()
    assert separated("one/01.wav", "--bits", "24", "-m", "other") == 0
    assert Path("out/01/bass.wav").read_bytes() != before
    assert separated("one/01.wav", "--skip-existing") == 0, "whatever they were made from"
    assert soundfile.info("out/01/bass.wav").subtype == "PCM_24"


def test_names_by_a_template(here):
    assert separated("songs", "--name", "{stem}/{song}.{ext}", "--format", "flac") == 0
    assert len(written()) == 18 and "drums/album/phone.flac" in written()


@pytest.mark.parametrize("form", ["wav", "mp3", "stem.mp4"])
def test_stems_have_the_tags_and_cover_of_the_song(here, form):
    tags = Tags({"title": "T", "artist": "A", "track": "3/12"}, (b"\xff\xd8\xff\xd9", "image/jpeg"))
    with audio_io.open_writer("song.flac", 8000, 2, "PCM_16", 4000, tags) as write:
        write(0.1 * torch.randn(2, 4000))
    assert separated("song.flac", "--format", form) == 0
    assert len(written()) == (1 if form == "stem.mp4" else 3)
    assert {read_tags(Path("out", name)).texts["title"] for name in written()} == {"T"}
    assert all(read_tags(Path("out", name)) == tags for name in written())
    assert separated("song.flac", "--format", form) == 0


def test_name_too_long_does_not_stop_the_other_songs(here, capsys):
    long = 249 * "x"
    shutil.copy("songs/plain.wav", f"{long}.wav")
    assert separated(f"{long}.wav", "songs/plain.wav", "--format", "stem.mp4") == 1
    assert "1 of 2 songs failed" in (printed := capsys.readouterr().err)
    assert "File name too long" in printed and "shorter name" in printed
    assert written() == ["plain.stem.mp4"]
    assert separated(f"{long}.wav", "-o", "folders") == 0, "as a folder's name it is not too long"


def test_missing_song_does_not_stop_the_others(here, capsys):
    assert separated("nowhere.wav", "songs/plain.wav") == 1
    printed = capsys.readouterr().err
    assert "1 of 2 songs failed" in printed and "nowhere.wav does not exist" in printed
    assert "device: cpu (" in printed
    assert len(written()) == 3


def test_tilde_that_is_no_home_is_a_name(here, monkeypatch):
    monkeypatch.delenv("HOME")
    shutil.copy("songs/plain.wav", "~tilde.wav")
    assert separated("~tilde.wav", "-o", "~stems") == 0
    assert Path("~stems/~tilde/bass.wav").is_file()


def test_user_errors_take_one_line_and_write_nothing(here, capsys):
    """Each names the fault and the remedy."""
    refused = {
        "nowhere.wav": "nowhere.wav does not exist",
        "model": "model holds no audio file (wav, flac",
        "songs -m songs/plain.wav": "songs/plain.wav cannot be read",
        "songs --device meta": "'meta' is not available",
        "songs --device abacus": "'abacus' is not available",
        "songs --two-stems guitar": "no source 'guitar'; it has bass, drums, vocals",
        "songs --shifts 5": "shifts is 5; expected 1 to 4",
        "songs --jobs 0": "--jobs is 0; expected at least 1",
        "songs --format flac --bits float": "float; expected 16 or 24",
        "songs -m M99": "preset 'M99'",
        "songs -m demo": "no file or folder 'demo', no weights of the package of that name (free)",
        "songs -m nowhere/model.bin": "nowhere/model.bin",
        "songs -o songs/plain.wav": "Cannot write to songs/plain.wav",
        "songs -o songs/plain.wav/deep": "Cannot write to songs",
    }
    for words, message in refused.items():
        assert separated(*words.split()) == 1, words
        error = capsys.readouterr().err
        assert message in error, words
        assert error.startswith("error: ") and error.count("\n") == 1, words
        assert not Path("out").exists() or not written(), words


def test_preset_warns_that_it_is_untrained(here, capsys):
    assert separated("songs/plain.wav", "-m", "M4") == 0
    assert "warning: M4 is a preset, an untrained model" in capsys.readouterr().err
    assert written() == ["plain/accompaniment.wav", "plain/vocals.wav"]


@pytest.mark.parametrize(
    ("words", "format"),
    [
        ("-o a.safetensors", "safetensors"),
        ("-o a.bin", "bin"),
        ("-o a.pth", "bin"),
        ("-o a --format asteroid", "bin"),
        ("-o a.bin --format safetensors", "safetensors"),
    ],
)
@pytest.mark.parametrize("source", ["pytorch_model.bin", "model.safetensors"])
def test_export_converts_between_weight_formats(here, capsys, words, format, source):
    model = tiny(sources=SOURCES, in_channels=2, sample_rate=8000)
    serialization.save(model.serialize(scores={"SDR": 3.5}), here / "model")
    assert run("export", f"model/{source}", *words.split()) == 0
    path = words.split()[1]
    assert capsys.readouterr().out == f"{path}\n"
    named = Path("named", f"model.{format}")
    named.parent.mkdir()
    Path(path).rename(named)
    conf, before = serialization.read(named), serialization.read(here / "model")
    assert conf["infos"] == before["infos"] and conf["infos"]["scores"] == {"SDR": 3.5}
    assert conf["model_args"] == before["model_args"]
    assert_same_model(WaveUNet.from_pretrained(conf), model, torch.randn(2, 100))


def test_training_checkpoint_is_exported(here):
    conf = tiny().serialize()
    state = {f"model.{name}": tensor for name, tensor in conf.pop("state_dict").items()}
    torch.save({**conf, "state_dict": state, "pytorch-lightning_version": "2"}, "last.ckpt")
    assert run("export", "last.ckpt", "-o", "last.safetensors") == 0
    assert WaveUNet.from_pretrained("last.safetensors").sources == ("accompaniment", "vocals")


def test_refused_exports_write_nothing(here, capsys):
    refused = {
        "-o model": "model is a folder; expected a file name",
        "-o step.so": ".onnx, .pt, .bin, .pth or .safetensors; choose a format",
        "-o step.bin --hop 8": "--hop and --batch-size only apply to onnx and torchscript",
        "-o songs/plain.wav/step.pt": "Cannot write to songs/plain.wav",
        "-o step.pt --batch-size 0": "batch_size is 0; expected at least 1",
        "-o step.pt --hop 7": "hop is 7; expected a multiple of this model's step",
    }
    for words, message in refused.items():
        assert run("export", "model", *words.split()) == 1, words
        assert message in capsys.readouterr().err, words
        assert not list(here.glob("step*")), words


def command(*words, **options) -> subprocess.Popen:
    """Start `waveunet separate` in a new process."""
    words = [sys.executable, "-m", "asteroid_waveunet.cli", "separate", *map(str, words)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **options)


def kill_amid(number: int) -> tuple[list[str], str]:
    """Separate `many` and send a signal after the first song; again if all were done by then.

    Returns:
        The stems that are complete, and what was printed.
    """
    for _ in range(9):
        shutil.rmtree("out", ignore_errors=True)
        process = command(
            "many", "-m", "model", "-o", "out", env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        deadline = time.monotonic() + 120
        while not list(Path("out").rglob("vocals.wav")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        printed = process.communicate()[1]
        done = [name for name in written() if not Path(name).name.startswith(".")]
        if len(done) < 45:
            break
    return done, printed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_run_leaves_complete_files_and_resumes(here, number):
    many = here / "many"
    for index in range(15):
        audio_io.write(many / f"{index:02}.wav", 0.1 * torch.randn(2, 20 * 8000), 8000, "PCM_16")
    done, printed = kill_amid(number)
    assert 0 < len(done) < 45, "killed while separating"
    assert {soundfile.info(f"out/{name}").frames for name in done} == {20 * 8000}
    if number == signal.SIGTERM:
        assert done == written() and "the same command again to resume" in printed
    assert separated("many") == 0
    assert len(written()) == 45, "what the killed run left is deleted"


@pytest.fixture
def small_files():
    """Allow this process files of 20 kB only."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextlib.contextmanager
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    yield limited
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_is_reported_and_leaves_no_partial_file(here, capsys, small_files):
    """Simulated by a limit on file sizes."""
    audio_io.write(here / "long.wav", 0.2 * torch.randn(2, 60000), 8000, "PCM_16")
    lines = [
        f"separate long.wav songs/plain.wav -m model -o out --format {form}"
        for form in ("wav", "flac --bits 24", "stem.mp4")
    ]
    lines += [f"export M4 -o small/m.{suffix}" for suffix in SUFFIXES]
    serialization.save(presets.make("M4", levels=3).serialize(), here / "M4")
    with small_files():
        statuses = [main(line.split()) for line in lines]
    error = capsys.readouterr().err
    assert statuses == [1] * len(lines), error
    assert "cannot be written" in error and "Free some space" in error
    assert "1 of 2 songs failed" in error
    assert not any("long" in name or "partial" in name for name in written())
    assert any("plain" in name for name in written())
    for suffix in SUFFIXES:
        assert f"error: small/m.{suffix}: File too large. " in error
    assert not any(path.is_file() for path in Path("small").iterdir())


def test_place_that_cannot_be_written_is_named_with_the_reason(here, capsys, monkeypatch):
    """As root, only the system's own folders refuse."""
    assert separated("songs/plain.wav", "-o", "/sys/stems") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: Cannot write to /sys/stems (") and "-o" in error

    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(audio_io, "_create", refuse)
    assert separated("songs/plain.wav", "songs/album/lossy.ogg", "-o", "new") == 1
    error = capsys.readouterr().err
    assert "2 of 2 songs failed" in error and error.count("Permission denied. Change its") == 2
    assert not Path("new").exists(), "empty folders are deleted"


@pytest.fixture
def checkpoint(here):
    """A checkpoint of the reference under its authors' folder and file name."""
    folder = here / "checkpoints" / "baseline_stereo"
    folder.mkdir(parents=True)
    for file in (GOLDEN / "checkpoints" / "tiny_m4").glob("tiny_m4-1.*"):
        shutil.copy(file, folder / file.name.replace("tiny_m4-1", "baseline_stereo-186093"))
    return folder / "baseline_stereo-186093"


def test_reference_checkpoint_is_converted_and_verified(here, checkpoint, capsys):
    assert run("convert", checkpoint, "-o", "m4", "--preset", "inferred", "--verify") == 0
    printed = capsys.readouterr()
    assert "  levels: 2\n" in printed.out
    assert "  sample_rate: 22050  (not from the checkpoint)\n" in printed.out
    assert "assuming sources=" in printed.err
    namespace: dict = {}
    exec("\n".join(printed.out.splitlines()[-2:]), namespace)
    assert namespace["model"].in_channels == 2
    assert run("separate", "songs/plain.wav", "-m", "m4") == 0


def test_convert_options_set_what_the_checkpoint_lacks(here, checkpoint, capsys):
    given = ("--sources", "drums", "--sample-rate", 8000, "--padding", "same")
    assert run("convert", checkpoint.parent, "-o", "m4", *given, "--activation", "linear") == 0
    assert capsys.readouterr().err == ""
    arguments = WaveUNet.from_pretrained("m4").get_model_args()
    assert (arguments["sources"], arguments["output"]) == (["drums"], "direct")
    assert (arguments["context"], arguments["output_activation"]) == (False, "linear")


def test_checkpoint_that_differs_from_the_preset_is_refused(here, checkpoint, capsys):
    assert run("convert", checkpoint, "-o", "m5", "--preset", "M5") == 1
    assert "preset M5: levels is 2, expected 12" in capsys.readouterr().err
    assert not Path("m5").exists()


def test_song_from_standard_input_and_stem_to_standard_output(here, capfdbinary, monkeypatch):
    with open("songs/plain.wav", "rb") as song:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(song))
        assert separated("-", "--stems", "vocals", "-o", "-") == 0
    printed = capfdbinary.readouterr()
    assert b"standard output" in printed.err and b"waveunet." not in printed.err
    Path("piped.wav").write_bytes(printed.out)
    assert separated("songs/plain.wav") == 0
    assert torch.equal(audio_io.read("piped.wav")[0], audio_io.read("out/plain/vocals.wav")[0])
    capfdbinary.readouterr()
    assert separated("songs/plain.wav", "-o", "-") == 1
    assert b"--stems" in capfdbinary.readouterr().err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"RIFF nonsense")))
    assert separated("-") == 1
    assert b"  standard input cannot be read as audio" in capfdbinary.readouterr().err


def test_named_pipe_is_read(here):
    os.mkfifo("song.wav")
    content = Path("songs/plain.wav").read_bytes()
    writer = threading.Thread(target=lambda: Path("song.wav").write_bytes(content))
    writer.start()
    assert separated("song.wav") == 0
    writer.join()
    assert separated("songs/plain.wav") == 0
    piped, plain = (audio_io.read(f"out/{name}/bass.wav")[0] for name in ("song", "plain"))
    assert torch.equal(piped, plain)


def test_part_of_a_song(here, capsys):
    song, rate = audio_io.read("songs/plain.wav")
    assert separated("songs/plain.wav", "--start", 0.1, "--duration", 0.125) == 0
    first, length = round(0.1 * rate), round(0.125 * rate)
    stems = [audio_io.read(path)[0] for path in Path("out/plain").glob("*.wav")]
    expected = song[:, first : first + length]
    torch.testing.assert_close(sum(stems), expected, atol=1e-3, rtol=0)
    assert separated("songs/plain.wav", "--start", 99) == 1
    assert "plain.wav ends after" in capsys.readouterr().err
    for words in (("--start", "-1"), ("--duration", "0")):
        assert separated("songs/plain.wav", *words) == 1
        assert f"{words[0][2:]} is" in capsys.readouterr().err


def test_surround_sound_channel_by_channel(here):
    audio_io.write("six.wav", 0.1 * torch.randn(6, 3000), 8000)
    assert separated("six.wav", "--channels", "each") == 0
    stems = [audio_io.read(path)[0] for path in Path("out/six").glob("*.wav")]
    torch.testing.assert_close(sum(stems), audio_io.read("six.wav")[0], atol=1e-5, rtol=0)
