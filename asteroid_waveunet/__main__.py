"""Run `waveunet` as `python -m asteroid_waveunet`."""

import sys


def main() -> int:
    """Run the command line of this process; Ctrl-C while modules load shows no traceback."""
    try:
        from asteroid_waveunet.cli.main import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
