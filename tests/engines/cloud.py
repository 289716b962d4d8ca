"""Local emulations of Cloud Storage and Dataflow, and commands that use them."""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gcp_storage_emulator import server as emulator

from tests.engines.conftest import run
from tests.engines.service import Service, becomes, run_graphs

PACKAGED = (
    "--setup_file=./setup.py",
    "--requirements_file=requirements-dataflow.txt",
    "--requirements_cache=skip",
)
IMAGE = (
    "--sdk_container_image=us-docker.pkg.dev/my-project/images/controlled-noise"  # no package has to be built
)


@dataclass(frozen=True)
class Cloud:
    """A bucket called `bucket`, with the files of a small world in gs://bucket/set, and a service."""

    service: Service
    storage: str
    environment: dict[str, str]

    def names(self, folder: str = "") -> list[str]:
        """Names of the objects below a folder."""
        items = json.loads(self._get("/o")).get("items", [])
        return [item["name"] for item in items if item["name"].startswith(folder)]

    def read(self, name: str) -> bytes:
        """An object, by its name or its gs:// URL."""
        name = name.removeprefix("gs://bucket/")
        return self._get(f"/o/{urllib.parse.quote(name, safe='')}?alt=media")

    def write(self, name: str, data: bytes) -> None:
        """Replace an object."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        url = f"{self.storage}/upload/storage/v1/b/bucket/o?{query}"
        kind = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(url, data, kind, method="POST")).close()

    def delete(self, name: str) -> None:
        """Remove an object."""
        url = f"{self.storage}/storage/v1/b/bucket/o/{urllib.parse.quote(name, safe='')}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()

    def copy(self, source: Path, folder: str) -> None:
        """Write all files of a folder on this machine."""
        for path in source.rglob("*"):
            if path.is_file():
                self.write(f"{folder}/{path.relative_to(source)}", path.read_bytes())

    def works(self) -> None:
        """From now on, jobs are done."""
        self.service.behavior = run_graphs(self.read, {**os.environ, **self.environment})

    def flags(self) -> list[str]:
        """A valid launch on Dataflow, but for what brings our package to the workers."""
        return [
            "--runner=DataflowRunner", "--project=my-project", "--region=us-central1",
            "--temp_location=gs://bucket/temp", f"--dataflow_endpoint={self.service.url}",
        ]  # fmt: skip

    def command(self, verb: str, output: str, *more: str) -> list[str]:
        """The arguments of a verb on Dataflow that writes to gs://bucket/OUTPUT."""
        where = ["--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set"]
        return [verb, *where, "--output", f"gs://bucket/{output}", *self.flags(), *more]

    def run(self, verb: str, output: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on Dataflow."""
        return run(*self.command(verb, output, *more), **self.environment)

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.storage}/storage/v1/b/bucket{path}") as response:
            return response.read()


@contextmanager
def started(world: Path, folder: Path) -> Iterator[Cloud]:
    """Start both stand-ins; the key file of an account lies in `folder`."""
    service = Service()
    server = emulator.create_server("localhost", 0, in_memory=True, default_bucket="bucket")
    server.start()
    storage = f"http://localhost:{server._api._httpd.server_address[1]}"
    key = folder / "key.json"
    key.write_text(service.credentials())
    cloud = Cloud(
        service, storage, {"STORAGE_EMULATOR_HOST": storage, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
    )
    cloud.copy(world, "set")
    try:
        yield cloud
    finally:
        service.behavior = becomes("DONE")
        server.stop()
        service.shutdown()
