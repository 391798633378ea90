"""Run `python -m asteroid_waveunet.cli`."""

import sys

from asteroid_waveunet.cli.main import main

sys.exit(main())
