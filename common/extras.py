"""Optional dependencies (extras) of the project."""

from importlib.metadata import PackageNotFoundError, requires, version

PROJECT = "controlled-noise"


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, by name because the project is on no package index."""
    try:
        needed = requires(PROJECT) or []
    except PackageNotFoundError:  # running from a checkout that is not installed
        needed = []
    parts = (requirement.partition(";") for requirement in needed)
    names = [
        name.strip() for name, _, marker in parts if marker.replace("'", '"').strip() == f'extra == "{extra}"'
    ]
    if not names:
        return f"pip install '.[{extra}]' in the folder of the project"
    return "pip install " + " ".join(f"'{name}'" for name in sorted(names))


def project_version() -> str:
    """Return the name and version of the project."""
    return f"{PROJECT} {_version() or '(not installed)'}"


def user_agent(purpose: str, contact: str) -> str:
    """Return the User-Agent header of requests: the project with its version, what it does, and whom to ask."""
    product = "/".join(filter(None, (PROJECT, _version())))
    return f"{product} ({purpose}; +{contact})"


def _version() -> str:
    """Return the version of the project, nothing if it runs from a checkout that is not installed."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return ""
