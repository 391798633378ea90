"""Check a repository on the Hugging Face Hub, and upload a folder to it.

`Destination.check` verifies everything before anything is sent. `upload` then makes one commit on
top of the commit that was checked: it applies completely or not at all, and never reverts commits
of others. Large files are sent before the commit; an interrupted upload does not send them again,
because the Hub identifies contents by their SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import RepositoryNotFoundError

from asteroid_waveunet.experiment.publishing.repository import (
    Repository,
    Tree,
    check_card,
    check_write_access,
    explain_hub_errors,
    token,
    tree,
)
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights.hub import CONFIG

__all__ = ["Destination", "replaces_model", "replaces_page", "upload"]

# Files that the Hub makes in a new repository, in a Space also a page.
INITIAL_FILES = {".gitattributes", "README.md", "index.html", "style.css"}
# A model's users rely on these; a new version must not change them.
FIXED_ARGUMENTS = ("architecture", "sources", "in_channels", "sample_rate")
PAGE_FACTS = "model.json"  # in every page

Replaces = Callable[[Repository, str, Tree], None]
"""Raise FileExistsError if the files of a repository's commit must not be replaced."""


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub that a folder may be uploaded to.

    Attributes:
        private: visibility of the repository, or of the one to create.
        tag: tag to set on the uploaded version; None for no tag.
        head: latest commit; None if the repository does not exist yet.
        files: files of the latest commit.
        tagged: files of the commit that already has the tag; None if there is none.
    """

    repository: Repository
    private: bool
    tag: str | None
    head: str | None
    files: Tree
    tagged: Tree | None

    @property
    def repo_id(self) -> str:
        return self.repository.id

    @classmethod
    def check(
        cls,
        repo_id: str,
        replaces: Replaces,
        private: bool = False,
        tag: str | None = None,
        repo_type: str = "model",
    ) -> Destination:
        """Check that a repository may be uploaded to; nothing on the Hub changes.

        Args:
            replaces: `replaces_model(model)` or `replaces_page`.
            private: create a private repository; an existing one must be private.
            repo_type: "model" or "space".
        Raises:
            PermissionError: if there is no token, or it has no write access.
            FileExistsError: if the repository has other contents.
            ValueError: if the repository is public but should be private, or a branch has the
                tag's name.
            OSError: if the Hub cannot be reached.
        """
        api = HfApi(token=token())
        repository = Repository(api, repo_id, repo_type)
        with explain_hub_errors(repository):
            account = api.whoami()
        check_write_access(account, repository)
        with explain_hub_errors(repository):
            try:
                info = repository.info()
            except RepositoryNotFoundError:
                return cls(repository, private, tag, None, {}, None)
            refs = api.list_repo_refs(repo_id, repo_type=repo_type)
        if private and not info.private:
            raise ValueError(
                f"{repo_id} is public on the Hub; make it private at "
                f"{repository.address}/settings, or publish without --private."
            )
        files = tree(info)
        if files.keys() - INITIAL_FILES:
            replaces(repository, info.sha, files)
        if tag in [branch.name for branch in refs.branches]:
            raise ValueError(f"{tag} is a branch of {repo_id}; choose another --revision.")
        tagged = None
        if tag in [ref.name for ref in refs.tags]:
            with explain_hub_errors(repository):
                tagged = tree(repository.info(tag))
        return cls(repository, info.private, tag, info.sha, files, tagged)


def replaces_model(model: SourceModel) -> Replaces:
    """Allow to replace a model of this package that has the same `FIXED_ARGUMENTS`."""

    def check(repository: Repository, commit: str, files: Tree) -> None:
        published = repository.read(CONFIG, commit) if CONFIG in files else None
        arguments = _arguments(published)
        remedy = f"choose another --repo_id, or delete it at {repository.address}/settings"
        if arguments is None:
            raise _other_files(repository, files, remedy)
        expected = {**model.get_model_args(), "architecture": type(model).__name__}
        differing = [
            f"{name} {arguments.get(name)!r}, not {expected[name]!r}"
            for name in FIXED_ARGUMENTS
            if arguments.get(name) != expected[name]
        ]
        if differing:
            raise FileExistsError(
                f"{repository.id} already holds a model of another kind ({'; '.join(differing)}), "
                f"which its users rely on; {remedy}."
            )

    return check


def replaces_page(repository: Repository, commit: str, files: Tree) -> None:
    """Allow to replace any page of this package."""
    facts = repository.read(PAGE_FACTS, commit) if PAGE_FACTS in files else None
    if not isinstance(facts, dict) or not {"network", "runtime"} <= facts.keys():
        remedy = f"choose another --space, or delete it at {repository.address}/settings"
        raise _other_files(repository, files, remedy)


def _other_files(repository: Repository, files: Tree, remedy: str) -> FileExistsError:
    others = ", ".join(sorted(files.keys() - INITIAL_FILES)[:3])
    return FileExistsError(
        f"{repository.id} already holds other files ({others}), not published by "
        f"asteroid-waveunet; {remedy}."
    )


def _arguments(config: Any) -> dict[str, Any] | None:
    """Return a published model's arguments and architecture; None for other projects' files."""
    try:
        if "asteroid_waveunet_version" not in config["infos"]["software_versions"]:
            return None
        return {**config["model_args"], "architecture": config["model_name"]}
    except (ValueError, KeyError, TypeError):
        return None


def upload(
    folder: Path, files: Sequence[str], managed: Collection[str], destination: Destination
) -> str:
    """Make the repository match a folder with at most one commit, and set the tag.

    Args:
        files: the files to upload, as `a/b`, relative to `folder`.
        managed: top-level files and folders of the repository in which other files are deleted.
    Returns:
        One line with the address and a summary of the changes.
    Raises:
        FileExistsError: if the tag exists with other files.
        ValueError: if the Hub rejects the model card.
        OSError: if the connection fails; the same call resumes the upload.
    """
    repository, head = destination.repository, destination.head
    api, repo, repo_type = repository.api, repository.id, repository.type
    tag, tagged = destination.tag, destination.tagged
    changed, removed = _differences(folder, files, managed, destination.files)
    if tagged is not None and any(_differences(folder, files, managed, tagged)):
        raise FileExistsError(
            f"{repo} already has a revision {tag} with other files; choose another --revision."
        )
    if changed or removed:
        check_card(folder / "README.md", repository)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path, folder / path) for path in changed),
            *(CommitOperationDelete(path) for path in removed),
        ]
        with explain_hub_errors(repository):
            if head is None:
                head = repository.create(destination.private)
            head = api.create_commit(
                repo,
                operations,
                repo_type=repo_type,
                commit_message="asteroid-waveunet",
                parent_commit=head,
            ).oid
    if tag and tagged is None:
        with explain_hub_errors(repository):
            api.create_tag(repo, repo_type=repo_type, tag=tag, revision=head)
    return _summary(destination, len(changed), bool(removed))


def _summary(destination: Destination, n_changed: int, removed: bool) -> str:
    changes = f"{n_changed} new or changed files" if n_changed or removed else "no changes"
    visibility = ["private"] if destination.private else []
    tag = [f"tagged {destination.tag}"] if destination.tag else []
    return f"{destination.repository.address} ({'; '.join([*visibility, *tag, changes])})"


def _differences(
    folder: Path, files: Sequence[str], managed: Collection[str], tree: Tree
) -> tuple[list[str], list[str]]:
    """Return files that are new or changed in `folder`, and managed files only in `tree`."""
    changed = [path for path in files if tree.get(path) not in _hashes(folder / path)]
    removed = [p for p in sorted(tree) if p.split("/")[0] in managed and p not in files]
    return changed, removed


def _hashes(path: Path) -> tuple[str, str]:
    """Return the Git blob id and the SHA-256; the Hub lists one of them, by the file's size."""
    content = path.read_bytes()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob).hexdigest(), hashlib.sha256(content).hexdigest()
