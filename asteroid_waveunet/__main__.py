"""Run `waveunet` as `python -m asteroid_waveunet`."""

import os
import sys


def main() -> int:
    """Run the command line of this process; Ctrl-C while modules load shows no traceback.

    In a locale of another encoding than UTF-8, Python starts again in its UTF-8 mode, as it does by
    itself in the locale "C": libraries that are written in C++ take every path for UTF-8.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    try:
        from asteroid_waveunet.cli.main import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
