"""The one network that a process holds, loaded when it is first needed."""

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from common.errors import UsageError
from common.extras import install_command
from pipeline.embed.spec import NetworkSpec

if TYPE_CHECKING:
    from pipeline.embed.network import Network

_LIBRARIES = ("torch", "timm", "safetensors")
_COMPUTING = ("torch", "timm")  # libraries whose version may change the last bits of features
_LOCK = Lock()
_open: list["Network"] = []


def check_libraries() -> None:
    """Raise UsageError with the command that installs them if libraries of the extra `embed` are missing."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise UsageError(f"the stage embed needs {' and '.join(missing)}; {install_command('embed')}")


def network_libraries() -> dict[str, str | None]:
    """Return the installed versions of the libraries that compute features; None for one that is not installed here."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:  # a machine that only submits the job
            return None

    return {name: installed(name) for name in _COMPUTING}


def open_network(spec: NetworkSpec) -> "Network":
    """Return the network of this process, which is loaded once; another one replaces it.

    Raises UsageError and DataError like `check_libraries` and `Network`.
    """
    with _LOCK:  # threads that run tasks share the network
        return _load(spec)


def close_network() -> None:
    """Forget the network of this process and restore torch's settings."""
    with _LOCK:
        _load.cache_clear()
        while _open:
            _open.pop().close()


@lru_cache(maxsize=1)
def _load(spec: NetworkSpec) -> "Network":
    check_libraries()
    from pipeline.embed.network import Network

    while _open:
        _open.pop().close()
    _open.append(Network(spec))
    return _open[-1]
