"""Run `waveunet` as `python -m asteroid_waveunet`."""

import atexit
import gc
import os
import sys

OBJECTS_PER_COLLECTION = 50_000  # Python's own default is 700 to 2000


def main() -> int:
    """Run the command line of this process; Ctrl-C while modules load shows no traceback.

    In a locale of another encoding than UTF-8, Python starts again in its UTF-8 mode, as it does by
    itself in the locale "C": libraries that are written in C++ take every path for UTF-8.

    Modules are not garbage: fewer collections while they load, and none among them at the end, make
    start and end nearly a third shorter.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    atexit.register(gc.freeze)
    try:
        from asteroid_waveunet.cli.main import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
