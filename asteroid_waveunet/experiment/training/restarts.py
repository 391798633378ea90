"""Go back to the last good checkpoint after a collapse, with half the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from asteroid_waveunet.experiment.training import checkpoint_io, distributed
from asteroid_waveunet.experiment.training.callbacks.collapse import Collapsed, CollapseGuard
from asteroid_waveunet.experiment.training.callbacks.progress import print_progress
from asteroid_waveunet.experiment.training.checkpoint_io import AtomicCheckpointIO

__all__ = ["MAX_RESTARTS", "halve_learning_rate", "with_restarts"]

MAX_RESTARTS = 3
LEARNING_RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of an optimizer's parameter group

Result = TypeVar("Result")


def with_restarts(
    run: Callable[[CollapseGuard], Result],
    model: nn.Module,
    last: Path,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Result:
    """Run a training; when it collapses, go back and run it again with half the learning rate.

    Args:
        run: trains, from the checkpoint `last` if it exists; raises `Collapsed`.
        model: holds the initial weights, which are restored if there is no good checkpoint yet.
        last: the checkpoint to resume from; the best one is next to it.

    Raises:
        ValueError: if training collapses after `MAX_RESTARTS` restarts.
    """
    initial = {name: x.detach().clone() for name, x in model.state_dict().items()}
    restarts = _restarts_of(last)
    while True:
        guard = CollapseGuard(loss)
        guard.restarts = restarts
        try:
            return run(guard)
        except Collapsed as reason:
            if guard.restarts >= MAX_RESTARTS:
                raise ValueError(_advice(reason, last.parent)) from reason
            restarts = guard.restarts + 1
            position = _go_back(last, restarts)
            model.load_state_dict(initial)
            print_progress(
                f"Training has collapsed: {reason}. Back to {position}, with the learning rate "
                f"halved (restart {restarts} of {MAX_RESTARTS})."
            )


def _advice(reason: Collapsed, checkpoints: Path) -> str:
    return (
        f"Training collapses: {reason}, also after {MAX_RESTARTS} restarts, each with half the "
        f"learning rate. Delete {checkpoints} and start again with a lower --lr, a longer "
        "--warmup_steps and --gradient_clip 0.5; with --output_activation linear, saturated "
        "outputs can recover."
    )


def _restarts_of(checkpoint: Path) -> int:
    """Return the restarts before a killed run, which its checkpoint holds."""
    if not checkpoint.is_file():
        return 0
    state = checkpoint_io.read(checkpoint)["callbacks"].get("Collapse", {})
    return int(state.get("restarts", 0))


def _go_back(last: Path, restarts: int) -> str:
    """Replace the last checkpoint by the best one at half its learning rate; say which."""
    best = last.with_name("best.ckpt")
    if not best.is_file():
        _delete(last)
        _wait_for_first_process()
        return "the initial weights"
    checkpoint = checkpoint_io.read(best)
    state = checkpoint["callbacks"].setdefault("Collapse", {"best": float("inf"), "seen": 0})
    halve_learning_rate(checkpoint, restarts - state.get("restarts", 0))
    state.update(restarts=restarts, bad_windows=0, measured=[])
    _write(checkpoint, last)
    _wait_for_first_process()
    return f"the best checkpoint, after step {checkpoint['global_step']}"


@rank_zero_only
def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


@rank_zero_only
def _write(checkpoint: dict[str, Any], path: Path) -> None:
    files = AtomicCheckpointIO()
    files.save_checkpoint(checkpoint, path)
    if files.failure is not None:
        raise files.failure


def _wait_for_first_process() -> None:
    if distributed.is_initialized():
        torch.distributed.barrier()


def halve_learning_rate(checkpoint: dict[str, Any], times: int = 1) -> None:
    """Halve the learning rates of a checkpoint's optimizers and schedules, in place."""
    factor = 0.5**times
    for optimizer in checkpoint["optimizer_states"]:
        for group in optimizer["param_groups"]:
            group.update({name: group[name] * factor for name in LEARNING_RATES if name in group})
    for schedule in checkpoint["lr_schedulers"]:
        for name in ("base_lrs", "_last_lr"):
            schedule[name] = [lr * factor for lr in schedule[name]]
