"""The report page: its contents, its files, and its player in a browser."""

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
from asteroid_waveunet.experiment.evaluation import formatting
from asteroid_waveunet.experiment.report import excerpts, plots, spectrogram_images
from asteroid_waveunet.experiment.report import page as report_page
from asteroid_waveunet.experiment.report.excerpts import excerpt
from helpers.browser import chromium, new_page, position, wait_for_audible

RATE = 8000
NAN = math.nan
NASTY = 'M.E.R.C. "A" & <script>alert(1)</script> – $x_1$ ' + "ü漢" * 40


def score(track: str, **sdr: list[float]) -> dict:
    """Return scores of a track in museval's format, from the SDR of each window."""
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
LONG = "a_name_without_a_space_" * 12
ODD_SOURCES = ("<b>$\\frac$'\"", "Lead.", "lead", "漢", "字")
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


def write_page(folder: Path, **fields) -> Path:
    """Write a page of these fields, by default with the first song's scores."""
    defaults = dict(
        title="A model",
        protocol="bass and voice, scored together on three songs",
        scores=SCORES[:1],
        command="bash run.sh --data 'a & b'",
    )
    return report_page.write(report_page.Report(**{**defaults, **fields}), folder)


SAVE = plots.save


def save_one_drawing(draw, folder, name):
    """Write the light, wide drawing for all themes and layouts."""
    themes, widths = plots.THEMES, plots.WIDTHS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "THEMES", {"light": themes["light"]})
        patch.setattr(plots, "WIDTHS", {"wide": widths["wide"]})
        (drawn,) = SAVE(draw, folder, name)
    pictures = []
    for theme in themes:
        for layout, width in widths.items():
            file = f"{name}-{theme}-{layout}.svg"
            if file != drawn.file:
                shutil.copyfile(folder / drawn.file, folder / file)
            pictures.append(plots.Picture(file, theme, layout, width, drawn.height))
    return pictures


@pytest.fixture(scope="module", autouse=True)
def fast_drawing():
    """Draw each chart once and small images, which saves seconds per page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", save_one_drawing)
        patch.setattr(spectrogram_images, "IMAGE_SIZE", (100, 20, 40))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return a page with every section; read-only."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "metrics.csv").write_text(CURVES)
    return write_page(
        folder / "report",
        scores=SCORES,
        baselines={"mixture": ZEROS, "silence": ZEROS},
        excerpts={label: piece(LABELS[label]) for label in ("best", "worst")},
        configuration="lr: 0.1\n",
        curves=folder / "metrics.csv",
        notes=["A note."],
    )


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """Return a page of awkward names, and of mono, float64 and unscored excerpts; read-only."""
    s = tone(300, 0.5)
    sources = dict.fromkeys(ODD_SOURCES, s)
    long = excerpt(LONG, s, sources, sources, RATE)
    nasty = excerpt(NASTY, 4 * s, {"lead": s}, {"lead": s[:1]}, RATE)
    double = s.astype(np.float64)
    scores = [score(n, **{name: [1.0, 2.0] for name in sources}) for n in (NASTY, LONG)]
    return write_page(
        tmp_path_factory.mktemp("odd") / "report",
        title=NASTY,
        scores=scores,
        baselines={NASTY: scores},
        excerpts={
            "best": nasty,
            "worst": long,
            "float64": report_page.Excerpt("a", 0.0, RATE, double, {"v": double}, {"v": double}),
            "unscored": piece("elsewhere", 0.5, 1, 96000),
        },
        command=LONG,
        notes=[NASTY],
    )


def linked(page: Path) -> set[Path]:
    """Return every file that a page links to."""
    found = re.findall(r'(?:src|href|srcset|data-script)="([^"#]+)"', page.read_text("utf-8"))
    return {page.parent / html.unescape(name) for name in found if not name.startswith("data:")}


def words(page: Path) -> str:
    """Return the page's text without tags, separated by single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text("utf-8"))).split())


def test_representatives_are_ranked_by_mean_of_medians():
    silent = score("rest", bass=[NAN], voice=[NAN])
    assert report_page.representatives([*SCORES, silent]) == LABELS


def test_representatives_of_few_tracks_are_distinct_and_infinite_scores_are_ranked():
    two = [score("a", voice=[1.0]), score("b", voice=[2.0])]
    for n, expected in enumerate(({}, {"median": "a"}, {"best": "b", "worst": "a"})):
        found = report_page.representatives([*two[:n], score("rest", voice=[NAN])])
        assert found == expected, n
    scores = [score(name, v=[x]) for name, x in [("a", -math.inf), ("b", math.inf), ("c", 0.0)]]
    assert report_page.representatives(scores) == {"best": "b", "median": "c", "worst": "a"}


def test_excerpt_maximises_the_quietest_source():
    quiet, loud = 0.01 * tone(200, 5), tone(200, 5)
    # The bass is quieter than the voice throughout, and has most of its energy from 10 to 15 s.
    bass = 0.1 * np.hstack([quiet, quiet, loud, quiet])
    voice = np.hstack([quiet, loud, loud, quiet])
    chosen = excerpt("song", bass + voice, {"b": bass, "v": voice}, {"b": bass, "v": voice},
                            RATE, seconds=5)  # fmt: skip
    assert chosen.start == 10.0
    assert chosen.seconds == 5.0
    np.testing.assert_array_equal(chosen.references["v"], loud)


def test_excerpt_of_alternating_sources_is_not_silent():
    rest, plays = np.zeros((1, 4 * RATE), np.float32), tone(200, 4, channels=1)
    a, b = np.hstack([rest, plays, rest, rest]), np.hstack([rest, rest, rest, plays])
    sources = {"a": a, "b": b, "never": np.zeros_like(a)}
    assert excerpt("song", a + b, sources, sources, RATE, seconds=4).start == 4.0


def test_excerpt_of_a_short_silent_mono_track_is_the_whole_track():
    samples = np.zeros(100)
    chosen = excerpt("song", samples, {"v": samples}, {"v": samples}, RATE)
    assert (chosen.start, chosen.mixture.shape) == (0.0, (1, 100))


def test_excerpt_rejects_mismatched_sources_lengths_and_nan():
    s = tone(100)
    with pytest.raises(ValueError, match="references are a.*estimates b"):
        excerpt("song", s, {"a": s}, {"b": s}, RATE)
    with pytest.raises(ValueError, match=r"song.*estimate of a.*\(2, 7\)"):
        excerpt("song", s, {"a": s}, {"a": s[:, :7]}, RATE)
    with pytest.raises(ValueError, match="estimate of a.*NaN"):
        excerpt("song", s, {"a": s}, {"a": s * np.nan}, RATE)


def test_level_matching_is_limited_to_12_db_and_ignores_silence():
    truth, silence = tone(100), 0 * tone(100)
    for estimate, gain in [(0.5, 2), (2.0, 0.5), (1e-4, 4), (100, 0.25), (0, 1)]:
        song = excerpt("s", truth, {"a": truth}, {"a": estimate * truth}, RATE)
        assert excerpts.recordings(song)[-1].matching == pytest.approx(gain, rel=1e-5)
    song = excerpt("s", truth, {"a": silence}, {"a": truth}, RATE)
    assert excerpts.recordings(song)[-1].matching == 1


def test_common_gain_prevents_clipping():
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


def test_page_links_to_exactly_the_files_of_its_folder(whole):
    files = {path for path in whole.parent.rglob("*") if path.is_file()}
    assert linked(whole) | {whole} == files
    assert sorted(os.listdir(whole.parents[1])) == ["metrics.csv", "report"]


def test_recordings_share_one_gain_and_the_script_repeats_the_files(tmp_path):
    loud = piece()
    loud = excerpt("s", 4 * loud.mixture, loud.references, loud.estimates, RATE)
    page = write_page(tmp_path / "report", excerpts={"median": loud})
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


def test_score_tables_have_both_aggregations_and_the_baselines(whole):
    text = words(whole)
    # Pooled, bass: the median of -9 0 1 1 2 8 9 9 9 is 2, the MAD 6; of tracks 2 0 9 it is 2.
    assert "bass 2.00 6.00 3.33 5.72 4.00 3.00 1.00 2.00 4.00 3.00 1.00 9 0" in text
    assert "voice 5.00 2.00 4.86 3.14 7.00 6.00 4.00 6.00 8.00 7.00 5.00 7 2" in text
    assert "average 3.50 4.00" in text
    assert "model mixture silence" in text
    assert "bass 2.00 2.00 0 0.00 0.00 0 0.00 0.00 0" in text
    assert "bass voice mean air 9.00 7.00 8.00 song 2.00 6.00 4.00 tune 0.00 0.50 0.25" in text


def test_page_shows_training_command_configuration_and_versions(whole):
    text = words(whole)
    assert "validation loss was lowest, 0.1, after 200 optimizer steps, in epoch 2 of 2" in text
    for expected in ("A note.", "bash run.sh --data 'a & b'", "lr: 0.1", "asteroid-waveunet 0"):
        assert expected in text


def test_names_are_escaped_and_file_names_are_safe_and_unique(odd):
    raw = odd.read_text("utf-8")
    assert "<script>alert" not in raw and "<b>$" not in raw
    assert words(odd).count("alert(1)") > 5
    files = {path for path in odd.parent.rglob("*") if path.is_file()}
    for path in odd.parent.rglob("*"):
        assert re.fullmatch(r"[a-z0-9-]{1,90}(\.[a-z]+)?", path.name)
    assert linked(odd) <= files
    for folder in odd.parent.glob("audio/*-a-name-*/"):
        assert len(list(folder.glob("*.flac"))) == 1 + 2 * len(ODD_SOURCES)


def test_excerpts_keep_rate_and_channels_and_may_be_unscored(odd):
    samples, rate = audio_io.read(odd.parent / "audio" / "unscored-elsewhere" / "mixture.flac")
    assert (rate, samples.shape) == (96000, (1, 48000))
    (estimate,) = odd.parent.glob("audio/best-*/lead-estimate.flac")
    assert audio_io.read(estimate)[0].shape == (1, 4000)
    assert "No window of this track has a score" in words(odd)


def test_page_without_finite_scores_excerpts_and_curves(tmp_path):
    scores = [score("a", bass=[NAN, NAN], voice=[NAN, NAN])]
    page = write_page(tmp_path / "report", scores=scores)
    text = words(page)
    assert "No window has a score" in text
    assert "bass – – – –" in text and "0 2" in text
    assert "Tracks to look at" not in text and "Training" not in text
    assert os.listdir(page.parent / "audio") == []


def test_page_of_infinite_scores_of_one_source_in_many_tracks(tmp_path):
    scores = [score(f"track {i}", voice=[float(i), NAN]) for i in range(49)]
    scores.append(score("high", voice=[math.inf, 1.0, math.inf]))
    scores.append(score("low", voice=[-math.inf, 0.0, -math.inf]))
    text = words(write_page(tmp_path / "report", scores=scores))
    assert "high ∞ ∞ track 48 48.00 48.00 track 47 47.00" in text
    assert "low −∞ −∞" in text
    assert "average" not in text.split("What these scores mean")[0]


def test_nearly_empty_curves_are_drawn(tmp_path):
    header = "epoch,step,val_loss\n"
    for rows in (header, f"{header}0,9,nan\n", "epoch,step,loss\n0,9,-1\n"):
        (tmp_path / "short.csv").write_text(rows)
        assert write_page(tmp_path / "report", curves=tmp_path / "short.csv").exists(), rows


def test_invalid_curves_are_rejected(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*step"):
        write_page(tmp_path / "report", curves=tmp_path / "other.csv")
    (tmp_path / "other.csv").write_text("step,loss\n1,2\n2,x\n")
    with pytest.raises(ValueError, match="line 3.*loss.*'x'.*step '2'"):
        write_page(tmp_path / "report", curves=tmp_path / "other.csv")


def test_missing_scores_and_mismatched_baselines_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="'mixture'.* 3 .*bass.*'air'.* 0"):
        write_page(tmp_path / "report", baselines={"mixture": ZEROS[1:]})
    with pytest.raises(ValueError, match="'model'.*rename"):
        write_page(tmp_path / "report", baselines={"model": SCORES[:1]})
    with pytest.raises(ValueError, match="got none"):
        write_page(tmp_path / "report", scores=[])
    assert not (tmp_path / "report").exists()


def test_report_replaces_only_an_earlier_report(tmp_path):
    folder = tmp_path / "report"
    write_page(folder, excerpts={"best": piece()})
    page = write_page(folder, title="Another")
    assert "Another" in words(page)
    assert not list(folder.glob("audio/*"))
    (folder / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        write_page(folder)
    assert "Another" in words(page)


def test_failed_report_leaves_the_earlier_one(tmp_path, monkeypatch):
    page = write_page(tmp_path / "report")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(spectrogram_images, "draw", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(tmp_path / "report", title="Another", excerpts={"best": piece()})
    assert "Another" not in words(page)
    assert os.listdir(tmp_path) == ["report"]


def test_decibels_have_a_true_minus_sign_and_no_negative_zero():
    assert [formatting.decibels(x) for x in (0.0, -0.001, -math.inf)] == ["0.00", "0.00", "−∞"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def visitor(browser):
    """The browser's page that most tests share."""
    page = new_page(browser)
    yield page
    page.close()


@pytest.fixture
def opened(browser, visitor):
    """Return a function that opens a page; fail on errors and on requests beyond the disk."""
    troubles, contexts = [], []

    def local(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"asked for {request.url}")

    watched = {
        "console": lambda m: m.type in ("error", "warning") and troubles.append(m.text),
        "pageerror": lambda error: troubles.append(str(error)),
        "requestfailed": lambda request: troubles.append(f"no {request.url}"),
        "request": local,
    }

    def watch(page):
        for event, hear in watched.items():
            page.on(event, hear)

    def open_page(path: Path, **settings):
        page = visitor
        if settings:
            contexts.append(browser.new_context(**settings))
            page = new_page(contexts[-1])
            watch(page)
        page.goto(path.as_uri())
        return page

    open_page.troubles = troubles
    watch(visitor)
    yield open_page
    for context in contexts:
        context.close()
    for event, hear in watched.items():
        visitor.remove_listener(event, hear)
    visitor.goto("about:blank")
    assert troubles == []


def test_player_plays_solos_mutes_and_seeks(opened, whole):
    page = opened(whole)
    player = page.locator(".player").first
    wait_for_audible(player)
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("player => player.player.position() > 0", arg=player.element_handle())
    wait_for_audible(player, "mixture")

    player.get_by_role("button", name="Solo voice, estimate").click()
    wait_for_audible(player, "voice, estimate")
    player.get_by_role("button", name="Truth ⇄ estimate").click()
    wait_for_audible(player, "voice, truth")
    player.get_by_role("button", name="Solo bass, truth").click(modifiers=["Shift"])
    wait_for_audible(player, "bass, truth", "voice, truth")
    player.get_by_role("button", name="Mute voice, truth").click()
    wait_for_audible(player, "bass, truth")
    assert player.get_by_role("status").inner_text() == "Playing: bass, truth"
    player.get_by_role("button", name="Solo voice, truth").click()  # alone, and still muted
    wait_for_audible(player)
    player.get_by_role("button", name="Solo voice, truth").click()  # now no row is soloed
    wait_for_audible(player, "bass, estimate", "voice, estimate")

    player.get_by_role("button", name="Pause").click()
    strip = player.locator(".strip").first
    strip.click(position={"x": 0.93 * strip.bounding_box()["width"], "y": 20})
    assert 2.7 < position(player) < 3
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("player => player.player.position() < 1", arg=player.element_handle())
    player.get_by_role("button", name="Pause").click()
    rests = position(player)
    wait_for_audible(player)
    assert position(player) == rests


def test_player_is_operable_by_keyboard(opened, whole):
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
        wait_for_audible(player, *expected)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert position(player) == pytest.approx(0.2)
    page.keyboard.press("ArrowLeft")
    assert position(player) == pytest.approx(0.1)


def test_player_matches_levels_optionally_and_stops_at_the_end_without_loop(opened, whole):
    page = opened(whole)
    player = page.locator(".player").first
    player.get_by_role("button", name="Solo bass, estimate").click()
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("player => player.player.position() > 0.1", arg=player.element_handle())
    level = "player => player.player.rows[2].level()"
    matched = player.evaluate(level)
    player.get_by_label("Match levels").uncheck()
    page.wait_for_function(
        "([p, matched]) => Math.abs(matched / p.player.rows[2].level() - 2) < 0.1",
        arg=[player.element_handle(), matched],
    )
    player.evaluate("player => player.player.seek(0)")
    player.get_by_label("Loop").uncheck()
    player.evaluate("player => player.player.seek(2.7)")
    player.get_by_role("button", name="Play").wait_for()  # it was "Pause" meanwhile
    assert position(player) == 0


def test_only_one_player_plays_at_a_time(opened, whole):
    page = opened(whole)
    first, second = page.locator(".player").all()[:2]
    for player in (first, second):
        player.get_by_role("button", name="Play").click()
        page.wait_for_function("p => p.player.position() > 0", arg=player.element_handle())
    wait_for_audible(first)
    wait_for_audible(second, "mixture")


PICTURES = """() => Promise.all([...document.images].map(async image => {
    image.loading = "eager";
    await image.decode();
    return image.naturalWidth > 0 && new URL(image.currentSrc).pathname;
}))"""


@pytest.mark.parametrize(
    ("scheme", "width", "layout"), [("light", 390, "narrow"), ("dark", 1200, "wide")]
)
def test_charts_follow_colour_scheme_and_width_and_fit_the_screen(
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


def test_long_names_fit_a_phone_screen(opened, odd):
    page = opened(odd, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_page_without_javascript_offers_the_files(opened, whole):
    page = opened(whole, java_script_enabled=False)
    player = page.locator(".player").first
    assert player.locator("noscript p").is_visible()
    assert player.get_by_role("button", name="Play").is_hidden()
    assert player.get_by_role("link", name="FLAC file of bass, truth").is_visible()


BROKEN = 'addRecordings("best-air", new Proxy({}, { get: () => "AAAA" }));'
NO_WEB_AUDIO = "delete window.AudioContext; delete window.webkitAudioContext;"


def test_player_reports_why_it_cannot_play(opened, whole, tmp_path):
    copy = shutil.copytree(whole.parent, tmp_path / "copy")
    recordings = copy / "audio" / "best-air.js"
    for script, init, complaint in (
        ('addRecordings("best-air", {});', "", "does not contain the recording of mixture"),
        (BROKEN, "", "cannot decode the FLAC file of"),
        ("", NO_WEB_AUDIO, "This browser has no Web Audio"),
        (None, "", r"audio/best-air\.js could not be loaded"),
    ):
        recordings.write_text(script) if script is not None else recordings.unlink()
        page = opened(copy / "index.html")
        page.evaluate(init)
        player = page.locator(".player").first
        player.get_by_role("button", name="Play").click()
        player.get_by_text(re.compile(complaint)).wait_for()
        assert player.get_by_role("button", name="Play").is_visible(), complaint
    opened.troubles.clear()  # a missing script is reported as an error
