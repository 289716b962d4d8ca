"""Record of a submitted job in the output folder, so that a later command can attach to the job."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from common.json_records import parse_stored
from pipeline import files
from pipeline.layout import Layout


@dataclass(frozen=True)
class JobRecord:
    """A submitted job of a stage.

    key: digest of the job's output. state: last known state, as the service spells it. console: URL of the job's page.
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
        """Write the record, with `state` if it is given."""
        record = replace(self, state=state) if state else self
        files.write_text(Layout(output).job(self.stage), json.dumps(asdict(record), indent=2) + "\n")


def read_records(output: str) -> Iterator[JobRecord]:
    """Yield the records of all stages whose last job was submitted to a service."""
    folder = Layout(output).jobs
    for name in sorted(files.names(folder, "*.json")):
        path = files.join(folder, name)
        yield parse_stored(
            JobRecord, files.read_text(path), path, f"delete the file unless a job of {output} is running"
        )
