"""Play notes with the sampled instruments of a soundfont, through FluidSynth."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import c_int, c_void_p
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.demo_songs.synthesis import Note, Signal

__all__ = ["DRUM_BANK", "Sampler"]

DRUM_BANK = 128  # where General MIDI soundfonts keep drum kits
CHANNEL = 0
FONT = 1  # FluidSynth's number of the first soundfont


class Sampler:
    """A soundfont, loaded once.

    Args:
        path: a `.sf2` or `.sf3` file with General MIDI's instruments.
        sample_rate: in Hz, 8000 to 96000.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if FluidSynth is not installed; says how to install it.
        ValueError: if the file is not a soundfont.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no soundfont {path}. Free ones are FluidR3_GM (MIT, Debian's "
                "fluid-soundfont-gm) and MuseScore_General (MIT, musescore-general-soundfont)."
            )
        self.rate = sample_rate
        self._path = path
        self._library = _fluidsynth()
        self._held = self._synth()  # keeps the samples in memory for the next ones

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.delete()

    def _synth(self) -> Any:
        """Return a new synthesiser that has loaded the soundfont as its only one.

        Raises:
            ValueError: if the file is not a soundfont.
        """
        # The mix has rooms of its own.
        effects = {"synth.reverb.active": 0, "synth.chorus.active": 0}
        synth = self._library.Synth(0.4, float(self.rate), 16, **effects)
        if synth.sfload(str(self._path)) == -1:
            synth.delete()
            raise ValueError(
                f"{self._path} is not a soundfont that FluidSynth can read (.sf2, .sf3)."
            )
        return synth

    def play(self, notes: Iterable[Note], bank: int, program: int, length: int) -> Signal:
        """Render a part, `(2, length)`; notes ring on after their end as the instrument does.

        Args:
            notes: of the part; velocities from 0 to 1.
            bank: 0 for pitched instruments, `DRUM_BANK` for drum kits.
            program: General MIDI's number of the instrument or kit, from 0.
            length: in samples.
        """
        synth = self._synth()  # voices of one that has played before start some samples later
        synth.program_select(CHANNEL, FONT, bank, program)
        blocks, now = [], 0
        for when, pitch, velocity in _events(notes, self.rate):
            if when >= length:
                break
            blocks.append(self._render(synth, when - now))
            now = when
            if velocity:
                synth.noteon(CHANNEL, pitch, velocity)
            else:
                synth.noteoff(CHANNEL, pitch)
        blocks.append(self._render(synth, length - now))
        synth.delete()
        return np.concatenate(blocks).T.astype(float)

    def _render(self, synth: Any, n: int) -> np.ndarray:
        """Return the next `(n, 2)` samples. In float32: 16 bits would come with dither noise."""
        samples = np.empty((n, 2), np.float32)
        if n:
            data = samples.ctypes.data
            self._write(synth.synth, n, data, 0, 2, data, 1, 2)
        return samples

    @cached_property
    def _write(self) -> Any:
        """FluidSynth's function that renders float32 samples."""
        arguments = [("synth", c_void_p, 1), ("n", c_int, 1)]
        for side in ("left", "right"):
            arguments.append((side, c_void_p, 1))
            arguments += [(f"{side}_{name}", c_int, 1) for name in ("offset", "increment")]
        return self._library.cfunc("fluid_synth_write_float", c_int, *arguments)


def _events(notes: Iterable[Note], rate: int) -> list[tuple[int, int, int]]:
    """Return `(sample, MIDI pitch, velocity)` in order; velocity 0 ends a note."""
    events = []
    for note in notes:
        pitch, velocity = round(note.pitch), min(127, max(1, round(127 * note.velocity)))
        if 0 <= pitch <= 127:
            start = max(0, round(note.start * rate))
            events.append((start, pitch, velocity))
            events.append((max(start + 1, round((note.start + note.length) * rate)), pitch, 0))
    return sorted(events, key=lambda event: (event[0], event[2] > 0))


def _fluidsynth() -> Any:
    try:
        import fluidsynth
    except ImportError as reason:
        raise ImportError(
            "Sampled instruments need FluidSynth: install its library (Debian: libfluidsynth3, "
            "macOS: brew install fluid-synth) and pip install 'asteroid-waveunet[experiment]'."
        ) from reason
    return fluidsynth
