"""Separation preserves level, channels, sample rate and length."""

from __future__ import annotations

import contextlib
import errno
import io

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet import separate
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.separation import separate as separate_module
from asteroid_waveunet.separation.separate import separate_file
from asteroid_waveunet.streaming import base, track_stream
from helpers.models import tiny

SOURCES = ("bass", "drums", "vocals")


def model_of(channels=2, rate=8000, **arguments):
    return tiny(sources=SOURCES, in_channels=channels, sample_rate=rate, **arguments)


def song(tmp_path, channels=2, rate=8000, length=3001, name="my.song.wav"):
    samples = 0.2 * torch.randn(channels, length)
    audio_io.write(tmp_path / name, samples, rate)
    return tmp_path / name, samples


@pytest.mark.parametrize(("channels", "context"), [(1, True), (2, False)])
def test_separate_equals_forward(monkeypatch, context, channels):
    monkeypatch.setattr(separate_module, "MAX_HOP", 512)
    model = model_of(channels, context=context)
    mixture = torch.randn(3, channels, 3000)
    expected = model(mixture).detach()
    for estimates in (
        model.separate(mixture),
        model.torch_separate(mixture),
        separate(model, mixture),
        torch.from_numpy(model.numpy_separate(mixture.numpy())),
    ):
        torch.testing.assert_close(estimates, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.separate(mixture[0]), expected[0], atol=1e-6, rtol=0)


def test_sources_sum_to_the_mixture_at_its_level():
    for gain in (1e-4, 1.0):
        mixture = gain * 0.1 * torch.randn(2, 2000)
        total = model_of().separate(mixture).sum(dim=0)
        torch.testing.assert_close(total, mixture, atol=1e-6 * gain, rtol=1e-5)


def test_silence_gives_silence():
    """Biases start at zero, so a fresh network is silent; Asteroid's rescaling yields NaN."""
    for output in ("difference", "direct"):
        assert not model_of(output=output).separate(torch.zeros(2, 500)).any(), output


def test_arrays_keep_their_dtype():
    for dtype in ("f2", "f4", "f8", ">f4", np.longdouble):
        mixture = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 300)).astype(dtype)
        estimates = model_of().numpy_separate(mixture)
        assert estimates.dtype == mixture.dtype
        assert estimates.shape == (3, 2, 300)


def test_arrays_may_be_views():
    model = model_of()
    mixture = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 300)).astype(np.float32)
    view = mixture[:, ::-1].copy()[:, ::-1]
    view.flags.writeable = False
    expected = model.numpy_separate(mixture)
    np.testing.assert_allclose(model.numpy_separate(view), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "in_channels", "rate"),
    [(1, 1, 11025), (1, 2, 8000), (2, 1, 8000), (2, 2, 11025)],
)
def test_files_keep_rate_channels_and_length(tmp_path, channels, in_channels, rate):
    path, samples = song(tmp_path, channels, rate)
    model = model_of(in_channels).train()  # training mode does not clip
    paths = model.file_separate(path, tmp_path / "out")
    assert [p.name for p in paths.values()] == [f"my.song_{s}.wav" for s in SOURCES]
    total = 0
    for written in paths.values():
        info = soundfile.info(written)
        assert (info.samplerate, info.channels, info.frames) == (rate, channels, 3001)
        total = total + audio_io.read(written)[0]
    if rate == 8000:
        torch.testing.assert_close(total, samples, atol=1e-5, rtol=0)


def test_file_and_its_samples_give_equal_estimates(tmp_path):
    path, samples = song(tmp_path)
    model = model_of()
    torch.testing.assert_close(separate(model, path), model.separate(samples))
    paths = model.separate(str(path), output_dir=tmp_path)
    torch.testing.assert_close(audio_io.read(paths["drums"])[0], model.separate(samples)[1])


def test_mono_model_separates_stereo_channels_independently(tmp_path):
    path, samples = song(tmp_path)
    model = model_of(channels=1)
    estimates = separate(model, path)
    for channel in range(2):
        alone = model.separate(samples[channel])
        torch.testing.assert_close(estimates[:, channel], alone, atol=1e-6, rtol=0)


def test_very_short_files_are_separated(tmp_path):
    for length in (1, 2, 7):
        path, _ = song(tmp_path, rate=44100, length=length)
        assert separate(model_of(), path).shape == (3, 2, length)


def test_existing_files_are_kept_without_force_overwrite(tmp_path):
    """A single existing file, which may be a true stem, prevents all writing."""
    path, _ = song(tmp_path)
    model = model_of()
    mine = tmp_path / "my.song_drums.wav"
    mine.write_bytes(b"mine")
    with pytest.warns(UserWarning, match=r"my\.song_drums\.wav.*force_overwrite=True"):
        assert model.file_separate(path) == {}
    assert mine.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my.song.wav", mine.name]
    paths = model.file_separate(path, force_overwrite=True)
    assert audio_io.read(paths["drums"])[0].shape == (2, 3001)


def test_unwritable_outputs_are_refused_before_the_work(tmp_path):
    path, _ = song(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file; expected a folder"):
        model_of().file_separate(path, output_dir=path)
    (tmp_path / "out" / "my.song_drums.wav").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model_of().file_separate(path, tmp_path / "out", force_overwrite=True)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_bad_files_are_refused_and_nothing_is_written(tmp_path):
    out = tmp_path / "out"
    model = model_of()
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(ValueError, match="cannot be read as audio"):
        model.file_separate(tmp_path / "text.wav", out)
    with pytest.raises(FileNotFoundError):
        model.file_separate(tmp_path / "nowhere.wav", out)
    path, _ = song(tmp_path, rate=44100, name="fast.wav")
    with pytest.raises(ValueError, match="44100 Hz.*8000 Hz.*resample=True"):
        model.file_separate(path, out, resample=False)
    assert not out.exists()


def test_nan_and_infinity_are_refused():
    mixture = torch.zeros(2, 100)
    mixture[0, 3] = float("inf")
    with pytest.raises(ValueError, match=r"1 NaN or infinite samples of 200.*\(0, 3\)"):
        model_of().separate(mixture)
    with pytest.raises(ValueError, match="1 NaN"):
        model_of().numpy_separate(mixture.numpy())


def test_unsupported_input_type_is_refused():
    with pytest.raises(ValueError, match="list.*tensor"):
        model_of().separate([0.0, 1.0])


def test_progress_counts_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(track_stream, "MAX_HOP", 1024)
    monkeypatch.setattr(separate_module, "MAX_HOP", 1024)
    path, samples = song(tmp_path)
    reports = []
    for source in (path, samples):
        separate(model_of(), source, progress=lambda *counts: reports.append(counts))
    assert reports == 2 * [(1024, 3001), (2048, 3001), (3001, 3001)]


def test_each_block_is_checked_once(tmp_path, monkeypatch):
    """A file's reader checks its blocks; samples are checked as a whole."""
    monkeypatch.setattr(track_stream, "MAX_HOP", 1024)
    path, samples = song(tmp_path)
    opened, read = [], audio_io.open_reader
    monkeypatch.setattr(audio_io, "open_reader", lambda path: opened.append(path) or read(path))
    checked = []
    for module in (base, separate_module):
        monkeypatch.setattr(module, "check_samples", lambda wav, *_: checked.append(wav) or wav)
    separate(model_of(), path)
    assert opened == [path] and not checked
    separate(model_of(), samples)
    assert len(checked) == 1


def test_file_is_written_while_it_is_read(tmp_path, monkeypatch):
    """Stems are written before the song is read to its end, so memory does not grow."""
    monkeypatch.setattr(track_stream, "MAX_HOP", 1024)
    path, _ = song(tmp_path, length=20000)
    events = []

    class Recorded:
        with_mixture = True
        paths = ()

        @contextlib.contextmanager
        def writing(self, names, file, clip):
            yield lambda stems: events.append(("write", stems.shape[-1]))

    progress = lambda done, total: events.append(("read", done))  # noqa: E731
    separate_file(model_of(), path, Recorded(), progress=progress)
    first = next(index for index, (what, _) in enumerate(events) if what == "write")
    assert events[first - 1 :][:2] != events[-2:] and first < 5
    assert sum(n for what, n in events if what == "write") == 20000


def test_nan_estimates_are_refused(tmp_path):
    model = model_of(output="direct", output_activation="linear").train()
    for parameter in model.parameters():
        parameter.data.mul_(1e20)
    path, _ = song(tmp_path)
    with pytest.raises(ValueError, match="estimates of .*my.song.wav are not finite"):
        model.file_separate(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_arguments_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'fp16'.*fp32 or bf16"):
        separate(model_of(), torch.zeros(2, 100), precision="fp16")
    with pytest.raises(ValueError, match="shifts is 0"):
        separate(model_of(), torch.zeros(2, 100), shifts=0)
    path, _ = song(tmp_path)
    with pytest.raises(ValueError, match="'soft'.*clamp, rescale, none"):
        separate_file(model_of(), path, None, clip="soft")


def test_estimates_of_real_music_sum_to_it(real_music):
    from asteroid_waveunet.experiment.data import musdb

    track = musdb.tracks(real_music, "test")[0]
    mixture, rate = track.read("mixture")
    mixture = mixture[..., : 5 * rate]
    model = tiny(sources=SOURCES, in_channels=2, sample_rate=rate, levels=8)
    estimates = model.train().separate(mixture)
    torch.testing.assert_close(estimates.sum(dim=0), mixture, atol=1e-5, rtol=0)


def test_song_on_a_read_only_disk_is_told_of_output_dir(tmp_path, monkeypatch):
    audio_io.write(tmp_path / "song.wav", torch.zeros(1, 500), 8000)

    def refuse(path, *arguments):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(audio_io, "_create", refuse)
        with pytest.raises(OSError, match="Read-only file system.*pass output_dir") as caught:
            model_of().file_separate(tmp_path / "song.wav")
        assert caught.value.filename == str(tmp_path)
    assert model_of().file_separate(tmp_path / "song.wav", output_dir=tmp_path / "stems")


def test_file_object_part_and_surround_sound(tmp_path):
    model = model_of()
    path, samples = song(tmp_path, channels=6, name="surround.wav")
    with path.open("rb") as file:
        each = separate(model, file, channels="each", start=0.05, duration=0.1)
    first, length = round(0.05 * 8000), round(0.1 * 8000)
    part = samples[:, first : first + length]
    assert each.shape == (model.n_src, *part.shape)
    alone = separate(model, part[3].expand(2, -1).contiguous()).mean(1)
    torch.testing.assert_close(each[:, 3], alone, atol=1e-5, rtol=0)
    with pytest.warns(UserWarning, match=r"surround\.wav: its 6 channels are mixed down to 2"):
        assert separate(model, path).shape == (model.n_src, 2, samples.shape[-1])
    with pytest.raises(ValueError, match="channels is 'some'"):
        separate(model, path, channels="some")


def test_file_separate_takes_what_separate_takes(tmp_path):
    model = model_of()
    path, _ = song(tmp_path, channels=6, name="surround.wav")
    part = {"start": 0.05, "duration": 0.1, "channels": "each"}
    expected = separate(model, path, **part)
    with path.open("rb") as file:
        beside = model.file_separate(file, **part)
    assert [p.name for p in beside.values()] == [f"surround_{name}.wav" for name in SOURCES]
    nameless = io.BytesIO(path.read_bytes())
    with pytest.raises(ValueError, match="is in no folder; pass output_dir"):
        model.file_separate(nameless)
    elsewhere = model.file_separate(nameless, tmp_path / "out", **part)
    assert elsewhere["drums"] == tmp_path / "out" / "stream_drums.wav"
    for paths in (beside, elsewhere):
        torch.testing.assert_close(torch.stack([*map(read, paths.values())]), expected)


def read(path):
    return audio_io.read(path)[0]
