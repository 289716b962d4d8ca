"""The record of a submitted job in the output folder, by which a later command finds the job again."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from common.json_records import parse_stored
from pipeline import files
from pipeline.layout import Layout


@dataclass(frozen=True)
class JobRecord:
    """A job of a stage.

    key: digest of what it writes. state: as last seen, in the words of the service. console: address of its page.
    """

    stage: str
    key: str
    job_id: str
    project: str
    region: str
    endpoint: str
    console: str
    state: str

    def write(self, output: str, state: str | None = None) -> None:
        """Write the record, with a new state where one is given."""
        record = replace(self, state=state) if state else self
        files.write_text(Layout(output).job(self.stage), json.dumps(asdict(record), indent=2) + "\n")


def read_records(output: str) -> Iterator[JobRecord]:
    """Yield the record of each stage whose last job was submitted to a service."""
    folder = Layout(output).jobs
    for name in sorted(files.names(folder, "*.json")):
        path = files.join(folder, name)
        yield parse_stored(
            JobRecord, files.read_text(path), path, f"delete the file if no job of {output} is running"
        )
