"""Run `waveunet` as `python -m asteroid_waveunet.cli`."""

import sys

from asteroid_waveunet.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
