"""Dataflow jobs, which may outlive the command: submit, record, follow, cancel and attach."""

import hashlib
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from common.errors import DataError, UsageError
from pipeline.layout import Layout
from pipeline.running import metrics_file
from pipeline.running.dataflow_client import ENDED, DataflowService
from pipeline.running.job_record import JobRecord, read_records
from pipeline.running.options import LaunchOptions
from pipeline.running.progress import stage_line


class TemplateStaged(Exception):
    """The job was not run but written as a template to the location in the message."""


@dataclass(frozen=True)
class Submission:
    """The stage that a job belongs to, and the digest of its output (`--job_key STAGE:DIGEST`)."""

    stage: str
    key: str
    output: str

    @classmethod
    def of(cls, options: PipelineOptions, output: str, default: str) -> "Submission":
        """Parse --job_key; without it, the stage is `default` and no later command attaches to the job."""
        name, _, key = options.view_as(LaunchOptions).job_key.partition(":")
        return cls(name or default, key, output)

    @property
    def job_name(self) -> str:
        """Name of the job, unique per stage and output: the service runs only one job of a name at a time."""
        return f"controlled-noise-{self.stage}-{hashlib.sha256(self.output.encode()).hexdigest()[:12]}"


def name_job(options: PipelineOptions, submission: Submission) -> None:
    """Set the name of the job, unless the user set one."""
    google = options.view_as(GoogleCloudOptions)
    google.job_name = google.job_name or submission.job_name


def run_submitted(pipeline: beam.Pipeline, submission: Submission) -> dict[str, Any]:
    """Submit a job, write its record, wait for its end, and return its metrics.

    Raises TemplateStaged for a template, UsageError if the service refuses the job, and DataError if the job fails.
    """
    options = pipeline.options
    google, service = options.view_as(GoogleCloudOptions), DataflowService.of(options)
    if google.template_location:
        pipeline.run()
        raise TemplateStaged(google.template_location)
    try:
        job_id = pipeline.run().job_id()
    except KeyboardInterrupt:
        with suppress(
            DataError, UsageError
        ):  # the job may have been submitted although its id did not arrive
            if job_id := service.active(google.job_name):
                _interrupted(_record(service, submission, job_id), service, options, submission.output)
        raise
    except Exception as error:
        raise _refusal(error, service) from error
    record = _record(service, submission, job_id)
    _print(submission.stage, f"submitted as job {job_id}: {record.console}")
    return follow(record, service, options, submission.output)


def follow(
    record: JobRecord, service: DataflowService, options: PipelineOptions, output: str
) -> dict[str, Any]:
    """Wait for the end of a job and return its metrics. Ctrl-C cancels it, or leaves it running (--on_interrupt)."""
    try:
        state = service.wait(record.job_id, lambda line: _print(record.stage, f"{line}"))
    except KeyboardInterrupt:
        _interrupted(record, service, options, output)
        raise
    record.write(output, state)
    if state != "DONE":
        raise DataError(_reason(record, service, state))
    try:
        return service.metrics(record.job_id)
    except DataError as error:  # the tables exist, and nothing depends on metrics
        _print(record.stage, f"the metrics of job {record.job_id} are missing: {error}")
        return {"counters": {}, "distributions": {}}


def attach(options: PipelineOptions, submission: Submission) -> bool:
    """Wait for a job that an earlier command left running; return whether its output is the one needed now.

    Raises UsageError for a running job with another output, and for a running job of the same name without a record.
    """
    output = submission.output
    for record in unfinished_jobs(output):
        if record.stage != submission.stage:
            continue
        service = _service(record, options)
        state = service.state(record.job_id)
        if state == "CANCELLING" or record.state == "CANCELLING":
            _print(record.stage, f"waiting for job {record.job_id}, which is being canceled")
            record.write(output, service.wait(record.job_id, lambda _: None))
        elif record.key == submission.key:
            _print(record.stage, f"attached to job {record.job_id}: {record.console}")
            counted = follow(record, service, options, output)
            metrics_file.write(
                output, record.stage, {"runner": "DataflowRunner", "attached": True, **counted}
            )
            return True
        elif state in ENDED:
            record.write(output, state)
        else:
            raise UsageError(_busy(record, "it was started with other inputs or another configuration"))
    service = DataflowService.of(options)
    name = options.view_as(GoogleCloudOptions).job_name or submission.job_name
    if job_id := service.active(name):
        raise UsageError(_name_taken(name, job_id, service))
    return False


def unfinished_jobs(output: str) -> list[JobRecord]:
    """Return the records of jobs that have not ended as far as their records say."""
    return [record for record in read_records(output) if record.state not in ENDED]


def refuse_conflicting_job(stage: str, output: str, include_own: bool) -> None:
    """Raise UsageError if a job of another stage, or with `include_own` of this stage, is running in this folder."""
    for record in unfinished_jobs(output):
        if record.stage == stage and not include_own:
            continue
        try:
            state = _service(record).state(record.job_id)
        except (DataError, UsageError) as error:
            raise UsageError(
                f"job {record.job_id} of stage {record.stage} may still be running ({error}); check {record.console}, "
                f"and delete {Layout(output).job(record.stage)} if the job has ended"
            ) from error
        if state not in ENDED:
            raise UsageError(_busy(record, f"stage {stage} would change what it reads or writes"))


def _name_taken(name: str, job_id: str, service: DataflowService) -> str:
    return (
        f"job {job_id} with the name {name} is running; wait until it ends ({service.console(job_id)}), or cancel "
        f"it: gcloud dataflow jobs cancel {job_id} --project={service.project} --region={service.region}"
    )


def _busy(record: JobRecord, reason: str) -> str:
    return (
        f"job {record.job_id} of stage {record.stage} is running, and {reason}; wait until it ends "
        f"({record.console}), or cancel it: gcloud dataflow jobs cancel {record.job_id} "
        f"--project={record.project} --region={record.region}"
    )


def _service(record: JobRecord, options: PipelineOptions | None = None) -> DataflowService:
    no_auth = bool(options and options.view_as(GoogleCloudOptions).no_auth)
    return DataflowService(record.project, record.region, record.endpoint, no_auth)


def _record(service: DataflowService, submission: Submission, job_id: str) -> JobRecord:
    record = JobRecord(
        submission.stage, submission.key, job_id, service.project, service.region, service.endpoint,
        service.console(job_id), "SUBMITTED",
    )  # fmt: skip
    record.write(submission.output)
    return record


def _interrupted(record: JobRecord, service: DataflowService, options: PipelineOptions, output: str) -> None:
    if options.view_as(LaunchOptions).on_interrupt == "detach":
        _print(
            record.stage,
            f"job {record.job_id} continues: {record.console}; run the same command to attach to it",
        )
        return
    try:
        service.cancel(record.job_id)
        record.write(output, "CANCELLING")
        _print(record.stage, f"job {record.job_id} is being canceled: {record.console}")
    except (DataError, UsageError) as error:
        _print(
            record.stage,
            f"job {record.job_id} could not be canceled ({error}); cancel it at {record.console}",
        )


def _reason(record: JobRecord, service: DataflowService, state: str) -> str:
    """Return why a job failed: the DataError of a task, or the last line of the last error message."""
    try:
        errors = service.errors(record.job_id)
    except (DataError, UsageError) as error:
        errors = [f"its messages cannot be read: {error}"]
    if messages := data_errors("\n".join(errors)):
        return messages[-1]
    last = (
        errors[-1].strip().split("\n")[-1] if errors and errors[-1].strip() else "the service gives no reason"
    )
    remedy = "run the same command to start it again" if state == "CANCELLED" else f"see {record.console}"
    return f"stage {record.stage}: job {record.job_id} ended as {state} ({last}); {remedy}"


def data_errors(text: str) -> list[str]:
    """Return the messages of all DataErrors in the text of tracebacks."""
    messages = re.findall(r"^common\.errors\.DataError: (.*)", text, re.MULTILINE)
    return [without_step(message) for message in messages]


def without_step(message: str) -> str:
    """Return an error message without the name of the step, which Beam appends."""
    return re.sub(r" \[while running '[^']*'\]", "", message)


def _refusal(error: Exception, service: DataflowService) -> Exception:
    """Return the UsageError or DataError that explains a failed submission, or the error itself."""
    from google.api_core.exceptions import GoogleAPICallError

    text = " ".join(str(error).split())[:300]
    if found := re.search(r"already active job named (\S+) with id: (\S+?)\.? ", text):
        return UsageError(_name_taken(found.group(1), found.group(2), service))
    if isinstance(error, GoogleAPICallError):
        return DataError(f"Dataflow did not accept the job ({text}); run the same command again")
    return error


def _print(stage: str, text: str) -> None:
    print(stage_line(stage, text), file=sys.stderr, flush=True)
