"""Songs whose worker died are repeated, alone if they may be the cause."""

from __future__ import annotations

from collections.abc import Callable

from asteroid_waveunet.catalogue.engine import Lost, work_off
from asteroid_waveunet.catalogue.log import DONE, QUARANTINED, Outcome
from asteroid_waveunet.catalogue.songs import CatalogueSong

ROOM = 3


class OneWorker:
    """Three songs at a time. `dies(names)` says whether the worker dies of them, or its machine."""

    n_workers = 1

    def __init__(self, dies: Callable[[list[str]], str]):
        self.running: list[CatalogueSong] = []
        self.alone, self.dies, self.turns = False, dies, []

    @property
    def n_running(self) -> int:
        return len(self.running)

    def start(self, song, alone=False):
        if self.alone or len(self.running) >= (1 if alone else ROOM):
            return False
        self.running.append(song)
        self.alone = alone
        return True

    def finished(self, seconds):
        songs, self.running, self.alone = self.running, [], False
        names = [song.name for song in songs]
        self.turns.append(names)
        if death := self.dies(names):
            return [(song, Lost(death, strike=death == "worker")) for song in songs]
        return [(song, Outcome(song, DONE, separated=True)) for song in songs]


def worked_off(dies, n=6):
    engine, outcomes = OneWorker(dies), []
    songs = (CatalogueSong(str(i), str(i)) for i in range(n))
    work_off(songs, engine, outcomes.append)
    assert sorted(outcome.song.name for outcome in outcomes) == [str(i) for i in range(n)]
    return {o.song.name: o for o in outcomes if o.status != DONE}, engine.turns


def test_song_that_kills_its_worker_three_times_is_set_aside():
    failed, turns = worked_off(lambda names: "worker" if "1" in names else "")
    assert failed.keys() == {"1"}
    assert failed["1"].status == QUARANTINED
    assert "3 times: worker" in failed["1"].error
    assert sum("1" in names for names in turns) == 3
    assert turns[0] == ["0", "1", "2"]
    assert all(len(names) == 1 for names in turns if "1" in names[:1] and names != turns[0])


def test_songs_beside_it_are_not_blamed():
    deaths = iter(["worker", "", "worker", "", "", "worker", "", *[""] * 20])
    failed, _ = worked_off(lambda names: next(deaths))
    assert failed == {}


def test_machines_that_vanish_blame_no_song():
    deaths = iter(["machine"] * 10 + [""] * 10)
    failed, turns = worked_off(lambda names: next(deaths))
    assert failed == {}
    assert all(len(names) == ROOM for names in turns)
