"""Synthesis of plucked strings, keys, pads, drums, a singing voice and reverb.

A pitched instrument is a callable `(hz, seconds, rate) -> (time,)`; `perform` plays notes on it.
Drums and the voice render a whole part at once. Signals are float64; mixing sets the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

Signal = NDArray[np.float64]
Instrument = Callable[[float, float, int], Signal]


@dataclass(frozen=True)
class Note:
    """A note of a part."""

    start: float  # seconds
    length: float  # seconds
    pitch: float  # MIDI number: 69 is 440 Hz, 12 an octave
    velocity: float = 1.0  # linear amplitude


def hertz(pitch: ArrayLike) -> Signal:
    """Return the frequencies of MIDI numbers in Hz.

    >>> hertz([69, 57]).tolist()
    [440.0, 220.0]
    """
    return 440.0 * 2.0 ** ((np.asarray(pitch, dtype=float) - 69.0) / 12.0)


def harmonics(z: NDArray[np.complex128], amplitudes: Iterable) -> Signal:
    """Sum the k-th amplitude times Im(z ** k) over k >= 1 by Horner's rule.

    With z = exp(i phase) these are the harmonics of a steady tone; with
    z = exp(i phase - t / decay) harmonic k fades k times as fast, as on a plucked string. Each
    harmonic costs one complex product instead of a sine.

    Args:
        z: `(time,)`.
        amplitudes: a number, or an array `(time,)`, per harmonic, from the highest to the first.
    """
    total = np.zeros_like(z)
    for amplitude in amplitudes:
        total = (total + amplitude) * z
    return total.imag


def harmonic_numbers(hz: float, rate: int, highest: float = np.inf) -> NDArray[np.int64]:
    """Return all k >= 1 with `k * hz` at most `highest` and 0.45 `rate`, which avoids aliasing.

    >>> harmonic_numbers(1000.0, 10000).tolist()
    [1, 2, 3, 4]
    """
    return np.arange(1, max(1, int(min(highest, 0.45 * rate) / hz)) + 1)


def fades(n: int, rate: int, attack: float, release: float) -> Signal:
    """Return a fade in of `attack` seconds and a fade out of `release` seconds, `(n,)`."""
    ramp = np.arange(n) / rate
    return np.minimum(1.0, ramp / attack) * np.minimum(1.0, ramp[::-1] / release)


def perform(notes: Iterable[Note], instrument: Instrument, n: int, rate: int) -> Signal:
    """Render a part of `n` samples; notes are cut off at its end.

    >>> perform([Note(0.0, 0.5, pitch=40)], String(), n=8000, rate=16000).shape
    (8000,)
    """
    part = np.zeros(n)
    for note in notes:
        start = round(note.start * rate)
        tone = note.velocity * instrument(float(hertz(note.pitch)), note.length, rate)
        tone = tone[: max(0, n - start)]
        part[start : start + len(tone)] += tone
    return part


@dataclass(frozen=True)
class String:
    """A plucked string: harmonic k is sin(pi k pluck) / k ** dullness, fading in `decay / k` s."""

    pluck: float = 0.2  # position of the pluck as a fraction of the string
    decay: float = 1.0
    dullness: float = 1.0

    def __call__(self, hz: float, seconds: float, rate: int) -> Signal:
        t = np.arange(round(seconds * rate)) / rate
        k = harmonic_numbers(hz, rate)
        z = np.exp((2j * np.pi * hz - 1.0 / self.decay) * t)
        amplitudes = np.sin(np.pi * k * self.pluck) / k**self.dullness
        tone = harmonics(z, amplitudes[::-1])
        return tone * fades(len(t), rate, attack=0.002, release=0.03)


@dataclass(frozen=True)
class Keys:
    """An electric piano or a bell, by frequency modulation with a decaying index."""

    ratio: float = 2.0  # modulator to carrier frequency
    index: float = 2.0  # radians at the attack
    decay: float = 0.6

    def __call__(self, hz: float, seconds: float, rate: int) -> Signal:
        t = np.arange(round(seconds * rate)) / rate
        index = self.index * np.exp(-3.0 * t / self.decay)
        tone = np.sin(2 * np.pi * hz * t + index * np.sin(2 * np.pi * hz * self.ratio * t))
        return tone * np.exp(-t / self.decay) * fades(len(t), rate, attack=0.003, release=0.05)


@dataclass(frozen=True)
class Pad:
    """A sustained low-pass filtered sawtooth; two, detuned and panned apart, sound wide."""

    cutoff: float = 1500.0  # Hz
    detune: float = 0.05  # semitones
    attack: float = 0.1  # seconds

    def __call__(self, hz: float, seconds: float, rate: int) -> Signal:
        hz = hz * 2.0 ** (self.detune / 12.0)
        t = np.arange(round(seconds * rate)) / rate
        k = harmonic_numbers(hz, rate, highest=4.0 * self.cutoff)
        amplitudes = 1.0 / k / (1.0 + (k * hz / self.cutoff) ** 2)
        tone = harmonics(np.exp(2j * np.pi * hz * t), amplitudes[::-1])
        return tone * fades(len(t), rate, self.attack, release=0.1)


@dataclass(frozen=True)
class Drum:
    """A drum: a sine sweeping from `high` to `low` (membrane) and a noise band (rattle)."""

    high: float  # Hz
    low: float  # Hz
    ring: float  # decay of the sine in seconds
    tone: float  # level of the sine
    band: tuple[float, float]  # Hz
    rattle: float  # decay of the noise in seconds
    noise: float  # level of the noise
    pan: float = 0.0  # -1 left ... 1 right

    def varied(self, rng: np.random.Generator) -> Drum:
        """Return a drum with random changes of pitch, damping, rattle and panning."""
        pitch, damping = rng.uniform(0.85, 1.15), rng.uniform(0.75, 1.3)
        return replace(
            self,
            high=self.high * pitch,
            low=self.low * pitch,
            ring=self.ring * damping,
            rattle=self.rattle * damping,
            noise=self.noise * rng.uniform(0.75, 1.25),
            pan=float(np.clip(self.pan * rng.uniform(0.6, 1.3), -1.0, 1.0)),
        )

    def play(
        self, hits: Iterable[tuple[float, float]], n: int, rate: int, rng: np.random.Generator
    ) -> Signal:
        """Render `(start in seconds, velocity)` pairs, each with different noise: `(n,)`."""
        strokes = impulses(hits, n, rate)
        rattle = fading(strokes, self.rattle, rate) * band_noise(n, self.band, rate, rng)
        return self.noise * rattle + signal.oaconvolve(strokes, self._membrane(rate))[:n]

    def _membrane(self, rate: int) -> Signal:
        # The pitch falls as low + (high - low) exp(-t / sweep); the phase is its integral.
        sweep = 0.25 * self.ring
        t = np.arange(round(6 * self.ring * rate)) / rate
        cycles = self.low * t + (self.high - self.low) * sweep * (1.0 - np.exp(-t / sweep))
        return self.tone * np.sin(2 * np.pi * cycles) * np.exp(-t / self.ring)


# fmt: off
DRUM_KIT = {  #        high   low    ring   tone  band                rattle noise pan
    "kick":     Drum(180.0,  50.0, 0.110, 1.00, (1500.0,  4000.0), 0.006, 0.30),
    "snare":    Drum(260.0, 185.0, 0.060, 0.45, ( 900.0,  7000.0), 0.075, 0.55,  0.05),
    "hat":      Drum(  0.0,   0.0, 0.010, 0.00, (5000.0, 16000.0), 0.025, 0.45,  0.40),
    "open hat": Drum(  0.0,   0.0, 0.010, 0.00, (4500.0, 16000.0), 0.160, 0.35,  0.40),
    "crash":    Drum(  0.0,   0.0, 0.010, 0.00, (3000.0, 14000.0), 0.500, 0.40, -0.50),
    "high tom": Drum(260.0, 170.0, 0.120, 0.80, ( 600.0,  3000.0), 0.020, 0.25,  0.50),
    "mid tom":  Drum(200.0, 125.0, 0.150, 0.80, ( 500.0,  2500.0), 0.020, 0.25,  0.00),
    "low tom":  Drum(150.0,  85.0, 0.190, 0.90, ( 400.0,  2000.0), 0.020, 0.25, -0.50),
}
# fmt: on


def impulses(hits: Iterable[tuple[float, float]], n: int, rate: int) -> Signal:
    """Return impulses at the hits, `(start in seconds, height)`, that fall within `(n,)`.

    >>> impulses([(0.0, 1.0), (0.5, 0.8), (9.0, 1.0)], n=4, rate=4).tolist()
    [1.0, 0.0, 0.8, 0.0]
    """
    train = np.zeros(n)
    for start, height in hits:
        if round(start * rate) < n:
            train[round(start * rate)] += height
    return train


def fading(train: Signal, seconds: float, rate: int) -> Signal:
    """Replace each impulse of `train` `(n,)` by an exponential of time constant `seconds`."""
    return signal.lfilter([1.0], [1.0, -np.exp(-1.0 / (seconds * rate))], train)


def band_noise(n: int, band: tuple[float, float], rate: int, rng: np.random.Generator) -> Signal:
    """Return noise of unit power between two edges in Hz, limited to the Nyquist range: `(n,)`."""
    edges = np.minimum(band, (0.30 * rate, 0.45 * rate))
    sections = signal.butter(2, edges, "bandpass", fs=rate, output="sos")
    noise = signal.sosfilt(sections, rng.standard_normal(n))
    return noise / np.std(noise)


# Formants of vowels in Hz, male voice: the first three from Peterson and Barney, "Control methods
# used in a study of the vowels", JASA 24, 1952.
VOWELS = np.array(
    [  # F1     F2      F3      F4
        (730.0, 1090.0, 2440.0, 3400.0),  # father
        (530.0, 1840.0, 2480.0, 3500.0),  # bed
        (270.0, 2290.0, 3010.0, 3600.0),  # see
        (570.0, 840.0, 2410.0, 3300.0),  # law
        (300.0, 870.0, 2240.0, 3300.0),  # too
    ]
)
BANDWIDTHS = np.array((80.0, 100.0, 140.0, 200.0))
CONSONANTS = {"s": (3500.0, 7000.0), "sh": (2000.0, 5000.0), "k": (1200.0, 3000.0)}  # Hz


@dataclass(frozen=True)
class Voice:
    """A singer: glottal pulses with glides and vibrato through time-varying formants.

    >>> song = [Note(0.0, 0.4, pitch=57), Note(0.5, 0.4, pitch=60)]
    >>> Voice().sing(song, n=16000, rate=16000, rng=np.random.default_rng(0)).shape
    (16000,)
    """

    size: float = 1.0  # formants relative to a male voice; about 1.17 for a female one
    tilt: float = 1.0  # amplitude of harmonic k at the glottis: k ** -tilt
    glide: float = 0.04  # seconds between notes
    vibrato: float = 5.5  # Hz
    depth: float = 0.3  # of the vibrato, in semitones
    breath: float = 0.02  # linear, relative to the voiced sound

    def sing(self, notes: list[Note], n: int, rate: int, rng: np.random.Generator) -> Signal:
        """Render a part of `n` samples: one syllable per note, about half with a consonant."""
        frame = max(1, rate // 200)  # pitch, loudness and formants every 5 ms
        frames, samples = np.arange(0, n + frame, frame), np.arange(n)
        pitch, loudness, formants = self._gestures(notes, frames / rate, rng)
        hz = hertz(pitch)
        k = harmonic_numbers(float(hz.min()), rate, highest=5000.0)[:, None]
        gains = tract(k * hz, formants, rate) * loudness / k**self.tilt
        z = np.exp(2j * np.pi * np.cumsum(np.interp(samples, frames, hz)) / rate)
        voiced = harmonics(z, (np.interp(samples, frames, gain) for gain in gains[::-1]))
        air = np.interp(samples, frames, loudness) * band_noise(n, (1500.0, 6000.0), rate, rng)
        return voiced / np.std(voiced) + self.breath * air + consonants(notes, n, rate, rng)

    def _gestures(
        self, notes: list[Note], t: Signal, rng: np.random.Generator
    ) -> tuple[Signal, Signal, Signal]:
        """Return pitch and loudness `(frames,)` and formants `(4, frames)` at times `t`."""
        onset, length, pitch, velocity = np.array(
            [(note.start, note.length, note.pitch, note.velocity) for note in notes]
        ).T
        now = np.maximum(
            np.searchsorted(onset, t, side="right") - 1, 0
        )  # index of the current note
        since = t - onset[now]
        ramp = np.clip(since / 0.4, 0.0, 1.0)  # vibrato sets in late
        swing = ramp * self.depth * np.sin(2 * np.pi * self.vibrato * t)
        opening = 0.3 + 0.7 * np.clip(since / 0.06, 0.0, 1.0)  # of the lips
        loudness = velocity[now] * opening * ((since >= 0.0) & (since < length[now]))
        vowels = self.size * VOWELS[rng.integers(len(VOWELS), size=len(notes))]
        return (
            smooth(pitch[now], self.glide, t) + swing,
            smooth(loudness, 0.02, t),
            smooth(vowels[now].T, 0.04, t),
        )


def tract(hz: Signal, formants: Signal, rate: int) -> Signal:
    """Return the vocal tract's gain `(harmonics, frames)` at `hz`: resonances at the formants.

    A resonance at F of bandwidth B passes F^2 / |F^2 - f^2 + i B f|; the tract is their product.
    """
    gains = (hz < 0.45 * rate).astype(float)
    for centre, bandwidth in zip(formants, BANDWIDTHS, strict=True):
        gains *= centre**2 / np.hypot(centre**2 - hz**2, bandwidth * hz)
    return gains


def smooth(values: Signal, seconds: float, t: Signal) -> Signal:
    """Low-pass `values` `(..., frames)` at evenly spaced times `t`; time constant `seconds`."""
    keep = np.exp(-(t[1] - t[0]) / seconds)
    start = keep * values[..., :1]  # filter state for a constant past of the first value
    return signal.lfilter([1.0 - keep], [1.0, -keep], values, axis=-1, zi=start)[0]


def consonants(notes: list[Note], n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Return noise bursts of 20 ms at the start of about half of the notes: `(n,)`."""
    kinds = rng.integers(2 * len(CONSONANTS), size=len(notes))
    part = np.zeros(n)
    for kind, band in enumerate(CONSONANTS.values()):
        starts = [(note.start, 0.75) for note, k in zip(notes, kinds, strict=True) if k == kind]
        part += fading(impulses(starts, n, rate), 0.02, rate) * band_noise(n, band, rate, rng)
    return part


def pan(part: Signal, position: float) -> Signal:
    """Pan `(time,)` to `(2, time)` at constant power, from -1 (left) to 1 (right).

    >>> pan(np.ones(1), -1.0).round(3).tolist()
    [[1.0], [0.0]]
    """
    angle = (position + 1.0) * np.pi / 4.0
    return np.outer((np.cos(angle), np.sin(angle)), part)


def room(seconds: float, rate: int, rng: np.random.Generator) -> Signal:
    """Return a reverb of unit energy, noise that decays by 60 dB in `seconds`: `(2, time)`."""
    t = np.arange(round(seconds * rate)) / rate
    tail = rng.standard_normal((2, len(t))) * 10.0 ** (-3.0 * t / seconds)
    tail = signal.lfilter([0.4], [1.0, -0.6], tail)  # walls absorb high frequencies
    return tail / np.sqrt(np.mean(np.sum(tail**2, axis=1)))


def reverberate(stem: Signal, echo: Signal, wet: float) -> Signal:
    """Add `wet` times the reverb to a stem `(2, time)`, without making it longer."""
    return stem + wet * signal.oaconvolve(stem, echo, axes=-1)[:, : stem.shape[1]]
