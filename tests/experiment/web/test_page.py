"""The page that separates songs, in a browser."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import threading

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet import separate
from asteroid_waveunet.experiment.web import folder, runtime, server
from asteroid_waveunet.separation.stems import clamped
from helpers.browser import chromium, new_page, position, skip_or_fail, wait_for_audible
from helpers.browser.encoded import RATE, noise, wav
from helpers.models import randomize, tiny
from helpers.paths import ROOT

HOP = 16384
RUNTIME = ROOT / "tools" / "web"


@pytest.fixture(scope="module")
def model():
    return randomize(tiny(sources=("accompaniment", "vocals"), in_channels=2, sample_rate=RATE,
                          output_activation="linear")).without_clipping()  # fmt: skip


@pytest.fixture(scope="module")
def page_folder(model, tmp_path_factory):
    if not (RUNTIME / "node_modules").is_dir():
        skip_or_fail("needs onnxruntime-web: npm ci in tools/web (make check does it)")
    place = tmp_path_factory.mktemp("web") / "page"
    description = folder.Description("tiny", "made for tests", "MIT")
    folder.write_page(model, place, description, HOP, RUNTIME)
    return place


@pytest.fixture(scope="module")
def browser():
    with chromium() as launched:
        yield launched


LOUD = ("error", "warning")


class Visit:
    """A page in the browser; what it asks for and complains about is kept."""

    def __init__(self, page, address: str):
        self.page, self.address = page, address
        self.troubles: list[str] = []
        page.on(
            "console", lambda m: m.type in ("error", "warning") and self.troubles.append(m.text)
        )
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", self._local)
        page.goto(address)
        page.locator("#choose").wait_for()

    def _local(self, request) -> None:
        if not request.url.startswith((self.address, f"blob:{self.address}", "data:")):
            self.troubles.append(f"asked for {request.url}")

    def choose(self, name: str, content: bytes) -> None:
        file = {"name": name, "mimeType": "", "buffer": content}
        self.forget_state()
        self.page.set_input_files("#file", file)

    def drop(self, **files: bytes) -> None:
        self.forget_state()
        self.drop_beside_a_song(**files)

    def drop_beside_a_song(self, **files: bytes) -> None:
        """Drop files and keep the state: the song that runs may be done already."""
        encoded = [[name, base64.b64encode(files[name]).decode()] for name in files]
        self.page.evaluate(DROP, encoded)

    def forget_state(self) -> None:
        """Clear the state of an earlier song, which stays until the next one is open."""
        self.page.locator("#state").evaluate("state => { state.textContent = ''; }")

    def wait_for_state(self, text: str) -> None:
        self.page.locator("#state", has_text=text).wait_for()

    def download(self, button: str) -> tuple[str, bytes]:
        with self.page.expect_download() as started:
            self.page.get_by_role("button", name=button).click()
        return started.value.suggested_filename, started.value.path().read_bytes()

    @property
    def player(self):
        return self.page.locator(".player")


@pytest.fixture(scope="module")
def visit(browser, page_folder):
    """Return a function that opens the page, with or without isolation; fail on its troubles."""
    visits = []

    def open_page(isolated: bool = True) -> Visit:
        running = server.make_server(page_folder, isolated=isolated)
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        context = browser.new_context()
        visits.append((Visit(new_page(context), server.url(running)), context, running))
        return visits[-1][0]

    yield open_page
    for _, context, running in visits:
        context.close()
        running.shutdown()
        running.server_close()
    assert [each.troubles for each, *_ in visits if each.troubles] == []


@pytest.fixture(scope="module")
def opened(visit):
    """One page for all tests that need no other."""
    return visit()


def read(content: bytes) -> torch.Tensor:
    samples, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy())


DROP = """files => {
    const dataTransfer = new DataTransfer();
    for (const [name, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name));
    }
    window.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
}"""


@pytest.mark.parametrize("isolated", [True, False])
def test_stems_of_a_dropped_song_equal_those_of_separate(opened, visit, model, isolated):
    page = opened if isolated else visit(isolated=False)
    content = wav(noise(30))
    page.drop(**{"my song.wav": content})
    page.wait_for_state("Done")
    expected = separate(model, io.BytesIO(content))
    for stem, source in zip(expected, model.sources, strict=True):
        name, found = page.download(f"Download {source}, float WAV")
        assert name == f"my song_{source}.wav"
        torch.testing.assert_close(read(found), stem, atol=1e-4, rtol=0)
    _, found = page.download("Download vocals, 16-bit WAV")
    assert soundfile.info(io.BytesIO(found)).subtype == "PCM_16"
    torch.testing.assert_close(read(found), clamped(expected)[1], atol=1.5 / 2**15, rtol=0)
    warning = page.page.get_by_text("Cross-Origin-Embedder-Policy: require-corp")
    assert warning.is_visible() is not isolated


# Channels and rates of songs, and how well their stems agree: where rates differ, by another
# resampler.
@pytest.mark.parametrize(
    ("rate", "channels", "format", "subtype", "tolerance"),
    [
        (RATE, 1, "WAV", "PCM_24", 1e-5),
        (RATE, 6, "RF64", "PCM_U8", 1e-5),
        (11025, 2, "WAV", "PCM_16", 1e-3),
        (16000, 1, "FLAC", "PCM_16", 1e-3),
        (16000, 2, "MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_songs_of_other_channels_rates_and_formats(
    opened, model, rate, channels, format, subtype, tolerance
):
    time = np.arange(2 * rate) / rate
    tones = np.sin(2 * np.pi * np.outer(time, 220 * np.arange(1, channels + 1)))
    window = np.sin(np.pi * time / 2)[:, None] ** 2
    content = wav(0.4 * tones * window, rate, subtype, format)
    opened.choose(f"song.{format.lower()}", content)
    opened.wait_for_state("Done")
    with pytest.warns(match="mixed down") if channels > 2 else contextlib.nullcontext():
        expected = separate(model, io.BytesIO(content))
    _, found = opened.download("Download vocals, float WAV")
    info = soundfile.info(io.BytesIO(found))
    assert (info.samplerate, info.channels) == (rate, min(channels, 2))
    edge = 0 if rate == RATE else 200  # estimates begin and end abruptly, biases are not zero
    inner = slice(edge, expected.shape[-1] - edge)
    assert read(found).shape == expected[1].shape
    torch.testing.assert_close(read(found)[:, inner], expected[1][:, inner], atol=tolerance, rtol=0)
    note = opened.page.locator("#mixed").inner_text()
    assert ("6 channels are mixed down to 2" in note) is (channels > 2)


CLICK_AT_ONCE = """([text, selector]) => new MutationObserver((_, observer) => {
    if (!document.querySelector("#state").textContent.includes(text)) return;
    document.querySelector(selector).click();
    observer.disconnect();
}).observe(document.querySelector("#state"), { childList: true })"""


# A sum over two of the blocks that the player sends, and what was heard before it.
SILENT_IN_SUM = """async player => {
    const { rows } = player.player;
    const [song] = rows;
    const { context } = song.gain;
    const sum = new AnalyserNode(context, { fftSize: 8192 });
    song.gain.gain.cancelScheduledValues(0);
    song.gain.gain.value = -1;
    for (const row of rows) row.gain.connect(sum);
    const samples = new Float32Array(sum.fftSize);
    const end = context.currentTime + 2 * samples.length / context.sampleRate;
    while (context.currentTime < end) await new Promise(requestAnimationFrame);
    sum.getFloatTimeDomainData(samples);
    const levels = rows.map(row => row.level());
    return [Math.max(...samples.map(Math.abs)), Math.min(...levels)];
}"""


def test_stems_play_while_they_are_computed_and_in_exact_synchrony(opened):
    """A difference model's stems sum to the song, sample by sample."""
    page = opened.page
    page.evaluate(CLICK_AT_ONCE, ["Loading the model", "[data-do=play]"])  # nothing is computed yet
    opened.choose("song.wav", wav(noise(90)))
    wait_for_audible(opened.player, "accompaniment", "vocals")
    page.get_by_label("Solo several").check()
    for name in ("song", "accompaniment", "vocals"):
        page.get_by_role("button", name=f"Solo {name}").click()
    wait_for_audible(opened.player, "song", "accompaniment", "vocals")
    difference, quietest = opened.player.evaluate(SILENT_IN_SUM)
    assert difference < 1e-5 < 1e-3 < quietest


def test_player_solos_mutes_seeks_and_sets_the_volume(opened):
    page = opened.page
    opened.choose("song.wav", wav(noise(10)))
    opened.wait_for_state("Done")
    page.get_by_label("Loop").check()
    page.get_by_role("button", name="Play").click()
    wait_for_audible(opened.player, "accompaniment", "vocals")
    page.get_by_role("button", name="Solo vocals").click()
    wait_for_audible(opened.player, "vocals")
    page.get_by_role("button", name="Song ⇄ stems").click()
    wait_for_audible(opened.player, "song")
    opened.player.press("x")
    page.get_by_role("button", name="Mute accompaniment").click()
    wait_for_audible(opened.player, "vocals")
    page.get_by_label("Volume of vocals").fill("0")
    wait_for_audible(opened.player)
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Loop").uncheck()
    page.get_by_label("Position in the song").fill("9.5")
    assert position(opened.player) == pytest.approx(9.5)
    page.get_by_role("button", name="Play").click()
    player = opened.player.element_handle()
    page.wait_for_function("p => p.player.position() === 0", arg=player)  # it has ended
    assert page.get_by_role("button", name="Play").is_visible()
    page.get_by_label("Loop").check()
    page.get_by_label("Position in the song").fill("9.8")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "p => p.player.position() > 0 && p.player.position() < 5",
        arg=player,
    )
    opened.player.press("p")
    assert page.get_by_role("button", name="Play").is_visible()


def test_stopped_song_keeps_what_is_computed(opened):
    opened.page.evaluate(CLICK_AT_ONCE, ["left", "#stop"])
    opened.choose("long.wav", wav(noise(90)))
    opened.wait_for_state("Stopped")
    _, found = opened.download("Download vocals, float WAV")
    assert 0 < read(found).shape[-1] < 90 * RATE


def test_bad_file_does_not_stop_a_song_and_of_several_the_others_are_said(opened):
    opened.choose("long.wav", wav(noise(40)))
    opened.page.locator("#state", has_text=re.compile("left|Done")).wait_for()
    for files, message in ({"notes.txt": b"la"}, "notes.txt cannot be read"), ({}, "is no file"):
        opened.drop_beside_a_song(**files)
        opened.page.get_by_role("alert").get_by_text(message).wait_for()
    opened.wait_for_state("Done")
    _, found = opened.download("Download vocals, float WAV")
    assert read(found).shape[-1] == 40 * RATE
    opened.drop(**{"a.wav": wav(noise(1)), "b.wav": wav(noise(1)), "c.wav": b""})
    opened.page.get_by_text(
        "One song at a time: a.wav is separated, without b.wav and c.wav."
    ).wait_for()
    opened.page.locator("h2", has_text=re.compile("^a$")).wait_for()
    opened.wait_for_state("Done")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"la la la", "notes.txt cannot be read: it is no audio file"),
        ("empty.wav", b"", "empty.wav is empty: it has 0 bytes"),
        ("none.wav", wav(np.zeros((0, 2))), "none.wav has no samples"),
        ("nan.wav", wav(np.full((99, 2), np.nan)), "NaN or infinite samples"),
    ],
    ids=["text", "empty", "no samples", "not finite"],
)
def test_message_for_files_that_cannot_be_separated(opened, name, content, message):
    opened.choose(name, content)
    opened.page.get_by_role("alert").get_by_text(message).wait_for()
    opened.choose("song.wav", wav(noise(1)))  # and the page goes on
    opened.wait_for_state("Done")
    assert opened.page.get_by_role("alert").is_hidden()


# In the order in which they are needed, as what is loaded is not loaded again.
NEEDED = {
    "example.flac": "The example could not be loaded",
    f"runtime/{runtime.FILES['binary'][0]}": "ONNX Runtime .* could not be loaded",
    "model.onnx": "The model tiny could not be loaded",
}


def test_message_for_files_of_the_page_that_are_missing_or_damaged(visit):
    page = visit()
    example = page.page.get_by_role("button", name="Try the example")
    shown = page.page.locator("#message")
    damages = [
        lambda route: route.fulfill(body=b"damaged"),
        lambda route: route.fulfill(status=404),
    ]
    for file, message in NEEDED.items():
        for damage in damages[file == "example.flac" :]:
            page.page.route(f"**/{file}", damage)
            shown.evaluate("message => { message.textContent = ''; }")
            example.click()
            shown.filter(has_text=re.compile(message)).wait_for()
            page.page.unroute(f"**/{file}")
    example.click()
    page.wait_for_state("Done")
    page.troubles.clear()


def test_runtime_comes_from_its_cdn_by_default(visit, page_folder):
    """The CDN is simulated: another origin, which allows to be read."""
    page = visit()
    facts = json.loads((page_folder / "model.json").read_text())
    facts["runtime"] = runtime.description(is_local=False)
    page.page.route("**/model.json", lambda route: route.fulfill(json=facts))
    served = page_folder / runtime.LOCAL
    allowed = {"Access-Control-Allow-Origin": "*"}
    page.page.route(
        f"{runtime.CDN}*",
        lambda route: route.fulfill(
            path=served / route.request.url.split("/")[-1], headers=allowed
        ),
    )
    page.page.reload()
    page.page.get_by_role("button", name="Try the example").click()
    page.wait_for_state("Done")
    expected = {f"asked for {runtime.CDN}{name}" for name, _ in runtime.FILES.values()}
    assert set(page.troubles) == expected
    page.troubles.clear()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 1100)])
def test_page_follows_the_colour_scheme_and_fits_the_screen(opened, scheme, width):
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    opened.choose(f"{'a long name ' * 20}.wav", wav(noise(1)))
    opened.wait_for_state("Done")
    root = "document.documentElement."
    assert page.evaluate(f"() => {root}scrollWidth") == width
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


NAME = "e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent.trim()"


def test_keyboard_reaches_every_control_and_each_has_a_name(opened):
    opened.choose("song.wav", wav(noise(1)))
    opened.wait_for_state("Done")
    controls = opened.page.locator("button:visible, input:visible, summary:visible")
    names = controls.evaluate_all(f"all => all.map({NAME})")
    assert all(names) and len(names) == len(set(names))
    reached = set()
    for _ in range(2 * len(names)):
        opened.page.keyboard.press("Tab")
        reached.add(opened.page.evaluate(f"() => ({NAME})(document.activeElement)"))
    assert set(names) <= reached


def test_page_opened_from_disk_says_how_to_serve_it(browser, page_folder):
    page = new_page(browser)
    page.goto((page_folder / "index.html").as_uri())
    assert page.get_by_text("waveunet demo").is_visible()
    page.close()
