"""A repository on the Hugging Face Hub: a model or a Space. Its errors in words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import requests
from huggingface_hub import HfApi

from asteroid_waveunet.file_utils import first_line
from asteroid_waveunet.weights.hub import CONNECT_TIMEOUT

__all__ = [
    "Repository",
    "Tree",
    "check_card",
    "check_write_access",
    "explain_hub_errors",
    "token",
    "tree",
]

Tree = Mapping[str, str]  # path -> Git blob id of a small file, SHA-256 of a large one

# HTTP status of the Hub -> message.
MESSAGES = {
    401: "The Hub does not know this token: create one with write access at "
    "{endpoint}/settings/tokens, and run `hf auth login` (or set HF_TOKEN).",
    403: "This token has no write access to {repo}: grant it at {endpoint}/settings/tokens.",
    409: "Somebody else has created {repo} in the meantime: check {address}, and run the "
    "same command again.",
    412: "Somebody else has committed to {repo} in the meantime, so nothing was committed: check "
    "{address}, and run the same command again.",
}


@dataclass(frozen=True)
class Repository:
    """A model or a Space on the Hub, which need not exist.

    Attributes:
        id: user/name.
        type: "model" or "space".
    """

    api: HfApi
    id: str
    type: str = "model"

    @property
    def address(self) -> str:
        prefix = "" if self.type == "model" else f"{self.type}s/"
        return f"{self.api.endpoint}/{prefix}{self.id}"

    def info(self, revision: str | None = None) -> Any:
        return self.api.repo_info(
            self.id,
            revision=revision,
            repo_type=self.type,
            timeout=CONNECT_TIMEOUT,
            files_metadata=True,
        )

    def read(self, path: str, commit: str) -> Any:
        """Return the contents of a JSON file; None if it is none."""
        with explain_hub_errors(self):
            copy = self.api.hf_hub_download(self.id, path, revision=commit, repo_type=self.type)
        try:
            return json.loads(Path(copy).read_bytes())
        except ValueError:
            return None

    def create(self, private: bool) -> str:
        """Create it, a Space as a static one; return its first commit."""
        sdk = "static" if self.type == "space" else None
        self.api.create_repo(self.id, private=private, repo_type=self.type, space_sdk=sdk)
        return self.info().sha


def _message(status: int, repository: Repository) -> str:
    endpoint, address = repository.api.endpoint, repository.address
    return MESSAGES[status].format(endpoint=endpoint, address=address, repo=repository.id)


def token() -> str:
    token = huggingface_hub.get_token()
    if not token:
        raise PermissionError(
            "There is no token for the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN, "
            f"with a token that has write access ({huggingface_hub.constants.ENDPOINT}/settings/"
            "tokens)."
        )
    return token


@contextlib.contextmanager
def explain_hub_errors(repository: Repository) -> Iterator[None]:
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
            raise kind(_message(status, repository)) from reason
        raise OSError(
            f"The Hub cannot be reached, or the connection failed ({first_line(reason)}). Once "
            "that is fixed, run the same command again to resume."
        ) from reason


def check_write_access(account: Mapping[str, Any], repository: Repository) -> None:
    """Check the token's role and the repository's owner.

    Raises:
        PermissionError: if the token is read-only or its user may not write for the owner.
    """
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise PermissionError(
            "This token is read-only: create one with write access at "
            f"{repository.api.endpoint}/settings/tokens, and run `hf auth login` (or set HF_TOKEN)."
        )
    orgs = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    names = [account["name"], *orgs]
    if repository.id.split("/")[0] not in names:
        raise PermissionError(
            f"The token's user {account['name']} may not write to {repository.id}; expected "
            f"a name that begins with {' or '.join(f'{name}/' for name in names)}."
        )


def tree(info: Any) -> Tree:
    return {
        file.rfilename: file.lfs["sha256"] if file.lfs else file.blob_id for file in info.siblings
    }


def check_card(path: Path, repository: Repository) -> None:
    """Let the Hub validate the metadata of a card.

    Raises:
        ValueError: if the Hub rejects it, as for an unknown license.
    """
    card = {"repoType": repository.type, "content": path.read_text(encoding="utf-8")}
    with explain_hub_errors(repository):
        # ModelCard.validate of old clients always uses huggingface.co, not the endpoint.
        response = requests.post(
            f"{repository.api.endpoint}/api/validate-yaml", json=card, timeout=CONNECT_TIMEOUT
        )
        if response.status_code != 400:
            response.raise_for_status()
            return
        errors = "; ".join(error["message"] for error in response.json()["errors"])
    raise ValueError(f"The Hub rejects the {repository.type} card: {errors}")
