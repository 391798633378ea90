"""Imported first: Ctrl-C while libraries are being imported ends with a line, not with pages."""

import sys


def say(kind, reason, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; run the same command again to go on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, reason, trace)


sys.excepthook = say
