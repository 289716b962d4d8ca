"""Local emulators of gs:// and s3://."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline import remote


@dataclass(frozen=True)
class Store:
    """An emulator, and how another process would reach it."""

    bucket: str
    environment: dict[str, str]
    kind: Any

    def other(self) -> Any:
        """A client that shares nothing with the one under test."""
        return self.kind(use_listings_cache=False, skip_instance_cache=True)

    def put(self, name: str, data: bytes) -> None:
        self.other().pipe_file(f"bucket/{name}", data)

    def all(self) -> set[str]:
        return {name.removeprefix("bucket/") for name in self.other().find("bucket")}


@pytest.fixture(scope="module", params=["s3", "gs"])
def emulator(request, tmp_path_factory) -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        start = {"s3": start_s3, "gs": start_gs}[request.param]
        environment, stop = start(str(tmp_path_factory.mktemp("no-credentials")))
        for key, value in environment.items():
            patch.setenv(key, value)
        kind = type(remote.locate(f"{request.param}://bucket")[0])
        if request.param == "s3":
            with suppress(FileExistsError):  # moto keeps buckets as long as the process lives
                kind().mkdir("bucket")
        yield Store(f"{request.param}://bucket", environment, kind)
        kind.clear_instance_cache()
        stop()


def start_s3(_: str):
    pytest.importorskip("s3fs", reason="needs s3fs (make test-engines installs it)")
    server = pytest.importorskip("moto.server", reason="needs moto[server] (make test-engines installs it)")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }, running.stop  # fmt: skip


def start_gs(empty: str):
    pytest.importorskip("gcsfs", reason="needs gcsfs (make test-engines installs it)")
    server = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
    running = server.create_server("localhost", 0, in_memory=True, default_bucket="bucket")
    running.start()
    url = f"http://localhost:{running._api._httpd.server_address[1]}"
    return {"STORAGE_EMULATOR_HOST": url, "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": empty}, running.stop
