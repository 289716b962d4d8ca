"""Upload the folder of a publication to the Hugging Face hub (package huggingface_hub, extra `publish`).

The token is read by the library, from the environment variable HF_TOKEN or from the file of `hf auth login`.
"""

import os
import re

from common.errors import DataError, UsageError

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
HUB = "https://huggingface.co"


def check_repository(repository: str, folder: str) -> None:
    """Raise UsageError unless `repository` is USER/NAME and `folder` is local; ModuleNotFoundError without the library."""
    import huggingface_hub  # noqa: F401

    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"--push {repository!r}: expected USER/NAME, the name of a dataset repository")
    if "://" in folder:
        raise UsageError(
            f"--to {folder}: --push uploads a local folder; give one, or upload in a second step"
        )


def repository_url(repository: str) -> str:
    """Return the web page of a dataset repository."""
    return f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/datasets/{repository}"


def push(folder: str, repository: str, version: str, *, private: bool) -> str:
    """Create the repository unless it exists, upload the folder in one commit, and return the URL of the commit.

    Files that the repository has and the folder lacks are deleted, but for .gitattributes, so that the repository is the
    folder. Raises DataError if the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=private or None, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repository,
            repo_type="dataset",
            commit_message=f"Version {version}",
            delete_patterns="*",
            ignore_patterns=[".*", "**/.*"],
        )
    except LocalTokenNotFoundError as error:
        raise DataError(f"--push {repository}: no token; set HF_TOKEN or run `hf auth login`") from error
    except HfHubHTTPError as error:
        reason = " ".join(str(error.server_message or error).split())
        status = getattr(error.response, "status_code", "")
        hint = "check HF_TOKEN: it needs write access" if status in (401, 403) else "run the command again"
        raise DataError(f"--push {repository}: the hub answered {status} ({reason[:300]}); {hint}") from error
    return str(commit.commit_url)
