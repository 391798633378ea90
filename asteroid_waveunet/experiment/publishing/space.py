"""Publish a page that separates songs as a static Space on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import jinja2

from asteroid_waveunet._version import __version__
from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.data.licenses import OWN
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.publishing import hub_upload, licensing, package
from asteroid_waveunet.experiment.publishing.licensing import Terms
from asteroid_waveunet.experiment.web import folder, server
from asteroid_waveunet.experiment.web.folder import Description
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.by_name import load_model

__all__ = ["Page", "publish"]

TEMPLATE = Path(__file__).with_name("templates") / "space.md.j2"
CARD = "README.md"


@dataclass(frozen=True)
class Page:
    """A model, and what its page and card say about it.

    Attributes:
        notice: license notice in Markdown.
        model_repo: repository of the model on the Hub, if there is one.
    """

    model: SourceModel
    description: Description
    notice: str
    model_repo: str | None = None

    @classmethod
    def of_model(cls, name: str, license: str | None) -> Page:
        """Return the page of a model by name; see `by_name.load_model`.

        Args:
            license: of the weights, by the Hub's identifier; None for that of the package's own.
        """
        model = load_model(name)
        description = Description.of(name, model, license)
        terms = Terms(OWN, description.license and description.license.lower(), None)
        on_hub = "/" in name and "://" not in name and not Path(name).exists()
        return cls(model, description, terms.notice(), name.split("@")[0] if on_hub else None)

    @classmethod
    def of_experiment(cls, configuration: Configuration, places: ExperimentDir) -> Page:
        """Return the page of an experiment's best model.

        Raises:
            FileNotFoundError: if the model is not trained.
            ValueError: if the license does not allow to publish it.
        """
        terms = licensing.terms(configuration, package.musdb18_folders(configuration))
        model = load_model(str(places.best_model))
        about = Description.of(str(places.best_model), model).about
        description = Description(
            places.exp_dir.resolve().name, f"{about}, trained on {terms.data.name}", terms.license
        )
        return cls(model, description, terms.notice(), configuration.publishing.repo_id)


def publish(
    page: Page,
    repo_id: str,
    private: bool | None = False,
    tag: str | None = None,
    dry_run: bool = False,
) -> None:
    """Write the page and its card to a temporary folder, and upload them in one commit.

    Everything is checked before anything is sent.

    Args:
        repo_id: user/name of the Space.
        private: create a private Space; an existing one must be private.
        tag: tag of this version.
        dry_run: only print what would be sent; no request is made to the Hub.
    Raises:
        ValueError, ModuleNotFoundError: see `folder.write_page`.
        OSError, ValueError: see `hub_upload.Destination.check` and `hub_upload.upload`.
    """
    destination = None
    if not dry_run:
        destination = hub_upload.Destination.check(
            repo_id, hub_upload.replaces_page, bool(private), tag, "space"
        )
    with tempfile.TemporaryDirectory(prefix="waveunet-space-") as temporary:
        place = folder.write_page(page.model, Path(temporary, "page"), page.description).parent
        (place / CARD).write_text(_card(page), encoding="utf-8", errors="backslashreplace")
        files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.*"))
        print(package.listing(place, files))
        if destination is None:
            print(f"Nothing was sent. This would go to the Space {repo_id}.")
        else:
            managed = (*folder.CONTENTS, CARD, "style.css")
            print(hub_upload.upload(place, files, managed, destination))


def _card(page: Page) -> str:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    license = page.description.license
    return template.render(
        title=f"Separate a song: {', '.join(page.model.sources)}",
        name=page.description.name,
        about=page.description.about,
        license=license and license.lower(),
        model_repo=page.model_repo,
        sources=page.model.sources,
        headers=server.ISOLATION,
        notice=page.notice.strip(),
        version=__version__,
    )
