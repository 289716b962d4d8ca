"""One client for all files of a bucket: Beam (2.77) makes one for every call, with its own connections and tokens."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any


def share_clients() -> None:
    """Let Beam's file systems for s3:// and gs:// keep their client, where they are installed."""
    with suppress(ImportError):
        _share_s3()
    with suppress(ImportError):
        from apache_beam.io.gcp import gcsio

        gcsio.create_storage_client = _once(gcsio.create_storage_client)


def _share_s3() -> None:
    from apache_beam.io.aws.clients.s3 import boto3_client

    beams = boto3_client.Client
    connect = _once(lambda options: beams(options).client)

    class Client(beams):  # type: ignore[misc, valid-type]  # Beam is untyped
        """Remembers where it is in a download, so each file has its own; what it asks with is shared."""

        def __init__(self, options: Any) -> None:
            self.client = connect(options)
            self._download_request = self._download_stream = None
            self._download_pos = 0

    boto3_client.Client = Client


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make something for the options (and whatever else is) given, and again only when others are."""
    made: tuple[Any, Any, Any] = (None, None, None)

    def get(options: Any, *more: Any) -> Any:
        nonlocal made
        if made[0] is not options or made[1] != more:
            made = (options, more, make(options, *more))
        return made[2]

    return get
