"""Imported first: Ctrl-C during slow imports gives one line; threads sleep while they wait."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported


def excepthook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; run the same command again to resume", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = excepthook
