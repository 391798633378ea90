"""Songs as the bytes of audio files."""

from __future__ import annotations

import io

import av
import numpy as np
import soundfile

__all__ = ["RATE", "m4a", "noise", "wav"]

RATE = 8000


def noise(seconds: float, channels: int = 2, rate: int = RATE, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal((round(seconds * rate), channels)).cumsum(axis=0)
    samples -= samples.mean(axis=0)
    return (0.6 * samples / abs(samples).max()).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT", format="WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def m4a(samples: np.ndarray, rate: int) -> bytes:
    """AAC, as no library of libsndfile writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), "fltp", "stereo")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return file.getvalue()
