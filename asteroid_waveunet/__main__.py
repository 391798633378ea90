"""Run `waveunet` as `python -m asteroid_waveunet`."""

import sys

from asteroid_waveunet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
