"""Imported first, to answer Ctrl-C during slow imports with one line instead of a traceback."""

import sys


def excepthook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; run the same command again to resume", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = excepthook
