"""`waveunet demo`: serve a page that separates songs in the browser."""

from __future__ import annotations

import argparse
import tempfile
import webbrowser
from pathlib import Path

from asteroid_waveunet import pretrained
from asteroid_waveunet.cli.common import MODEL_HELP
from asteroid_waveunet.cli.export import add_runtime_option, write_page

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Serve a page on this machine that separates songs in the browser, and open it. Songs do "
        "not leave the browser. Ctrl-C ends it."
    )
    add = parser.add_argument
    default = f" (default: {pretrained.DEFAULT})"
    add("model", metavar="MODEL", nargs="?", default=pretrained.DEFAULT, help=MODEL_HELP + default)
    add("--port", type=int, default=0, metavar="N", help="(default: a free one)")
    add("--no-browser", action="store_true", help="do not open the browser")
    add_runtime_option(parser)


def run(options: argparse.Namespace) -> int:
    """Write the page to a temporary folder and serve it until Ctrl-C."""
    from asteroid_waveunet.experiment.web import server

    with tempfile.TemporaryDirectory(prefix="waveunet-demo-") as temporary:
        page = Path(temporary, "page")
        with server.make_server(page, options.port) as running:
            write_page(options.model, page, runtime=options.runtime)
            address = server.url(running)
            print(f"{address} (Ctrl-C ends it)", flush=True)
            if not options.no_browser:
                webbrowser.open(address)
            try:
                running.serve_forever()
            except KeyboardInterrupt:
                print()
    return 0
