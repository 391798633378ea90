"""Stems are written in order, in other threads, and errors reach the caller."""

from __future__ import annotations

import threading

import pytest
import torch

from asteroid_waveunet.separation.background import in_background


def test_items_are_written_in_order_in_other_threads():
    written: tuple[list, list] = ([], [])
    threads = set()

    def writer(file):
        def write(item):
            threads.add(threading.current_thread())
            file.append(item.item())

        return write

    with in_background([writer(file) for file in written]) as write:
        for i in range(50):
            write(torch.tensor([i, -i]))
    assert written == (list(range(50)), [-i for i in range(50)])
    assert threading.main_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


def test_caller_goes_on_while_a_block_is_written_and_waits_for_the_one_before():
    first, second = threading.Event(), threading.Event()
    gates, written = iter((first, second)), []

    def slow(item):
        assert next(gates).wait(60)
        written.append(item.item())

    with in_background([slow]) as write:
        write(torch.tensor([1]))
        assert written == []
        first.set()
        write(torch.tensor([2]))
        assert written == [1]
        second.set()
    assert written == [1, 2]


@pytest.mark.parametrize("n_more", [0, 1])
def test_error_of_a_block_is_raised(n_more):
    def fail(item):
        raise OSError("disk full")

    reached = []
    with (
        pytest.raises(OSError, match="disk full"),
        in_background([fail, lambda item: None]) as write,
    ):
        write(torch.zeros(2, 1))
        for _ in range(n_more):
            write(torch.zeros(2, 1))
            reached.append("after the error")
    assert not reached


def test_error_of_the_caller_waits_for_the_block_that_is_written():
    written = []
    with pytest.raises(KeyboardInterrupt), in_background([written.append]) as write:
        write(torch.zeros(1, 1))
        raise KeyboardInterrupt
    assert len(written) == 1
