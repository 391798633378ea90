"""Numbers, decibels, counts and tables as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["count", "decibels", "gain_in_decibels", "markdown", "number"]

MISSING = "–"


def number(value: float, form: str = ".2f") -> str:
    """Format a number for Markdown and terminals; NaN becomes a dash.

    >>> number(-1.234), number(0.25, "+.1f"), number(float("nan"))
    ('-1.23', '+0.2', '–')
    """
    return MISSING if math.isnan(value) else format(value, form)


def decibels(value: float, digits: int = 2) -> str:
    """Format a level for HTML pages, with a true minus sign and no negative zero.

    >>> decibels(-1.234), decibels(float("inf")), decibels(float("nan"))
    ('−1.23', '∞', '–')
    """
    text = "∞" if math.isinf(value) else number(abs(value), f".{digits}f")
    return f"−{text}" if value < 0 and text.strip("0.") else text


def gain_in_decibels(gain: float) -> str:
    """Format a linear gain in dB, always with a sign.

    >>> gain_in_decibels(2.0), gain_in_decibels(0.5)
    ('+6.0', '−6.0')
    """
    text = decibels(20 * math.log10(gain), digits=1)
    return text if text.startswith("−") else f"+{text}"


def count(n: int, thing: str) -> str:
    """Return a number with its noun.

    >>> count(1, "window"), count(2, "window")
    ('1 window', '2 windows')
    """
    return f"{n} {thing}{'' if n == 1 else 's'}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> str:
    """Return a Markdown table; the first `names` columns are left-aligned, the rest right-aligned.

    >>> print(markdown(["way", "dB"], [["one", "3.0"]]), end="")
    | way | dB |
    | --- | ---: |
    | one | 3.0 |
    """
    rule = ["---"] * names + ["---:"] * (len(headings) - names)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rule, *rows))
