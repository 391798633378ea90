"""Check a repository on the Hugging Face Hub, and upload a folder to it.

`Destination.check` verifies everything before anything is sent. `upload` then makes one commit on
top of the commit that was checked: it applies completely or not at all, and never reverts commits
of others. Large files are sent before the commit; an interrupted upload does not send them again,
because the Hub identifies contents by their SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import requests
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import RepositoryNotFoundError

from asteroid_waveunet.file_utils import first_line
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights.hub import CONFIG, CONNECT_TIMEOUT

__all__ = ["Destination", "upload"]

Tree = Mapping[str, str]  # path -> Git blob id of a small file, SHA-256 of a large one

INITIAL_FILES = {".gitattributes", "README.md"}  # may exist in a new repository
# A repository's users rely on these; a new version must not change them.
FIXED_ARGUMENTS = ("architecture", "sources", "in_channels", "sample_rate")

# HTTP status of the Hub -> message.
MESSAGES = {
    401: "The Hub does not know this token: create one with write access at "
    "{endpoint}/settings/tokens, and run `hf auth login` (or set HF_TOKEN).",
    403: "This token has no write access to {repo}: grant it at {endpoint}/settings/tokens.",
    409: "Somebody else has created {repo} in the meantime: check {endpoint}/{repo}, and run the "
    "same command again.",
    412: "Somebody else has committed to {repo} in the meantime, so nothing was committed: check "
    "{endpoint}/{repo}, and run the same command again.",
}


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub that a model may be uploaded to.

    Attributes:
        repo_id: user/name.
        private: visibility of the repository, or of the one to create.
        tag: tag to set on the uploaded version; None for no tag.
        head: latest commit; None if the repository does not exist yet.
        files: files of the latest commit.
        tagged: files of the commit that already has the tag; None if there is none.
    """

    api: HfApi
    repo_id: str
    private: bool
    tag: str | None
    head: str | None
    files: Tree
    tagged: Tree | None

    @classmethod
    def check(
        cls, repo_id: str, model: SourceModel, private: bool = False, tag: str | None = None
    ) -> Destination:
        """Check that the model may be uploaded; nothing on the Hub changes.

        Args:
            private: create a private repository; an existing one must be private.
        Raises:
            PermissionError: if there is no token, or it has no write access.
            FileExistsError: if the repository has other contents than such a model.
            ValueError: if the repository is public but should be private, or a branch has the
                tag's name.
            OSError: if the Hub cannot be reached.
        """
        api = HfApi(token=_token())
        with _explain_hub_errors(api, repo_id):
            account = api.whoami()
        _check_write_access(account, api, repo_id)
        with _explain_hub_errors(api, repo_id):
            try:
                info = _model_info(api, repo_id)
            except RepositoryNotFoundError:
                return cls(api, repo_id, private, tag, None, {}, None)
            refs = api.list_repo_refs(repo_id)
        if private and not info.private:
            raise ValueError(
                f"{repo_id} is public on the Hub; make it private at "
                f"{api.endpoint}/{repo_id}/settings, or publish without --private."
            )
        files = _tree(info)
        if files.keys() - INITIAL_FILES:
            _check_same_kind(api, repo_id, info.sha, files, model)
        if tag in [branch.name for branch in refs.branches]:
            raise ValueError(f"{tag} is a branch of {repo_id}; choose another --revision.")
        tagged = None
        if tag in [ref.name for ref in refs.tags]:
            with _explain_hub_errors(api, repo_id):
                tagged = _tree(_model_info(api, repo_id, tag))
        return cls(api, repo_id, info.private, tag, info.sha, files, tagged)


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
    api, repo, head = destination.api, destination.repo_id, destination.head
    tag, tagged = destination.tag, destination.tagged
    changed, removed = _differences(folder, files, managed, destination.files)
    if tagged is not None and any(_differences(folder, files, managed, tagged)):
        raise FileExistsError(
            f"{repo} already has a revision {tag} with other files; choose another --revision."
        )
    if changed or removed:
        _check_card(folder / "README.md", api, repo)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path, folder / path) for path in changed),
            *(CommitOperationDelete(path) for path in removed),
        ]
        with _explain_hub_errors(api, repo):
            if head is None:
                api.create_repo(repo, private=destination.private)
                head = api.model_info(repo).sha
            head = api.create_commit(
                repo, operations, commit_message="asteroid-waveunet", parent_commit=head
            ).oid
    if tag and tagged is None:
        with _explain_hub_errors(api, repo):
            api.create_tag(repo, tag=tag, revision=head)
    return _summary(destination, len(changed), bool(removed))


def _summary(destination: Destination, n_changed: int, removed: bool) -> str:
    changes = f"{n_changed} new or changed files" if n_changed or removed else "no changes"
    visibility = ["private"] if destination.private else []
    tag = [f"tagged {destination.tag}"] if destination.tag else []
    address = f"{destination.api.endpoint}/{destination.repo_id}"
    return f"{address} ({'; '.join([*visibility, *tag, changes])})"


def _token() -> str:
    token = huggingface_hub.get_token()
    if not token:
        raise PermissionError(
            "There is no token for the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN, "
            f"with a token that has write access ({huggingface_hub.constants.ENDPOINT}/settings/"
            "tokens)."
        )
    return token


@contextlib.contextmanager
def _explain_hub_errors(api: HfApi, repo: str) -> Iterator[None]:
    """Turn refusals of the Hub and network errors into one-line messages.

    Raises:
        PermissionError: for HTTP status 401 and 403.
        OSError: for all other errors.
    """
    try:
        yield
    except (TypeError, AttributeError, LookupError):  # bugs
        raise
    except Exception as reason:  # the HTTP library depends on huggingface_hub's version
        status = getattr(getattr(reason, "response", None), "status_code", None)
        if status in MESSAGES:
            kind = PermissionError if status in (401, 403) else OSError
            raise kind(MESSAGES[status].format(endpoint=api.endpoint, repo=repo)) from reason
        raise OSError(
            f"The Hub cannot be reached, or the connection failed ({first_line(reason)}). Once "
            "that is fixed, run the same command again to resume."
        ) from reason


def _check_write_access(account: Mapping[str, Any], api: HfApi, repo: str) -> None:
    """Check the token's role and the repository's owner.

    Raises:
        PermissionError: if the token is read-only or its user may not write for the owner.
    """
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise PermissionError(
            "This token is read-only: create one with write access at "
            f"{api.endpoint}/settings/tokens, and run `hf auth login` (or set HF_TOKEN)."
        )
    orgs = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    names = [account["name"], *orgs]
    if repo.split("/")[0] not in names:
        raise PermissionError(
            f"The token's user {account['name']} may not write to {repo}; expected a name that "
            f"begins with {' or '.join(f'{name}/' for name in names)}."
        )


def _model_info(api: HfApi, repo: str, revision: str | None = None) -> Any:
    return api.model_info(repo, revision=revision, timeout=CONNECT_TIMEOUT, files_metadata=True)


def _tree(info: Any) -> Tree:
    return {
        file.rfilename: file.lfs["sha256"] if file.lfs else file.blob_id for file in info.siblings
    }


def _check_same_kind(api: HfApi, repo: str, commit: str, files: Tree, model: SourceModel) -> None:
    """Check that a repository holds a model of this package with the same `FIXED_ARGUMENTS`.

    Raises:
        FileExistsError: if it does not.
    """
    arguments = _published_arguments(api, repo, commit) if CONFIG in files else None
    remedy = f"choose another --repo_id, or delete it at {api.endpoint}/{repo}/settings"
    if arguments is None:
        others = ", ".join(sorted(files.keys() - INITIAL_FILES)[:3])
        raise FileExistsError(
            f"{repo} already holds other files ({others}), not published by asteroid-waveunet; "
            f"{remedy}."
        )
    expected = {**model.get_model_args(), "architecture": type(model).__name__}
    differing = [
        f"{name} {arguments.get(name)!r}, not {expected[name]!r}"
        for name in FIXED_ARGUMENTS
        if arguments.get(name) != expected[name]
    ]
    if differing:
        raise FileExistsError(
            f"{repo} already holds a model of another kind ({'; '.join(differing)}), which its "
            f"users rely on; {remedy}."
        )


def _published_arguments(api: HfApi, repo: str, commit: str) -> dict[str, Any] | None:
    """Return a published model's arguments and architecture; None for other projects' files."""
    with _explain_hub_errors(api, repo):
        path = api.hf_hub_download(repo, CONFIG, revision=commit)
    try:
        config = json.loads(Path(path).read_bytes())
        if "asteroid_waveunet_version" not in config["infos"]["software_versions"]:
            return None
        return {**config["model_args"], "architecture": config["model_name"]}
    except (ValueError, KeyError, TypeError):
        return None


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


def _check_card(path: Path, api: HfApi, repo: str) -> None:
    """Let the Hub validate the model card's metadata.

    Raises:
        ValueError: if the Hub rejects it, as for an unknown license.
    """
    card = {"repoType": "model", "content": path.read_text(encoding="utf-8")}
    with _explain_hub_errors(api, repo):
        # ModelCard.validate of old clients always uses huggingface.co, not the endpoint.
        response = requests.post(
            f"{api.endpoint}/api/validate-yaml", json=card, timeout=CONNECT_TIMEOUT
        )
        if response.status_code != 400:
            response.raise_for_status()
            return
        errors = "; ".join(error["message"] for error in response.json()["errors"])
    raise ValueError(f"The Hub rejects the model card: {errors}")
