"""The page's open.js and wav.js: the samples and rates of files, in a browser."""

from __future__ import annotations

import base64
import io
import threading
from functools import partial

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.web import folder, server
from helpers.browser import chromium, new_page
from helpers.browser.encoded import m4a, noise, wav


@pytest.fixture(scope="module")
def page():
    """The page's scripts without a model."""
    with chromium() as browser, server.make_server(folder.TEMPLATES) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        opened = new_page(browser)
        opened.goto(server.url(running))
        yield opened
        running.shutdown()


STATED_RATE = """async base64 => {
    const { sampleRate } = await import("/open.js");
    return sampleRate(Uint8Array.from(atob(base64), letter => letter.charCodeAt(0)));
}"""


@pytest.mark.parametrize(
    ("format", "subtype", "rate", "expected"),
    [
        ("FLAC", "PCM_16", 11025, 11025),
        ("OGG", "VORBIS", 22050, 22050),
        ("OGG", "OPUS", 16000, 48000),
        ("MP3", "MPEG_LAYER_III", 32000, 32000),
        ("MP3", "MPEG_LAYER_III", 22050, 22050),
        ("AIFF", "PCM_16", 22050, None),
    ],
)
def test_sample_rate_is_read_from_the_header(page, format, subtype, rate, expected):
    content = base64.b64encode(wav(noise(1, rate=rate), rate, subtype, format)).decode()
    assert page.evaluate(STATED_RATE, content) == expected
    short = base64.b64encode(base64.b64decode(content)[:3]).decode()
    assert page.evaluate(STATED_RATE, short) is None


OPENED = """async base64 => {
    const { openSong } = await import("/open.js");
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
    const { song } = await openSong(new File([bytes], "song"));
    const channels = await song.read(0, song.frames);
    return [song.rate, channels.map(samples => Array.from(samples))];
}"""


@pytest.mark.parametrize(
    ("encode", "tolerance"),
    [
        (partial(wav, rate=44100, format="FLAC", subtype="PCM_16"), 2e-5),  # Chromium's scale
        (partial(wav, rate=44100, format="MP3", subtype="MPEG_LAYER_III"), 1e-5),
        (partial(wav, rate=32000, format="OGG", subtype="VORBIS"), 1e-5),
        (partial(wav, rate=48000, format="OGG", subtype="OPUS"), 1e-5),
        (partial(m4a, rate=48000), 1e-5),
    ],
    ids=["flac", "mp3", "ogg", "opus", "m4a"],
)
def test_compressed_songs_are_those_that_python_decodes(page, encode, tolerance):
    """At their own rate, and without the delay and padding of their encoder."""
    content = encode(noise(0.3, rate=encode.keywords["rate"]))
    rate, found = page.evaluate(OPENED, base64.b64encode(content).decode())
    expected, expected_rate = audio_io.read(io.BytesIO(content))
    assert rate == expected_rate == encode.keywords["rate"]
    torch.testing.assert_close(torch.tensor(found), expected, atol=tolerance, rtol=0)


LONG_FILE = """async frames => {
    const { openWav, wavHeader } = await import("/wav.js");
    const file = new Blob([wavHeader(44100, 2, frames, true), new Float32Array(20)]);
    const { LONG, openSong } = await import("/open.js");
    const text = new File([new Uint8Array(LONG + 1)], "long.mp3");
    return [(await openWav(file)).frames, await openSong(text).catch(error => error.message)];
}"""


def test_songs_that_32_bits_or_one_buffer_do_not_hold(page):
    frames, message = page.evaluate(LONG_FILE, 2**30)
    assert frames == 10, "to the end of the file, not the size modulo 4 GB"
    assert "too long for this browser" in message and "Convert it to wav" in message
