"""Client of Google Cloud Dataflow: state, errors and metrics of jobs, through Google's public library."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from common.errors import DataError, UsageError
from common.extras import install_command
from pipeline.running.metrics import NAMESPACE

ENDED = {"DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED", "FORGOTTEN"}
REQUEST_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 20.0  # seconds between two polls of a job
GIVE_UP_SECONDS = 30 * 60.0  # without an answer of the service
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class DataflowService:
    """The Dataflow jobs of a project in a region; `endpoint` is Beam's --dataflow_endpoint."""

    project: str
    region: str
    endpoint: str
    no_auth: bool = False

    @classmethod
    def of(cls, options: PipelineOptions) -> "DataflowService":
        """Return the service for Beam's flags."""
        google = options.view_as(GoogleCloudOptions)
        return cls(google.project, google.region, google.dataflow_endpoint, bool(google.no_auth))

    def console(self, job_id: str) -> str:
        """Return the URL of a job's page in Google's console."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job_id}?project={self.project}"

    def state(self, job_id: str) -> str:
        """Return the state of a job, such as RUNNING or DONE; FORGOTTEN if the service no longer knows the job."""
        job = self._call(self._client("Jobs").get_job, "GetJobRequest", job_id=job_id)
        if job is None:
            return "FORGOTTEN"
        return str(job.current_state.name).removeprefix("JOB_STATE_")

    def seconds(self, job_id: str) -> float:
        """Return the seconds from the creation of a job to its last change of state."""
        job = self._call(self._client("Jobs").get_job, "GetJobRequest", job_id=job_id)
        return float((job.current_state_time - job.create_time).total_seconds()) if job else 0.0

    def active(self, name: str) -> str | None:
        """Return the id of the running job of this name, or None."""
        client = self._client("Jobs")

        def find(**request: Any) -> str | None:  # iterating requests further pages
            return next((str(job.id) for job in client.list_jobs(**request) if job.name == name), None)

        active = self._api.ListJobsRequest.Filter.ACTIVE
        job_id: str | None = self._call(find, "ListJobsRequest", filter=active)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Request the cancellation of a job; its state is CANCELLING for some minutes, then CANCELLED."""
        job = self._api.Job(requested_state=self._api.JobState.JOB_STATE_CANCELLED)
        self._call(self._client("Jobs").update_job, "UpdateJobRequest", job_id=job_id, job=job)

    def errors(self, job_id: str) -> list[str]:
        """Return the error messages of a job, oldest first."""
        importance = self._api.JobMessageImportance.JOB_MESSAGE_ERROR
        client = self._client("Messages")

        def read(**request: Any) -> list[str]:
            return [str(message.message_text) for message in client.list_job_messages(**request)]

        return self._call(read, "ListJobMessagesRequest", job_id=job_id, minimum_importance=importance) or []

    def metrics(self, job_id: str) -> dict[str, Any]:
        """Return this project's counters and distributions of a job, summed over its steps."""
        response = self._call(self._client("Metrics").get_job_metrics, "GetJobMetricsRequest", job_id=job_id)
        counters: Counter[str] = Counter()
        distributions: dict[str, dict[str, int]] = {}
        for metric in response.metrics if response else ():
            context, name = dict(metric.name.context), str(metric.name.name)
            if context.get("namespace") != NAMESPACE or context.get("tentative") == "true":
                continue
            if metric.distribution:
                new = {key: int(metric.distribution[key]) for key in ("count", "sum", "min", "max")}
                old = distributions.get(name, new | {"count": 0, "sum": 0})
                distributions[name] = {
                    "count": old["count"] + new["count"], "sum": old["sum"] + new["sum"],
                    "min": min(old["min"], new["min"]), "max": max(old["max"], new["max"]),
                }  # fmt: skip
            else:
                counters[name] += int(metric.scalar)
        return {
            "counters": dict(sorted(counters.items())),
            "distributions": dict(sorted(distributions.items())),
        }

    def wait(self, job_id: str, report: Callable[[str], None]) -> str:
        """Wait until a job ends and return its final state; call `report` with a line for each new state.

        While the service does not answer, keep polling. Raises DataError after half an hour without an answer.
        """
        pause, last, silent_since = FIRST_PAUSE, "", 0.0
        while True:
            try:
                state = self.state(job_id)
            except DataError as error:
                now = time.monotonic()
                if not silent_since:
                    report(f"{error}; the job continues, retrying")
                silent_since = silent_since or now
                if now - silent_since > GIVE_UP_SECONDS:
                    raise DataError(
                        f"{error} for half an hour, and job {job_id} may still be running; check it at "
                        f"{self.console(job_id)}, then run the same command again to attach to it"
                    ) from error
            else:
                if silent_since:
                    report("Dataflow answers again")
                silent_since = 0.0
                if state != last:
                    report(f"job {job_id} is {state.lower().replace('_', ' ')}")
                if state in ENDED:
                    return state
                last = state
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    @cached_property
    def _api(self) -> Any:
        with _library():
            from google.cloud import dataflow_v1beta3
        return dataflow_v1beta3

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}  # cached, because each new client requests a token

    def _client(self, api_name: str) -> Any:
        if api_name not in self._clients:
            self._clients[api_name] = self._new_client(api_name)
        return self._clients[api_name]

    def _new_client(self, api_name: str) -> Any:
        client = getattr(self._api, f"{api_name}V1Beta3Client")  # first, because it names a missing library
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials

        local = "localhost" in self.endpoint  # Beam's own rule for HTTP instead of gRPC
        address = self.endpoint if local else re.sub("^https?://", "", self.endpoint).rstrip("/")
        return client(
            credentials=AnonymousCredentials() if self.no_auth else None,  # None: default credentials
            client_options=ClientOptions(api_endpoint=address),
            transport="rest" if local else None,
        )

    def _call(self, method: Callable[..., Any], request: str, **fields: Any) -> Any:
        """Send a request and return the response, or None for an unknown job.

        Raises UsageError if the service refuses the request, DataError if it does not answer.
        """
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        scope = {"project_id": self.project, "location": self.region}
        try:
            return method(request=getattr(self._api, request)(**scope, **fields), timeout=REQUEST_SECONDS)
        except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.RetryError, OSError) as error:
            raise DataError(f"Dataflow does not answer ({_short(error)})") from error
        except GoogleAuthError as error:
            raise DataError(
                f"Google rejects the credentials ({_short(error)}); run `gcloud auth application-default login`"
            ) from error
        except exceptions.ClientError as error:
            if isinstance(error, exceptions.NotFound) and "job_id" in fields:
                return None
            raise UsageError(
                f"Dataflow refuses project {self.project!r} in region {self.region!r} ({_short(error)}); "
                "check --project, --region and the roles of the account (docs/how-to/dataflow.md)"
            ) from error


def check_credentials(options: PipelineOptions) -> None:
    """Raise UsageError unless Google credentials exist and give a token."""
    if options.view_as(GoogleCloudOptions).no_auth:
        return
    with _library():
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(partial(Request(), timeout=REQUEST_SECONDS))
    except (GoogleAuthError, OSError, ValueError) as error:
        raise UsageError(
            f"DataflowRunner: no usable Google credentials ({_short(error)}); run `gcloud auth application-default "
            "login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        ) from error


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"DataflowRunner needs a missing library ({error}); {install_command('gcp')}"
        ) from error


def _short(error: Exception) -> str:
    """Return the first 200 characters of an error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
