"""Upload the folder of a publication to the Hugging Face hub (package huggingface_hub, extra `publish`).

The token is read by the library, from the environment variable HF_TOKEN or from the file of `hf auth login`.
"""

import os

from common.errors import DataError, UsageError

HUB = "https://huggingface.co"


def check_repository(repository: str, folder: str) -> None:
    """Raise UsageError unless `repository` is USER/NAME and `folder` is local; ModuleNotFoundError without the library.

    The rules for names are those of the library, which applies them again at each call.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        reason = str(error).rstrip(".")
    else:
        reason = "" if "/" in repository else "the user is missing"
    if reason:
        raise UsageError(
            f"--push {repository!r}: expected USER/NAME, the name of a dataset repository ({reason})"
        )
    if "://" in folder:
        raise UsageError(
            f"--to {folder}: --push uploads a local folder; give one, or upload in a second step"
        )


def repository_url(repository: str) -> str:
    """Return the web page of a dataset repository."""
    return f"{HUB}/datasets/{repository}"


def push(folder: str, repository: str, version: str, *, private: bool) -> str:
    """Create the repository unless it exists, upload the folder, and return the URL of the last commit.

    Files that the repository has and the folder lacks are deleted, but for .gitattributes, so that the repository is the
    folder. Raises DataError if the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are the error of the HTTP library, which differs between versions of huggingface_hub, and OSError.
    of_network = HfHubHTTPError.__bases__
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
    except Exception as error:
        answer: BaseException | None = error
        while answer and not isinstance(answer, of_network):  # the library wraps errors of single files
            answer = answer.__cause__
        if answer is None:
            raise
        if not isinstance(answer, HfHubHTTPError):
            raise DataError(
                f"--push {repository}: the hub cannot be reached ({error}); check the connection and HF_ENDPOINT "
                f"({os.environ.get('HF_ENDPOINT', HUB)}), then run the command again"
            ) from error
        status = answer.response.status_code
        reason = " ".join(str(answer.server_message or answer).split())[:300]
        hint = "run the command again"
        if status in (401, 403):
            hint = "set HF_TOKEN to a token with write access, or run `hf auth login`"
        elif status == 400:  # the same card would be refused again
            hint = "correct the metadata that the hub names in the section 'publication'"
        raise DataError(f"--push {repository}: the hub answered {status} ({reason}); {hint}") from error
    return str(commit.commit_url)
