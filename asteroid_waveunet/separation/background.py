"""Write in other threads while the network computes the next block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

__all__ = ["in_background"]


@contextlib.contextmanager
def in_background(writes: Sequence[Callable[[Tensor], None]]) -> Iterator[Callable[[Tensor], None]]:
    """Yield a function that writes each item of a block by its own function, in other threads.

    It returns as soon as the block before is written, so memory holds one block at most. An error
    of a block is raised by the next call, or at the end of the context.

    >>> written = []
    >>> with in_background([written.append]) as write:
    ...     write(torch.tensor([[1.0, 2.0]]))
    >>> written
    [tensor([1., 2.])]
    """
    pending: list[Future[None]] = []

    def finish() -> None:
        for future in pending:
            future.result()

    with ThreadPoolExecutor(len(writes), thread_name_prefix="writer") as pool:

        def write(items: Tensor) -> None:
            finish()
            pending[:] = [pool.submit(one, item) for one, item in zip(writes, items, strict=True)]

        yield write
        finish()
