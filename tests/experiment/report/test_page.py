from __future__ import annotations

import base64
import html
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.report import excerpts, tables
from asteroid_waveunet.experiment.report import page as report_page
from asteroid_waveunet.experiment.report.excerpts import excerpt

RATE = 8000
NAN = math.nan
NASTY = 'M.E.R.C. "A" & <script>alert(1)</script> – $x_1$ ' + "ü漢" * 40


def score(track: str, **sdr: list[float]) -> dict:
    """Scores of a track as museval's json has them, from the SDR of each window."""
    return {
        "track": track,
        "targets": [
            {
                "name": source,
                "frames": [
                    {
                        "time": float(t),
                        "duration": 1.0,
                        "metrics": {"SDR": x, "SIR": x + 2, "ISR": x + 1, "SAR": x - 1},
                    }
                    for t, x in enumerate(values)
                ],
            }
            for source, values in sdr.items()
        ],
    }


def tone(hertz: float, seconds: float = 3.0, channels: int = 2, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * hertz * time), (channels, 1)).astype(np.float32)


def piece(track="song", seconds=3.0, channels=2, rate=RATE) -> report_page.Excerpt:
    truths = {
        "bass": tone(110, seconds, channels, rate),
        "voice": tone(440, seconds, channels, rate),
    }
    estimates = {name: 0.5 * x for name, x in truths.items()}
    return excerpt(track, sum(truths.values()), truths, estimates, rate)


SCORES = [
    score("song", bass=[1.0, 2.0, 9.0], voice=[5.0, NAN, 7.0]),
    score("tune", bass=[0.0, 1.0, -9.0], voice=[2.0, NAN, -1.0]),
    score("air", bass=[8.0, 9.0, 9.0], voice=[5.0, 9.0, 7.0]),
]
ZEROS = [
    score(s["track"], **{t["name"]: [0.0] * len(t["frames"]) for t in s["targets"]}) for s in SCORES
]
LABELS = {"best": "air", "median": "song", "worst": "tune"}
CURVES = """epoch,lr-Adam,loss,step,val_loss,val_sdr/voice
,0.001,,0,,
0,,0.5,49,,
0,,,99,0.4,1.5
,0.0005,,100,,
1,,0.3,149,,
1,,,199,0.2,2.5
1,,,199,0.1,3.5
"""


def made(folder: Path, **fields) -> Path:
    """A page of what is given, and of the first song's scores unless others are."""
    least = dict(
        title="A model",
        protocol="bass and voice, scored together on three songs",
        scores=SCORES[:1],
        command="bash run.sh --data 'a & b'",
    )
    return report_page.write(report_page.Report(**{**least, **fields}), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A page with everything; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "metrics.csv").write_text(CURVES)
    return made(
        folder / "report",
        scores=SCORES,
        baselines={"mixture": ZEROS, "silence": ZEROS},
        excerpts={label: piece(track) for label, track in LABELS.items()},
        configuration="lr: 0.1\n",
        curves=folder / "metrics.csv",
        notes=["A note."],
    )


@pytest.fixture(autouse=True)
def one_drawing(whole, monkeypatch):
    """The other pages have each chart once, not for both themes and widths: it takes seconds."""
    monkeypatch.setattr(report_page.plots, "THEMES", {"light": report_page.plots.THEMES["light"]})
    monkeypatch.setattr(report_page.plots, "WIDTHS", {"wide": report_page.plots.WIDTHS["wide"]})


def linked(page: Path) -> set[Path]:
    """Every file that a page names."""
    found = re.findall(r'(?:src|href|srcset|data-script)="([^"#]+)"', page.read_text("utf-8"))
    return {page.parent / html.unescape(name) for name in found if not name.startswith("data:")}


def words(page: Path) -> str:
    """The page's text, without tags, at single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text("utf-8"))).split())


# --- which tracks, and which pieces of them ---------------------------------------------------


def test_representatives_go_by_the_mean_over_sources_of_the_median():
    silent = score("rest", bass=[NAN], voice=[NAN])
    assert report_page.representatives([*SCORES, silent]) == LABELS


@pytest.mark.parametrize(
    ("n", "expected"),
    [(0, {}), (1, {"median": "a"}), (2, {"best": "b", "worst": "a"})],
)
def test_no_track_stands_for_two_kinds(n, expected):
    scores = [score("a", voice=[1.0]), score("b", voice=[2.0])][:n]
    assert report_page.representatives([*scores, score("rest", voice=[NAN])]) == expected


def test_infinite_scores_are_ranked():
    scores = [score(name, v=[x]) for name, x in [("a", -math.inf), ("b", math.inf), ("c", 0.0)]]
    assert report_page.representatives(scores) == {"best": "b", "median": "c", "worst": "a"}


def test_an_excerpt_is_where_the_source_that_is_most_at_rest_is_loudest():
    quiet, loud = 0.01 * tone(200, 5), tone(200, 5)
    # The bass is quieter than the voice throughout, and has most of its energy from 10 to 15 s.
    bass = 0.1 * np.hstack([quiet, quiet, loud, quiet])
    voice = np.hstack([quiet, loud, loud, quiet])
    chosen = excerpt("song", bass + voice, {"b": bass, "v": voice}, {"b": bass, "v": voice},
                            RATE, seconds=5)  # fmt: skip
    assert chosen.start == 10.0
    assert chosen.seconds == 5.0
    np.testing.assert_array_equal(chosen.references["v"], loud)


def test_sources_that_are_never_together_do_not_choose_silence():
    rest, plays = np.zeros((1, 4 * RATE), np.float32), tone(200, 4, channels=1)
    a, b = np.hstack([rest, plays, rest, rest]), np.hstack([rest, rest, rest, plays])
    sources = {"a": a, "b": b, "never": np.zeros_like(a)}
    assert excerpt("song", a + b, sources, sources, RATE, seconds=4).start == 4.0


def test_a_short_silent_mono_track_is_taken_whole():
    samples = np.zeros(100)
    chosen = excerpt("song", samples, {"v": samples}, {"v": samples}, RATE)
    assert (chosen.start, chosen.mixture.shape) == (0.0, (1, 100))


def test_excerpts_refuse_what_does_not_belong_together():
    s = tone(100)
    with pytest.raises(ValueError, match="references are a but estimates b; every source"):
        excerpt("song", s, {"a": s}, {"b": s}, RATE)
    with pytest.raises(ValueError, match=r"song: the estimate of a has shape \(2, 7\); expected"):
        excerpt("song", s, {"a": s}, {"a": s[:, :7]}, RATE)
    with pytest.raises(ValueError, match="the estimate of a has NaN or infinite samples"):
        excerpt("song", s, {"a": s}, {"a": s * np.nan}, RATE)


def test_estimates_are_matched_within_12_db_and_not_to_silence():
    truth, silence = tone(100), 0 * tone(100)
    for estimate, gain in [(0.5, 2), (2.0, 0.5), (1e-4, 4), (100, 0.25), (0, 1)]:
        song = excerpt("s", truth, {"a": truth}, {"a": estimate * truth}, RATE)
        assert excerpts.recordings(song)[-1].matching == pytest.approx(gain, rel=1e-5)
    song = excerpt("s", truth, {"a": silence}, {"a": truth}, RATE)
    assert excerpts.recordings(song)[-1].matching == 1


def test_nothing_that_is_played_clips():
    song = piece()
    rows = excerpts.recordings(song)
    # Both estimates together, at the truths' levels, are the mixture, which peaks near 0.6.
    assert excerpts.common_gain(rows) == 1.0
    louder = excerpt(
        "s",
        3 * song.mixture,
        {name: 3 * x for name, x in song.references.items()},
        song.estimates,
        RATE,
    )
    gain = excerpts.common_gain(excerpts.recordings(louder))
    assert gain * np.abs(3 * song.mixture).max() == pytest.approx(0.99)


# --- the folder -------------------------------------------------------------------------------


def test_the_page_names_only_files_that_are_there_and_nothing_else_is(whole):
    files = {path for path in whole.parent.rglob("*") if path.is_file()}
    assert linked(whole) | {whole} == files
    assert sorted(os.listdir(whole.parents[1])) == ["metrics.csv", "report"]


def test_recordings_are_the_excerpts_at_one_gain_and_the_script_holds_the_same_files(tmp_path):
    loud = piece()
    loud = excerpt("s", 4 * loud.mixture, loud.references, loud.estimates, RATE)
    page = made(tmp_path / "report", excerpts={"median": loud})
    folder = page.parent / "audio"
    assert sorted(os.listdir(folder)) == ["median-s", "median-s.js"]
    gain = excerpts.common_gain(excerpts.recordings(loud))
    for stem, expected in {
        "mixture": loud.mixture,
        "bass-truth": loud.references["bass"],
        "voice-estimate": loud.estimates["voice"],
    }.items():
        samples, rate = audio_io.read(folder / "median-s" / f"{stem}.flac")
        assert rate == RATE
        np.testing.assert_allclose(samples.numpy(), gain * expected, atol=2**-15)
    script = (folder / "median-s.js").read_text()
    name, files = json.loads(f"[{script.removeprefix('addRecordings(').rstrip()[:-2]}]")
    assert name == "median-s"
    assert {
        stem: base64.b64decode(encoded) for stem, encoded in files.items()
    } == {path.stem: path.read_bytes() for path in (folder / "median-s").iterdir()}  # fmt: skip


def test_the_table_has_both_aggregations_and_the_baselines(whole):
    text = words(whole)
    # Pooled, bass: the median of -9 0 1 1 2 8 9 9 9 is 2, the MAD 6; of tracks 2 0 9 it is 2.
    assert "bass 2.00 6.00 3.33 5.72 4.00 3.00 1.00 2.00 4.00 3.00 1.00 9 0" in text
    assert "voice 5.00 2.00 4.86 3.14 7.00 6.00 4.00 6.00 8.00 7.00 5.00 7 2" in text
    assert "average 3.50 4.00" in text
    assert "model mixture silence" in text
    assert "bass 2.00 2.00 0 0.00 0.00 0 0.00 0.00 0" in text
    assert "bass voice mean air 9.00 7.00 8.00 song 2.00 6.00 4.00 tune 0.00 0.50 0.25" in text


def test_the_page_says_what_was_trained_and_how(whole):
    text = words(whole)
    assert "validation loss was lowest, 0.1, after 200 optimiser steps, in epoch 2 of 2" in text
    for expected in ("A note.", "bash run.sh --data 'a & b'", "lr: 0.1", "asteroid-waveunet 0"):
        assert expected in text


def test_names_are_text_and_their_files_are_safe(tmp_path):
    source = "<b>$\\frac$'\""
    s = tone(200)
    pieces = {"median": excerpt(NASTY, s, {source: s}, {source: s}, RATE)}
    scores = [score(NASTY, **{source: [1.0, 2.0]})]
    page = made(tmp_path / "report", title=NASTY, scores=scores, baselines={NASTY: scores},
                excerpts=pieces, command=NASTY, notes=[NASTY])  # fmt: skip
    raw = page.read_text("utf-8")
    assert "<script>alert" not in raw and "<b>$" not in raw
    assert words(page).count("alert(1)") > 5
    for path in page.parent.rglob("*"):
        assert re.fullmatch(r"[a-z0-9-]{1,90}(\.[a-z]+)?", path.name)
    assert linked(page) <= {path for path in page.parent.rglob("*") if path.is_file()}


def test_sources_with_like_names_have_files_of_their_own(tmp_path):
    s = tone(200)
    sources = {"Lead.": s, "lead": s, "漢": s, "字": s}
    pieces = {"median": excerpt("song", s, sources, sources, RATE)}
    page = made(tmp_path / "report", excerpts=pieces,
                scores=[score("song", **{name: [1.0] for name in sources})])  # fmt: skip
    assert len(list(page.parent.glob("audio/*/*.flac"))) == 9


@pytest.mark.parametrize("rate", [8000, 22050, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_one_channel(tmp_path, rate, channels):
    page = made(tmp_path / "report", excerpts={"median": piece("song", 0.5, channels, rate)})
    samples, read = audio_io.read(next(page.parent.glob("audio/*/mixture.flac")))
    assert (read, samples.shape) == (rate, (channels, rate // 2))


def test_mono_estimates_of_a_stereo_track(tmp_path):
    s = tone(300)
    mono = excerpt("song", s, {"v": s}, {"v": s[:1]}, RATE)
    made(tmp_path / "report", excerpts={"best": mono})


def test_samples_of_double_precision(tmp_path):
    s = tone(300).astype(np.float64)
    made(
        tmp_path / "report",
        excerpts={"best": report_page.Excerpt("a", 0.0, RATE, s, {"v": s}, {"v": s})},
    )


def test_without_scores_excerpts_curves_and_configuration(tmp_path):
    scores = [score("a", bass=[NAN, NAN], voice=[NAN, NAN])]
    page = made(tmp_path / "report", scores=scores)
    text = words(page)
    assert "No window has a score" in text
    assert "bass – – – –" in text and "0 2" in text
    assert "Tracks to look at" not in text and "Training" not in text
    assert os.listdir(page.parent / "audio") == []


def test_an_excerpt_of_a_track_that_was_not_scored(tmp_path):
    page = made(tmp_path / "report", excerpts={"my own": piece("elsewhere")})
    assert "No window of this track has a score" in words(page)
    assert linked(page) <= {path for path in page.parent.rglob("*") if path.is_file()}


def test_infinite_scores(tmp_path):
    scores = [score("a", bass=[math.inf, 1.0, math.inf], voice=[-math.inf, 0.0, -math.inf])]
    text = words(made(tmp_path / "report", scores=scores))
    assert "bass ∞" in text and "voice −∞" in text


def test_fifty_tracks_and_one_source(tmp_path):
    scores = [score(f"track {i}", voice=[float(i), NAN]) for i in range(50)]
    text = words(made(tmp_path / "report", scores=scores))
    assert "track 49 49.00 49.00 track 48 48.00" in text
    assert "average" not in text.split("What these figures mean")[0]


@pytest.mark.parametrize(
    "rows", ["epoch,step,val_loss\n", "epoch,step,val_loss\n0,9,nan\n", "epoch,step,loss\n0,9,-1\n"]
)
def test_curves_of_next_to_nothing(tmp_path, rows):
    (tmp_path / "short.csv").write_text(rows)
    made(tmp_path / "report", curves=tmp_path / "short.csv")


def test_curves_that_are_none_are_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"has the columns \['a', 'b'\]; expected Lightning's"):
        made(tmp_path / "report", curves=tmp_path / "other.csv")
    (tmp_path / "other.csv").write_text("step,loss\n1,2\n2,x\n")
    with pytest.raises(ValueError, match="line 3: loss is 'x' at step '2'; expected numbers"):
        made(tmp_path / "report", curves=tmp_path / "other.csv")


def test_baselines_of_other_tracks_and_no_scores_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'mixture' has 3 windows of bass in 'air', the model 0"):
        made(tmp_path / "report", baselines={"mixture": ZEROS[1:]})
    with pytest.raises(ValueError, match="a baseline is named 'model', as the model itself is"):
        made(tmp_path / "report", baselines={"model": SCORES[:1]})
    with pytest.raises(ValueError, match="one track or more, got none"):
        made(tmp_path / "report", scores=[])
    assert not (tmp_path / "report").exists()


def test_a_report_replaces_an_earlier_one_and_nothing_else(tmp_path):
    folder = tmp_path / "report"
    made(folder, excerpts={"best": piece()})
    page = made(folder, title="Another")
    assert "Another" in words(page)
    assert not list(folder.glob("audio/*"))
    (folder / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"files that are no report's \(thesis.tex\)"):
        made(folder)
    assert "Another" in words(page)


def test_a_report_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch):
    page = made(tmp_path / "report")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(report_page.spectrogram_images, "draw", full)
    with pytest.raises(OSError, match="No space left"):
        made(tmp_path / "report", title="Another", excerpts={"best": piece()})
    assert "Another" not in words(page)
    assert os.listdir(tmp_path) == ["report"]


def test_figures_as_text():
    assert [tables.decibels(x) for x in (0.0, -0.001, -math.inf)] == ["0.00", "0.00", "−∞"]


# --- in a browser -----------------------------------------------------------------------------

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def browser():
    """Chromium; without one the tests are skipped, unless WAVEUNET_TEST_BROWSER insists."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        missing = f"needs playwright, and one of {', '.join(CHROMIUM)}"
        (pytest.fail if os.environ.get("WAVEUNET_TEST_BROWSER") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens a page, and at the end insists that nothing failed and all came from the disk."""
    troubles, contexts = [], []

    def local(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"asked for {request.url}")

    def open_page(path: Path, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and troubles.append(m.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"no {request.url}"))
        page.on("request", local)
        page.goto(path.as_uri())
        return page

    open_page.troubles = troubles
    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


LEVELS = """player => Object.fromEntries(
    player.player.rows.map(row => [row.element.dataset.name, row.level() > 0.001]))"""


def heard(player) -> list[str]:
    """The rows that sound, measured where they leave for the loudspeakers."""
    player.page.wait_for_timeout(250)  # a measurement is of the last 50 ms, and gains are ramped
    return [name for name, sounds in player.evaluate(LEVELS).items() if sounds]


def position(player) -> float:
    return player.evaluate("player => player.player.position()")


def test_a_player_plays_solos_mutes_and_seeks(opened, whole):
    page = opened(whole)
    player = page.locator(".player").first
    assert heard(player) == []
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("player => player.player.position() > 0.2", arg=player.element_handle())
    assert heard(player) == ["mixture"]

    player.get_by_role("button", name="Solo voice, estimate").click()
    assert heard(player) == ["voice, estimate"]
    player.get_by_role("button", name="Truth ⇄ estimate").click()
    assert heard(player) == ["voice, truth"]
    player.get_by_role("button", name="Solo bass, truth").click(modifiers=["Shift"])
    assert heard(player) == ["bass, truth", "voice, truth"]
    player.get_by_role("button", name="Mute voice, truth").click()
    assert heard(player) == ["bass, truth"]
    assert player.get_by_role("status").inner_text() == "You hear: bass, truth"
    player.get_by_role("button", name="Solo voice, truth").click()  # alone, and still muted
    assert heard(player) == []
    player.get_by_role("button", name="Solo voice, truth").click()  # now no row is soloed
    assert heard(player) == ["bass, estimate", "voice, estimate"]

    strip = player.locator(".strip").first
    strip.click(position={"x": 0.8 * strip.bounding_box()["width"], "y": 20})
    assert 2.3 < position(player) < 3
    page.wait_for_function("player => player.player.position() < 1", arg=player.element_handle())
    player.get_by_role("button", name="Pause").click()
    rests = position(player)
    assert heard(player) == []
    assert position(player) == rests


def test_a_player_by_keys_alone(opened, whole):
    page = opened(whole)
    player = page.locator(".player").first
    focus = "document.activeElement.textContent"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focus) == "Play":
            break
    page.keyboard.press("Space")
    page.wait_for_function("player => player.player.position() > 0", arg=player.element_handle())
    assert page.evaluate(focus) == "Pause"
    for key, expected in {
        "2": ["voice, estimate"],
        "x": ["voice, truth"],
        "0": ["mixture"],
        "X": ["bass, estimate", "voice, estimate"],
        "p": [],
    }.items():
        page.keyboard.press(key)
        assert heard(player) == expected
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert position(player) == pytest.approx(0.2)
    page.keyboard.press("ArrowLeft")
    assert position(player) == pytest.approx(0.1)


def test_levels_are_matched_unless_asked_not_to_and_the_end_is_the_end(opened, whole):
    page = opened(whole)
    player = page.locator(".player").first
    player.get_by_role("button", name="Solo bass, estimate").click()
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("player => player.player.position() > 0.3", arg=player.element_handle())
    level = "player => player.player.rows[2].level()"
    matched = player.evaluate(level)
    player.get_by_label("Match levels").uncheck()
    page.wait_for_timeout(200)
    assert matched / player.evaluate(level) == pytest.approx(2, rel=0.05)
    player.get_by_label("Loop").uncheck()
    player.evaluate("player => player.player.seek(2.7)")
    player.get_by_role("button", name="Play").wait_for()  # it was "Pause" meanwhile
    assert position(player) == 0


def test_one_player_at_a_time(opened, whole):
    page = opened(whole)
    first, second = page.locator(".player").all()[:2]
    for player in (first, second):
        player.get_by_role("button", name="Play").click()
        page.wait_for_function("p => p.player.position() > 0", arg=player.element_handle())
    assert heard(first) == []
    assert heard(second) == ["mixture"]


PICTURES = """() => Promise.all([...document.images].map(async image => {
    image.loading = "eager";
    await image.decode();
    return image.naturalWidth > 0 && new URL(image.currentSrc).pathname;
}))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "layout"), [(390, "narrow"), (1200, "wide")])
def test_every_picture_is_the_readers_and_nothing_is_wider_than_the_screen(
    opened, whole, scheme, width, layout
):
    page = opened(whole, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("details => details.open = true")
    pictures = page.evaluate(PICTURES)
    assert all(pictures)
    charts = [name for name in pictures if name.endswith(".svg")]
    assert len(charts) == 5
    assert all(name.endswith(f"-{scheme}-{layout}.svg") for name in charts)
    root = "document.documentElement."
    assert page.evaluate(f"{root}scrollWidth") == page.evaluate(f"{root}clientWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_long_name_is_no_wider_than_a_phone(opened, tmp_path):
    name = "a_name_without_a_space_" * 12
    path = made(
        tmp_path / "report",
        title=name,
        scores=[score(name, **{name: [1.0, 2.0]})],
        excerpts={"best": excerpt(name, tone(9), {name: tone(9)}, {name: tone(9)}, RATE)},
        command=name,
    )
    page = opened(path, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_page_without_scripts_says_so_and_has_its_pictures_and_files(opened, whole):
    page = opened(whole, java_script_enabled=False)
    player = page.locator(".player").first
    assert player.locator("noscript p").is_visible()
    assert player.get_by_role("button", name="Play").is_hidden()
    assert player.get_by_role("link", name="FLAC file of bass, truth").is_visible()


BROKEN = 'addRecordings("best-air", new Proxy({}, { get: () => "AAAA" }));'
NO_WEB_AUDIO = "delete window.AudioContext; delete window.webkitAudioContext;"


@pytest.mark.parametrize(
    ("script", "init", "complaint"),
    [
        (None, "", r"audio/best-air\.js could not be loaded"),
        ('addRecordings("best-air", {});', "", "does not hold the recording of mixture"),
        (BROKEN, "", "cannot decode the FLAC file of"),
        ("", NO_WEB_AUDIO, "This browser has no Web Audio"),
    ],
)
def test_a_player_that_cannot_play_says_why(opened, whole, tmp_path, script, init, complaint):
    copy = shutil.copytree(whole.parent, tmp_path / "copy")
    recordings = copy / "audio" / "best-air.js"
    recordings.write_text(script) if script is not None else recordings.unlink()
    page = opened(copy / "index.html")
    page.evaluate(init)
    player = page.locator(".player").first
    player.get_by_role("button", name="Play").click()
    player.get_by_text(re.compile(complaint)).wait_for()
    assert player.get_by_role("button", name="Play").is_visible()
    opened.troubles.clear()  # a missing script is one
