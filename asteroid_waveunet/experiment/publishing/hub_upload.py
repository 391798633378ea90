"""A folder on the Hugging Face Hub: what has to be true before it goes there, and the sending.

First everything is asked (`Destination.of`), then everything is sent (`send`), as one commit, which
is made on the state that was seen: it holds all or nothing, and never undoes somebody else's. Large
files travel before it. Those that came through before an upload broke off are not sent again: the
Hub knows contents by their sha256.
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
from asteroid_waveunet.weights.hub import CONFIG, CONNECT

__all__ = ["Destination", "send"]

Tree = Mapping[str, str]  # path -> git's hash of a small file, sha256 of a large one

NOT_OF_MODELS = {".gitattributes", "README.md"}  # what a repository has that was just made
# What users of a model rely on by its name.
FIXED_ARGUMENTS = ("architecture", "sources", "in_channels", "sample_rate")

# What the Hub answers -> what that means to its user.
ANSWERS = {
    401: "The Hub does not know this token: make one that may write at "
    "{endpoint}/settings/tokens, and `hf auth login` (or HF_TOKEN).",
    403: "This token may not write to {repo}: give it that right at {endpoint}/settings/tokens.",
    409: "Somebody has made {repo} meanwhile: look at {endpoint}/{repo}, and run the same "
    "command again.",
    412: "Somebody else has committed to {repo} meanwhile, so nothing was committed: look at "
    "{endpoint}/{repo}, and run the same command again.",
}


@dataclass(frozen=True)
class Destination:
    """A model's name on the Hub, found fit to be published under.

    Attributes:
        repo_id: user/name.
        private: whether it is, or is to be, for its owners only.
        tag: that this version is to have.
        head: the commit that is there; None if there is no such repository yet.
        files: of that commit.
        tagged: of the commit that has the tag already, if one has.
    """

    api: HfApi
    repo_id: str
    private: bool
    tag: str | None
    head: str | None
    files: Tree
    tagged: Tree | None

    @classmethod
    def of(
        cls, repo_id: str, model: SourceModel, private: bool = False, tag: str | None = None
    ) -> Destination:
        """Asks all that can be asked, and changes nothing.

        Args:
            private: of a repository that is to be made; of one that is there, whether it must be.
        Raises:
            PermissionError: if there is no token, or not one that may write there.
            FileExistsError: if something else than such a model has this name.
            ValueError: if the repository is public and not to be, or the tag's name is a branch's.
            OSError: if the Hub cannot be reached.
        """
        api = HfApi(token=_token())
        with _hub_errors_explained(api, repo_id):
            account = api.whoami()
        _check_may_write(account, api, repo_id)
        with _hub_errors_explained(api, repo_id):
            try:
                there = _asked(api, repo_id)
            except RepositoryNotFoundError:
                return cls(api, repo_id, private, tag, None, {}, None)
            refs = api.list_repo_refs(repo_id)
        if private and not there.private:
            raise ValueError(
                f"{repo_id} is public on the Hub, and was to be private; make it private at "
                f"{api.endpoint}/{repo_id}/settings, or publish without --private."
            )
        files = _tree(there)
        if files.keys() - NOT_OF_MODELS:
            _check_is_such_a_model(api, repo_id, there.sha, files, model)
        if tag in [branch.name for branch in refs.branches]:
            raise ValueError(f"{tag} is a branch of {repo_id}; choose another --revision.")
        tagged = None
        if tag in [ref.name for ref in refs.tags]:
            with _hub_errors_explained(api, repo_id):
                tagged = _tree(_asked(api, repo_id, tag))
        return cls(api, repo_id, there.private, tag, there.sha, files, tagged)


def send(folder: Path, files: Sequence[str], owned: Collection[str], to: Destination) -> str:
    """Brings what is on the Hub to what is in a folder: at most one commit, and the tag.

    Args:
        files: of the folder, as `a/b`.
        owned: files and folders of the repository in which nothing else is to stay.
    Returns:
        One line: the address, and what was done.
    Raises:
        FileExistsError: if the tag is there and of other files.
        ValueError: if the Hub finds fault with the model card.
        OSError: if the Hub cannot be reached any more; the same call goes on.
    """
    api, repo, head = to.api, to.repo_id, to.head
    changed, gone = _differences(folder, files, owned, to.files)
    if to.tagged is not None and any(_differences(folder, files, owned, to.tagged)):
        raise FileExistsError(
            f"{repo} has a revision {to.tag} already, with other files; choose another --revision."
        )
    if changed or gone:
        _check_card(folder / "README.md", api, repo)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path, folder / path) for path in changed),
            *(CommitOperationDelete(path) for path in gone),
        ]
        with _hub_errors_explained(api, repo):
            if head is None:
                api.create_repo(repo, private=to.private)
                head = api.model_info(repo).sha
            head = api.create_commit(
                repo, operations, commit_message="asteroid-waveunet", parent_commit=head
            ).oid
    if to.tag and to.tagged is None:
        with _hub_errors_explained(api, repo):
            api.create_tag(repo, tag=to.tag, revision=head)
    done = f"{len(changed)} new or changed files" if changed or gone else "it was there already"
    tag, private = f"tagged {to.tag}; " if to.tag else "", "private; " if to.private else ""
    return f"{api.endpoint}/{repo} ({private}{tag}{done})"


def _token() -> str:
    token = huggingface_hub.get_token()
    if not token:
        raise PermissionError(
            "There is no token for the Hugging Face Hub: `hf auth login`, or HF_TOKEN=..., with "
            f"one that may write ({huggingface_hub.constants.ENDPOINT}/settings/tokens)."
        )
    return token


@contextlib.contextmanager
def _hub_errors_explained(api: HfApi, repo: str) -> Iterator[None]:
    """Turn refusals of the Hub and network errors into one-line messages.

    Raises:
        PermissionError: for 401 and 403. OSError: for all else.
    """
    try:
        yield
    except (TypeError, AttributeError, LookupError):  # ours
        raise
    except Exception as reason:  # of several HTTP libraries, by version
        status = getattr(getattr(reason, "response", None), "status_code", None)
        if status in ANSWERS:
            kind = PermissionError if status in (401, 403) else OSError
            raise kind(ANSWERS[status].format(endpoint=api.endpoint, repo=repo)) from reason
        raise OSError(
            f"The Hub cannot be reached, or broke off ({first_line(reason)}). Once that is "
            "fixed, run the same command again to resume."
        ) from reason


def _check_may_write(account: Mapping[str, Any], api: HfApi, repo: str) -> None:
    """
    Raises:
        PermissionError: if the token is for reading only, or of others than the name's owner.
    """
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise PermissionError(
            "This token may only read: make one that may write at "
            f"{api.endpoint}/settings/tokens, and `hf auth login` (or HF_TOKEN)."
        )
    orgs = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    names = [account["name"], *orgs]
    if repo.split("/")[0] not in names:
        raise PermissionError(
            f"This token is {account['name']}'s, who may not write to {repo}; expected a name that "
            f"begins with {' or '.join(f'{name}/' for name in names)}."
        )


def _asked(api: HfApi, repo: str, revision: str | None = None) -> Any:
    return api.model_info(repo, revision=revision, timeout=CONNECT, files_metadata=True)


def _tree(info: Any) -> Tree:
    return {
        file.rfilename: file.lfs["sha256"] if file.lfs else file.blob_id for file in info.siblings
    }


def _check_is_such_a_model(
    api: HfApi, repo: str, commit: str, files: Tree, model: SourceModel
) -> None:
    """
    Raises:
        FileExistsError: if what is there was not published from here, or separates otherwise.
    """
    config: Any = {}
    if CONFIG in files:
        with _hub_errors_explained(api, repo):
            path = api.hf_hub_download(repo, CONFIG, revision=commit)
        with contextlib.suppress(ValueError):
            config = json.loads(Path(path).read_bytes())
    elsewhere = f"choose another --repo_id, or delete it at {api.endpoint}/{repo}/settings"
    try:
        ours = "asteroid_waveunet_version" in config["infos"]["software_versions"]
        arguments = {**config["model_args"], "architecture": config["model_name"]}
    except (KeyError, TypeError):
        ours, arguments = False, {}
    if not ours:
        others = ", ".join(sorted(files.keys() - NOT_OF_MODELS)[:3])
        raise FileExistsError(
            f"{repo} is taken: what the Hub has there ({others}) was not published from here; "
            f"{elsewhere}."
        )
    expected = {**model.get_model_args(), "architecture": type(model).__name__}
    differing = [
        f"{name} {arguments.get(name)!r}, not {expected[name]!r}"
        for name in FIXED_ARGUMENTS
        if arguments.get(name) != expected[name]
    ]
    if differing:
        raise FileExistsError(
            f"{repo} is taken by a model of another kind ({'; '.join(differing)}), which those who "
            f"load it by that name expect; {elsewhere}."
        )


def _differences(
    folder: Path, files: Sequence[str], owned: Collection[str], there: Tree
) -> tuple[list[str], list[str]]:
    """Files that are not there as they are here; and those that are only there, and are ours."""
    changed = [path for path in files if there.get(path) not in _hashes(folder / path)]
    gone = [p for p in sorted(there) if p.split("/")[0] in owned and p not in files]
    return changed, gone


def _hashes(path: Path) -> tuple[str, str]:
    """Return git's hash and sha256; the Hub uses the former for small files, else the latter."""
    content = path.read_bytes()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob).hexdigest(), hashlib.sha256(content).hexdigest()


def _check_card(path: Path, api: HfApi, repo: str) -> None:
    """
    Raises:
        ValueError: if the Hub finds fault with its metadata, such as a licence that it has not.
    """
    asked = {"repoType": "model", "content": path.read_text(encoding="utf-8")}
    with _hub_errors_explained(api, repo):
        # ModelCard.validate of old clients asks huggingface.co, whatever the endpoint.
        response = requests.post(f"{api.endpoint}/api/validate-yaml", json=asked, timeout=CONNECT)
        if response.status_code != 400:
            response.raise_for_status()
            return
        said = "; ".join(error["message"] for error in response.json()["errors"])
    raise ValueError(f"The Hub refuses the model card: {said}")
