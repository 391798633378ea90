"""End the command `waveunet` without a traceback on Ctrl-C while its modules load.

Until `restore`, the system ends the process, as it ends any program. Imported first by the package,
which is quick: `_signal` is a part of the interpreter. Other programs are left alone.
"""

import _signal  # type: ignore[import-not-found]
import sys

__all__ = ["restore"]

COMMANDS = ("asteroid_waveunet", "asteroid_waveunet.cli")  # of `python -m`


def _is_command() -> bool:
    if sys.argv[:1] == ["-m"]:  # while Python looks for the module
        return not set(COMMANDS).isdisjoint(sys.orig_argv)
    return sys.argv[:1] != [] and sys.argv[0].endswith(("/waveunet", "\\waveunet", "waveunet.exe"))


def restore() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if _is_early:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


# A command that a script starts in the background ignores Ctrl-C: that stays.
_is_early = _is_command() and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if _is_early:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
