"""Stems are selected, limited to full scale and written in the requested format."""

from __future__ import annotations

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.file_utils import TEMPORARY
from asteroid_waveunet.separation.stems import (
    CLIPS,
    FITTING,
    StemFile,
    StemFiles,
    Stems,
    clamped,
    subtype_of,
)

SOURCES = ("bass", "drums", "vocals")
ESTIMATES = torch.arange(1.0, 4.0)[:, None, None].expand(3, 2, 5)
MIXTURE = torch.full((2, 5), 10.0)


def test_stems_are_sums_of_estimates_and_mixture():
    for arguments, expected in (
        ({}, dict(bass=1, drums=2, vocals=3)),
        ({"two_stems": "drums"}, dict(drums=2, no_drums=4)),
        ({"residual": True}, dict(bass=1, drums=2, vocals=3, residual=4)),
        ({"two_stems": "bass", "residual": True}, dict(bass=1, no_bass=5, residual=4)),
        ({"mixture": True}, dict(mixture=10, bass=1, drums=2, vocals=3)),
        ({"stems": ["vocals", "bass"]}, dict(vocals=3, bass=1)),
        ({"without": ["vocals"]}, dict(without_vocals=7)),
        ({"stems": ["bass"], "without": ["vocals", "bass"]}, dict(bass=1, without_vocals_bass=6)),
    ):
        stems = Stems.of(SOURCES, **arguments)
        signals = stems(ESTIMATES, MIXTURE)
        assert signals.shape == (len(expected), 2, 5)
        assert dict(zip(stems.names, signals[:, 0, 0].tolist(), strict=True)) == expected


def test_complement_of_the_only_source_is_the_rest_of_the_mixture():
    stems = Stems.of(("vocals",), two_stems="vocals")
    assert stems.names == ("vocals", "no_vocals")
    assert stems(ESTIMATES[2:], MIXTURE)[:, 0, 0].tolist() == [3, 7]
    with pytest.raises(ValueError, match="residual would be silent"):
        Stems.of(("vocals",), two_stems="vocals", residual=True)


def test_stem_files_are_in_musdbs_order():
    sources = ("bass", "drums", "guitar", "other", "vocals")
    expected = ("mixture", "drums", "bass", "other", "vocals", "guitar", "residual")
    assert Stems.of(sources, residual=True, mixture=True).names == expected


def test_unknown_source_is_refused():
    for arguments in ({"two_stems": "guitar"}, {"stems": ["guitar"]}, {"without": ["guitar"]}):
        with pytest.raises(ValueError, match="'guitar'.*bass, drums, vocals"):
            Stems.of(SOURCES, **arguments)


def test_source_named_like_an_added_signal_is_refused():
    for name in ("residual", "mixture"):
        with pytest.raises(ValueError, match=f"'{name}'.*source"):
            Stems.of(("vocals", name), **{name: True})


@given(st.integers(1, 5), st.floats(0.1, 4), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_clamped_stems_are_within_full_scale_and_keep_their_sum(n, level, seed):
    stems = level * torch.randn(n, 2, 100, generator=torch.Generator().manual_seed(seed))
    total = stems.sum(0)
    inside = clamped(stems)
    assert inside.abs().max() <= 1
    reachable = total.abs() <= n
    torch.testing.assert_close(inside.sum(0)[reachable], total[reachable], atol=1e-5, rtol=0)
    fitting = (stems.abs() <= 1).all(0).expand_as(stems)
    assert torch.equal(inside[fitting], stems[fitting]), "samples within full scale are unchanged"


def test_sample_format_follows_the_input_by_default():
    for suffix, bits, source, subtype in (
        (".wav", None, "PCM_16", "PCM_16"),
        (".wav", None, "PCM_24", "PCM_24"),
        (".wav", None, "PCM_U8", "PCM_16"),
        (".wav", None, "FLOAT", "FLOAT"),
        (".wav", None, "VORBIS", "FLOAT"),
        (".wav", None, None, "FLOAT"),
        (".wav", "24", "PCM_16", "PCM_24"),
        (".flac", None, "PCM_16", "PCM_16"),
        (".flac", None, "FLOAT", "PCM_24"),
        (".mp3", None, "PCM_16", None),
        (".ogg", None, None, None),
    ):
        assert subtype_of(suffix, bits, source) == subtype, (suffix, bits, source)


def test_unsupported_bits_are_refused():
    for suffix, bits, facts in (
        (".flac", "float", "flac.*float.*16 or 24"),
        (".mp3", "16", "omit"),
    ):
        with pytest.raises(ValueError, match=facts):
            subtype_of(suffix, bits, None)


def write_loud_song(tmp_path):
    """Return a song and stems beyond full scale, one far louder than the mixture."""
    stems = torch.stack((1.5 * torch.sin(torch.arange(3000) / 7.0), torch.zeros(3000)))[:, None]
    stems[1] = 0.4 * torch.cos(torch.arange(3000) / 5.0) - 0.5 * stems[0]
    audio_io.write(tmp_path / "song.wav", stems.sum(0), 8000, "PCM_16")
    return tmp_path / "song.wav", stems


def written(tmp_path, target, clip, names=("a", "b")):
    path, stems = write_loud_song(tmp_path)
    with audio_io.open_reader(path) as song, target.writing(names, song, clip) as write:
        for block in stems.split(700, dim=-1):
            write(block)
    return stems, torch.stack([audio_io.read(path)[0] for path in target.paths])


def files(tmp_path, bits=None, suffix="wav"):
    return StemFiles({name: tmp_path / f"{name}.{suffix}" for name in "ab"}, bits)


def test_clamp_keeps_the_sum_in_16_bits(tmp_path):
    stems, read = written(tmp_path, files(tmp_path), "clamp")
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    assert read.abs().max() <= 1 < stems.abs().max()
    torch.testing.assert_close(read.sum(0), stems.sum(0), atol=2 / 2**15, rtol=0)


def test_rescale_applies_one_gain_to_all_stems(tmp_path):
    stems, read = written(tmp_path, files(tmp_path), "rescale")
    torch.testing.assert_close(read, stems / stems.abs().max(), atol=1 / 2**15, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "song.wav"]


def test_clip_none_clips_integers_and_keeps_floats(tmp_path):
    stems, read = written(tmp_path, files(tmp_path), "none")
    torch.testing.assert_close(read, stems.clamp(-1, 1), atol=1 / 2**15, rtol=0)
    for clip in CLIPS:
        stems, read = written(tmp_path, files(tmp_path, "float"), clip)
        assert torch.equal(read, stems)


def test_other_formats_keep_length_and_alignment(tmp_path):
    for suffix in ("mp3", "ogg", "flac"):
        stems, read = written(tmp_path, files(tmp_path, suffix=suffix), "rescale")
        assert read.shape == stems.shape, suffix
        assert (read - stems / stems.abs().max()).square().mean() < 1e-3, suffix


def test_every_clip_is_implemented():
    assert CLIPS.keys() == FITTING.keys()


def test_stem_file_holds_mixture_and_stems(tmp_path):
    import av

    target = StemFile(tmp_path / "song.stem.mp4")
    path, stems = write_loud_song(tmp_path)
    names = ("mixture", "a", "b")
    with audio_io.open_reader(path) as song, target.writing(names, song, "rescale") as write:
        signals = torch.cat((stems.sum(0, keepdim=True), stems))
        for block in signals.split(700, dim=-1):
            write(block)
        hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
        assert all(TEMPORARY.match(name) for name in hidden), "the next run deletes what is left"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((path.name, "song.stem.mp4"))
    with av.open(str(target.path)) as container:
        streams = container.streams.audio
        assert [stream.metadata["name"] for stream in streams] == list(names)
        assert {stream.duration for stream in streams} == {3000}
    read, rate = audio_io.read(target.path)
    assert rate == 8000 and read.shape == (1, 3000)
    assert (read - signals[0] / signals.abs().max()).square().mean() < 1e-3


def test_stem_file_of_six_channels_is_refused(tmp_path):
    audio_io.write(tmp_path / "six.wav", torch.zeros(6, 100), 8000)
    target = StemFile(tmp_path / "six.stem.mp4")
    with (
        audio_io.open_reader(tmp_path / "six.wav") as song,
        pytest.raises(ValueError, match=r"6 channels.* 1 or 2"),
        target.writing(("mixture", "a"), song, "clamp"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["six.wav"]
