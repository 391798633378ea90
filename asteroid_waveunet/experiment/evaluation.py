"""Scores of a model on a data set: museval's figures for each track.

museval (BSS Eval v4) cuts a track into windows of 1 s and gives each target of each window an
SDR, SIR, ISR and SAR in dB. What is scored together matters: its projections, and the windows it
leaves out, depend on all the targets. So the targets are exactly the model's sources, and scores
of two sources and of four are never aggregated together.

NaN is a window without a score. It is NaN for all targets where any reference or any estimate is
silent, and (in museval's files) where an estimate is perfect. Beyond museval, which refuses whole
tracks with a silent target:
- a silent reference: every window of the track is NaN, as each single one would be;
- a silent estimate: SDR = 10 log10(|s|^2 / |s - 0|^2) = 0 dB in every window that has a score, the
  other metrics NaN. The other targets' scores do not depend on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from ..files import replacing
from .aggregation import METRICS, summarise, windows
from .ffmpeg import find_ffmpeg

REST = "rest"
CLAIM = "evaluation.json"

Audio = torch.Tensor | np.ndarray
Scores = dict[str, Any]  # one track's, in museval's json format, and its name as "track"
Separate = Callable[[torch.Tensor, int], Mapping[str, Audio]]


class Track(Protocol):
    """What is asked of a track; `musdb.Track` is one."""

    @property
    def name(self) -> str: ...

    @property
    def subset(self) -> str: ...

    def mixture_and_groups(
        self, sources: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]: ...


# --- one track -------------------------------------------------------------------------------


def window_sdr(references: Audio, estimates: Audio, sample_rate: int) -> np.ndarray:
    """museval's SDR, window by window, without the rest, which takes hundreds of times longer.

        SDR = 10 log10(sum s^2 / sum (s - e)^2)        sums over a window's samples and channels

    Windows are one second long; a last one that is shorter is left out, unless it is the only one.
    A perfect window is +inf. A window where any reference or any estimate is silent (its channels
    sum to zero at every sample, which is museval's rule) is NaN for all sources.

    Args:
        references, estimates: `(n_src, channels, time)`.
        sample_rate: in Hz.
    Returns:
        `(n_src, n_windows)` float64, in dB.
    Raises:
        ValueError: if the shapes are not the same three-dimensional one, or empty.

    >>> s = np.ones((1, 2, 16))
    >>> window_sdr(s, 0.9 * s, sample_rate=8).round(6)
    array([[20., 20.]])
    """
    s, e = _array(references), _array(estimates)
    if s.shape != e.shape or s.ndim != 3 or not s.size:
        raise ValueError(
            f"references {s.shape} and estimates {e.shape} should have one shape,"
            " (n_src, channels, time)"
        )
    n_windows = max(s.shape[-1] // sample_rate, 1)
    result = np.full((len(s), n_windows), np.nan)
    for t in range(n_windows):
        window = np.s_[..., t * sample_rate : (t + 1) * sample_rate]
        s_t, e_t = s[window].astype(np.float64), e[window].astype(np.float64)
        if not (_silent(s_t).any() or _silent(e_t).any()):
            energy, error = ((x**2).sum(axis=(1, 2)) for x in (s_t, e_t - s_t))
            with np.errstate(divide="ignore"):
                result[:, t] = 10 * np.log10(energy / error)
    return result


def score_track(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], sample_rate: int, name: str
) -> Scores:
    """museval's scores of one track, in its json format (NaN where there is none).

    Args:
        references: target -> `(channels, time)`; two targets or more.
        estimates: of the same targets, with the same length. Mono estimates of a stereo track
            are copied to both channels, as the paper does.
        sample_rate: in Hz.
        name: the track's, for messages and for "track" in the result.
    Returns:
        `{"track": name, "targets": [{"name", "frames": [{"time", "duration", "metrics":
        {"SDR", "SIR", "ISR", "SAR"}}]}], "museval_version"}`, targets in the references' order.
    Raises:
        ValueError: if targets are missing or fewer than two, or for other lengths, more channels
            than the reference's, or samples that are NaN or infinite.
    """
    ref, est = _checked(references, estimates, name)
    silent = _silent(est)
    if _silent(ref).any():
        scores = np.full((len(METRICS), len(ref), max(ref.shape[-1] // sample_rate, 1)), np.nan)
    else:
        # museval refuses silent estimates. No target's score depends on another's estimate (but
        # for the windows left out), so the reference can stand in, and is then scored as silence.
        scores = _museval_scores(ref, np.where(silent[:, None, None], ref, est), sample_rate)
        scores[0, silent] = np.where(np.isnan(scores[0, silent]), np.nan, 0.0)
        scores[1:, silent] = np.nan
    return _as_json(name, list(references), scores)


def mixture_scores(track: Track, sources: Sequence[str]) -> Scores:
    """The SDR that the mixture gets as the estimate of every source; the other metrics are NaN."""
    mixture, references, rate = _references(track, sources)
    ref = torch.stack([*references.values()])
    return _sdr_only(track.name, list(references), window_sdr(ref, mixture.expand_as(ref), rate))


def _museval_scores(ref: np.ndarray, est: np.ndarray, sample_rate: int) -> np.ndarray:
    """`(4, n_src, n_windows)` in the order of `METRICS`, from `(n_src, channels, time)` twice."""
    sdr, isr, sir, sar = _museval().evaluate(
        ref.transpose(0, 2, 1), est.transpose(0, 2, 1), win=sample_rate, hop=sample_rate
    )
    return np.stack([sdr, sir, isr, sar])


def _sdr_only(name: str, targets: Sequence[str], sdr: np.ndarray) -> Scores:
    return _as_json(name, targets, np.stack([sdr] + [np.full_like(sdr, np.nan)] * 3))


def _as_json(name: str, targets: Sequence[str], scores: np.ndarray) -> Scores:
    """museval's own rounding and format, read back: 5 decimals, infinity becomes NaN."""
    store = _museval().TrackStore(track_name=name, win=1.0, hop=1.0)
    for i, target in enumerate(targets):
        store.add_target(target, dict(zip(METRICS, scores[:, i].tolist(), strict=True)))
    return {"track": name, **json.loads(store.json)}


def _museval() -> Any:
    """The module museval, which cannot be imported before ffmpeg is found."""
    find_ffmpeg()
    # museval 0.4.1 catches np.linalg.linalg.LinAlgError, a name that numpy 2.4 no longer has.
    vars(np.linalg).setdefault("linalg", np.linalg)
    import museval

    return museval


def _array(samples: Audio) -> np.ndarray:
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu()
        samples = samples.float() if samples.dtype in (torch.bfloat16, torch.float16) else samples
        return samples.numpy()
    return np.asarray(samples)


def _silent(sources: np.ndarray) -> np.ndarray:
    """museval's rule: `(n_src, channels, time)` -> `(n_src,)`, whether channels sum to zero."""
    return (sources.sum(axis=1) == 0).all(axis=-1)


def _checked(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """References and estimates as `(n_src, channels, time)` float64, or a ValueError."""
    if len(references) < 2:
        raise ValueError(
            f"{name}: museval needs two targets or more, got {list(references)}; score a single"
            " source beside the rest of the mixture"
        )
    if set(references) != set(estimates):
        raise ValueError(
            f"{name}: references are {', '.join(references)} but estimates"
            f" {', '.join(estimates) or 'none'}; every target needs both"
        )
    ref = [np.atleast_2d(_array(references[target])) for target in references]
    est = [np.atleast_2d(_array(estimates[target])) for target in references]
    for target, r, e in zip(references, ref, est, strict=True):
        if (
            r.shape != ref[0].shape
            or e.shape[0] not in (1, r.shape[0])
            or e.shape[1:] != r.shape[1:]
        ):
            raise ValueError(
                f"{name}: the estimate of {target} has (channels, time) {e.shape} and its reference"
                f" {r.shape}; expected {ref[0].shape} for both, or 1 channel for the estimate"
            )
        for what, samples in (("reference", r), ("estimate", e)):
            if not np.isfinite(samples).all():
                raise ValueError(f"{name}: the {what} of {target} has NaN or infinite samples")
    copied = [np.broadcast_to(e, r.shape) for r, e in zip(ref, est, strict=True)]
    return np.stack(ref).astype(np.float64), np.stack(copied).astype(np.float64)


# --- a data set ------------------------------------------------------------------------------


def evaluate(
    tracks: Iterable[Track],
    separate: Separate,
    sources: Sequence[str],
    out: str | os.PathLike,
    *,
    fingerprint: str = "",
    jobs: int | None = None,
    progress: bool = True,
) -> list[Scores]:
    """Separates and scores every track; `out/<subset>/<name>.json` is written as each is done.

    Can be killed and run again: tracks with a file in `out` are not redone. museval's own tools
    read the folder, too (`museval.EvalStore().add_eval_dir(out)`).

    The separation runs in this process, museval in processes of their own. They import the
    calling script, which therefore needs its `if __name__ == "__main__":`.

    Args:
        tracks: as from `musdb.tracks(root, "test")`.
        separate: `(mixture (channels, time), sample_rate)` -> source -> `(channels, time)` of
            the same length and sample rate.
        sources: the model's, all of them. One alone is scored beside the rest of the mixture (the
            mixture minus its estimate, against the other stems); only its own scores are kept.
        out: a folder for this model's scores on this data.
        fingerprint: anything that tells this model, and this data, from others.
        jobs: scoring processes, and the most tracks in memory; a song of 4 minutes takes up to
            6 GB. By default as many as there are cores; 0 scores in this process.
        progress: whether to show a bar.
    Returns:
        Scores as from `score_track`, in the tracks' order.
    Raises:
        ValueError: if `out` holds other scores; and in the end, if there were tracks that could
            not be scored, with the reasons. All others are done by then.
    """
    tracks, out = list(tracks), Path(out)
    _claim(out, {"fingerprint": fingerprint, "sources": list(sources)})
    todo = [track for track in tracks if not _file(out, track).is_file()]
    n_jobs = (os.cpu_count() or 1) if jobs is None else jobs
    outcomes = _outcomes(todo, separate, sources, n_jobs)
    failures = {}
    bar = tqdm(
        outcomes,
        "scoring",
        len(tracks),
        initial=len(tracks) - len(todo),
        unit="track",
        disable=not progress,
    )
    for track, outcome in bar:
        if isinstance(outcome, BaseException):
            failures[track.name] = outcome
        else:
            with replacing(_file(out, track)) as partial:
                partial.write_text(json.dumps(outcome, indent=1))
    if failures:
        reasons = "\n".join(f"  {name}: {_reason(error)}" for name, error in failures.items())
        raise ValueError(
            f"{len(failures)} of {len(tracks)} tracks could not be scored (the others are in {out},"
            f" and another run does only these):\n{reasons}"
        ) from next(iter(failures.values()))
    return [json.loads(_file(out, track).read_text()) for track in tracks]


def _file(out: Path, track: Track) -> Path:
    return out / track.subset / f"{track.name}.json"


def _outcomes(
    tracks: Iterable[Track], separate: Separate, sources: Sequence[str], n_jobs: int
) -> Iterator[tuple[Track, Scores | BaseException]]:
    """Each track with its scores, or with what went wrong, as they get ready."""
    pending: dict[Future, Track] = {}
    with _scorers(n_jobs) as submit:
        for track in tracks:
            # The track that is separated next counts as one of n_jobs tracks in memory.
            if len(pending) >= max(n_jobs, 1):
                yield from _ready(pending)
            try:
                job = _separated(track, separate, sources)
            except Exception as reason:  # whatever it is, the others go on
                yield track, reason
            else:
                pending[submit(_score, *job)] = track
        while pending:
            yield from _ready(pending)


def _ready(pending: dict[Future, Track]) -> Iterator[tuple[Track, Scores | BaseException]]:
    """Waits for one track at least; takes those that are done out of `pending`."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.exception() or future.result()


def _reason(failure: BaseException) -> str:
    if isinstance(failure, BrokenProcessPool):
        return (
            "a scoring process died. Was it out of memory (try fewer jobs), or does the calling"
            ' script lack its `if __name__ == "__main__":`?'
        )
    return str(failure) if isinstance(failure, ValueError) else repr(failure)


def baselines(
    tracks: Iterable[Track], sources: Sequence[str], progress: bool = True
) -> dict[str, dict]:
    """What costs nothing: `summarise`d SDR of the mixture as every estimate, and of silence.

    Silence has 0 dB by definition, in as many windows as the mixture has a score in.
    """
    bar = tqdm(list(tracks), desc="baselines", unit="track", disable=not progress)
    mixture = [mixture_scores(track, sources) for track in bar]
    silence = [_sdr_only(s["track"], *_silence(s)) for s in mixture]
    kept = [[_only(sources, s) for s in scores] for scores in (mixture, silence)]
    return {"mixture": summarise(kept[0]), "silence": summarise(kept[1])}


def _silence(scores: Scores) -> tuple[list[str], np.ndarray]:
    sdr = np.array([windows(target, "SDR") for target in scores["targets"]])
    return [target["name"] for target in scores["targets"]], 0.0 * sdr


def _references(
    track: Track, sources: Sequence[str]
) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """The mixture, the targets' references, and the rate. One source has the rest beside it."""
    mixture, groups, rate = track.mixture_and_groups(sources)
    targets = list(groups) if len(sources) == 1 else list(sources)
    return mixture, {target: groups[target] for target in targets}, rate


def _separated(track: Track, separate: Separate, sources: Sequence[str]) -> tuple:
    """The arguments of `_score` for one track."""
    mixture, references, rate = _references(track, sources)
    given = separate(mixture, rate)
    missing = [source for source in sources if source not in given]
    if missing:
        raise ValueError(f"no estimate of {', '.join(missing)}; the model gave {', '.join(given)}")
    estimates = {source: np.atleast_2d(_array(given[source])) for source in sources}
    if REST in references:
        (alone,) = estimates.values()
        if alone.shape[-1] != mixture.shape[-1]:
            lengths = f"{alone.shape[-1]} samples, the mixture {mixture.shape[-1]}"
            raise ValueError(f"the estimate of {sources[0]} has {lengths}; expected as many")
        estimates[REST] = mixture.numpy() - alone
    plain = {target: samples.numpy() for target, samples in references.items()}
    return plain, estimates, rate, track.name, tuple(sources)


def _score(
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    sample_rate: int,
    name: str,
    sources: Sequence[str],
) -> Scores:
    return _only(sources, score_track(references, estimates, sample_rate, name))


def _only(sources: Sequence[str], scores: Scores) -> Scores:
    return {**scores, "targets": [t for t in scores["targets"] if t["name"] in sources]}


def _claim(out: Path, claim: dict[str, object]) -> None:
    """Notes in the folder whose scores it holds, or refuses it if they are another's."""
    file = out / CLAIM
    if file.is_file():
        earlier = json.loads(file.read_text())
    elif any(out.glob("*/*.json")):
        earlier = {}
    else:
        with replacing(file) as partial:
            partial.write_text(json.dumps(claim))
        return
    differing = [
        f"{key} {earlier.get(key)!r}, not {value!r}"
        for key, value in claim.items()
        if earlier.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"{out} holds scores of another model or data set ({'; '.join(differing)})."
            " Give another folder, or delete this one to score anew"
        )


# The libraries' warnings on import have been seen once, in the calling process.
FOR_WORKERS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


@contextmanager
def _scorers(n_jobs: int) -> Iterator[Callable[..., Future]]:
    """Gives `submit`, to processes with one thread each; all are replaced when one of them dies."""

    def start() -> Executor:
        if n_jobs == 0:
            return _InThisProcess()
        return ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn"))

    pool = start()

    def submit(function: Callable, *arguments: object) -> Future:
        nonlocal pool
        try:
            return pool.submit(function, *arguments)
        except BrokenProcessPool:
            pool = start()
            return pool.submit(function, *arguments)

    with _environment(**FOR_WORKERS):
        try:
            yield submit
        finally:
            pool.shutdown(cancel_futures=True)


class _InThisProcess(Executor):
    """Runs at once what is submitted."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as reason:
            future.set_exception(reason)
        return future


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for the processes started meanwhile; numerical libraries read them
    when they are loaded, so in this process, where they are loaded, nothing changes."""
    earlier = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
