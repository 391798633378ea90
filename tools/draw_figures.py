"""Draw the figures of docs/how_it_works.md: `python tools/draw_figures.py` writes docs/images/.

All lengths in them come from M4's geometry; a test compares the files with this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from asteroid_waveunet.nn.geometry import Geometry

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

LEVELS, DOWN, UP, FILTERS = 12, 15, 5, 24  # of M4
GEOMETRY = Geometry.of(LEVELS, DOWN, UP, 1)
SEGMENT = GEOMETRY.fit(16384)

INK, PALE, BLUE, GREEN, RED, GREY = "#1d2b33", "#ffffff", "#cfe6f5", "#cdeee4", "#f9d5cf", "#e9edef"


def text(x: float, y: float, words: str, size: int = 14, anchor: str = "middle") -> str:
    where = f'x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"'
    return f"<text {where}>{escape(words)}</text>"


def box(x: float, y: float, width: float, height: float, fill: str, *lines: str) -> str:
    """Return a rectangle with centred lines of text."""
    first = y + height / 2 + 5 - 9 * (len(lines) - 1)
    words = [text(x + width / 2, first + 18 * n, line) for n, line in enumerate(lines)]
    shape = (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" rx="4"/>'
    )
    return shape + "".join(words)


def arrow(x1: float, y1: float, x2: float, y2: float, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" marker-end="url(#head)"{dash}/>'


def svg(width: int, height: int, title: str, description: str, parts: Iterator[str]) -> str:
    body = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 font-family="sans-serif" fill="{INK}" stroke="none">
<title>{escape(title)}</title>
<desc>{escape(description)}</desc>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0L8 4L0 8z" style="stroke: none; fill: {INK}"/></marker></defs>
<style>rect {{ stroke: {INK}; stroke-opacity: .5 }}
path {{ stroke: {INK}; stroke-width: 1.5; fill: none }}</style>
<rect width="{width}" height="{height}" fill="{PALE}" style="stroke: none" rx="8"/>
{body}
</svg>
"""


def lengths() -> tuple[list[int], list[int], int]:
    """Return samples: of each level's skip, of its output on the way up, of the bottleneck."""
    n, skips = SEGMENT.input, []
    for _ in range(LEVELS):
        skips.append(n - (DOWN - 1))
        n = (skips[-1] + 1) // 2
    n = bottleneck = n - (DOWN - 1)
    ups = []
    for _ in range(LEVELS):
        n = 2 * n - 1 - (UP - 1)
        ups.append(n)
    return skips, ups[::-1], bottleneck


def network() -> str:
    skips, ups, bottleneck = lengths()
    shown = [1, 2, 3, None, LEVELS]  # None: those between

    def parts() -> Iterator[str]:
        width, height, gap = 190, 46, 78
        yield box(40, 20, width, height, GREY, "mixture", f"{SEGMENT.input} samples")
        yield box(670, 20, width, height, GREY, "sources", f"{SEGMENT.output} samples")
        for row, level in enumerate(shown, start=1):
            x, y = 40 + 32 * (row - 1), 20 + gap * row
            mirrored = 900 - x - width
            yield arrow(x + 40, y - gap + height, x + 40, y)
            yield arrow(mirrored + width - 40, y, mirrored + width - 40, y - gap + height)
            if row > 1:
                yield text(x + 48, y - 11, "every other sample", 12, "start")
                yield text(mirrored + width - 48, y - 11, "interpolate", 12, "end")
            if level is None:
                yield box(x, y, width, height, PALE, f"levels 4 to {LEVELS - 1}")
                yield box(mirrored, y, width, height, PALE, f"levels {LEVELS - 1} to 4")
                continue
            features = f"{FILTERS * level} features"
            yield box(
                x, y, width, height, BLUE, f"convolve {DOWN}, {features}", f"{skips[level - 1]}"
            )
            yield box(
                mirrored, y, width, height, GREEN, f"convolve {UP}, {features}", f"{ups[level - 1]}"
            )
            yield arrow(x + width, y + height / 2, mirrored, y + height / 2, dashed=True)
            middle = "crop and join" if level == 1 else ("crop, join" if level < 4 else "")
            yield text(450, y + height / 2 - 7, middle, 12)
        y = 20 + gap * (len(shown) + 1)
        yield arrow(240, y - gap + height, 355, y + 10)
        yield arrow(545, y + 10, 660, y - gap + height)
        lowest = f"{FILTERS * (LEVELS + 1)} features"
        yield box(355, y, width, height, RED, f"convolve {DOWN}, {lowest}", f"{bottleneck}")
        yield arrow(230, 43, 670, 43, dashed=True)
        yield text(450, 36, "the mixture itself, cropped", 12)

    return svg(
        900,
        560,
        "The Wave-U-Net with the sizes of M4",
        "Twelve levels down, each a convolution of 15 samples and decimation by two; a bottleneck; "
        "twelve levels up, each interpolation, the joined features of the same level on the way "
        "down, and a convolution of 5 samples. Numbers are samples.",
        parts(),
    )


def context() -> str:
    def parts() -> Iterator[str]:
        yield text(30, 34, "Same padding: zeros where the song goes on", 16, "start")
        yield box(130, 50, 640, 26, GREY, "the song")
        for n in range(3):
            x = 150 + 205 * n
            yield box(x, 96, 190, 26, BLUE, "input")
            yield box(x - 12, 96, 12, 26, RED)
            yield box(x + 190, 96, 12, 26, RED)
            yield arrow(x + 95, 122, x + 95, 142)
            yield box(x, 142, 190, 26, GREEN, "estimates")
            yield box(x, 142, 24, 26, RED)
            yield box(x + 166, 142, 24, 26, RED)
        yield text(450, 188, "red: zeros, and the estimates that they spoil", 12)
        yield text(30, 226, "Context: the song itself, and a shorter output", 16, "start")
        yield box(130, 240, 640, 26, GREY, "the song")
        yield box(150, 276, 600, 26, BLUE, f"input: {SEGMENT.input} samples")
        yield arrow(450, 302, 450, 332)
        yield box(415, 332, 70, 26, GREEN)
        yield text(450, 378, f"estimates: {SEGMENT.output} samples")
        yield text(275, 322, f"{GEOMETRY.left_context} samples of context")
        yield text(625, 322, f"{GEOMETRY.right_context} samples of context")

    return svg(
        900,
        396,
        "Same padding and context",
        "Above: three segments side by side, each padded with zeros at both ends; estimates near "
        "the ends are worse. Below: one segment whose input is longer than its estimates by the "
        "context on both sides, taken from the song.",
        parts(),
    )


def streaming() -> str:
    step = GEOMETRY.step

    def parts() -> Iterator[str]:
        yield text(
            30, 34, f"Each hop of {step} new samples gives {step} new estimates", 16, "start"
        )
        for n in range(3):
            y = 60 + 120 * n
            known = 330 + 90 * n
            yield text(30, y + 18, f"hop {n + 1}", 14, "start")
            yield box(110, y, known - 110, 26, GREY, "heard before")
            yield box(known, y, 90, 26, BLUE, "new")
            yield box(110, y + 56, known - 230, 26, GREY, "estimated")
            yield box(known - 120, y + 56, 90, 26, GREEN, "new")
            yield arrow(known + 45, y + 26, known - 50, y + 55)
            yield text(known + 10, y + 75, "not yet: their context is still to come", 12, "start")
        yield text(
            30, 424, f"Latency: {GEOMETRY.lookahead} samples of context and less than one hop, "
            f"{GEOMETRY.latency} in all, of M4", 14, "start",
        )  # fmt: skip

    return svg(
        900,
        446,
        "Streaming hop by hop",
        "Three hops, one below the other. In each, new samples follow those that were heard "
        "before, and new estimates follow the earlier ones, later than the samples by the context.",
        parts(),
    )


FIGURES: dict[str, Callable[[], str]] = {
    "network.svg": network,
    "context.svg": context,
    "streaming.svg": streaming,
}


def main() -> None:
    for name, draw in FIGURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
