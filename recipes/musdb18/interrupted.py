"""Imported first: sound defaults for Ctrl-C, printed names and waiting threads."""

import os
import sys

for stream in (sys.stdout, sys.stderr):  # a name of any bytes can be printed on any terminal
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported


def excepthook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; run the same command again to resume", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = excepthook
