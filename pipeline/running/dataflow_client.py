"""Jobs of Google Cloud Dataflow by Google's public client: their state, errors, metrics and end."""

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
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 20.0  # seconds between two looks at a job
GIVE_UP_SECONDS = 30 * 60.0  # of a service that does not answer
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class DataflowService:
    """The jobs of a project in a region. `endpoint` is Beam's --dataflow_endpoint."""

    project: str
    region: str
    endpoint: str
    no_auth: bool = False

    @classmethod
    def of(cls, options: PipelineOptions) -> "DataflowService":
        """Return the service that Beam's flags name."""
        google = options.view_as(GoogleCloudOptions)
        return cls(google.project, google.region, google.dataflow_endpoint, bool(google.no_auth))

    def console(self, job_id: str) -> str:
        """Return the address of a job's page in Google's console."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job_id}?project={self.project}"

    def state(self, job_id: str) -> str:
        """Return the state of a job, such as RUNNING or DONE; FORGOTTEN if the service does not know it any more."""
        job = self._call(self._client("Jobs").get_job, "GetJobRequest", job_id=job_id)
        if job is None:
            return "FORGOTTEN"
        return str(job.current_state.name).removeprefix("JOB_STATE_")

    def seconds(self, job_id: str) -> float:
        """Return how long a job has been in the service, from its creation to its last change of state."""
        job = self._call(self._client("Jobs").get_job, "GetJobRequest", job_id=job_id)
        return float((job.current_state_time - job.create_time).total_seconds()) if job else 0.0

    def active(self, name: str) -> str | None:
        """Return the id of the job of this name that has not ended, if there is one."""
        kind = self._api.ListJobsRequest.Filter.ACTIVE
        client = self._client("Jobs")

        def find(**given: Any) -> str | None:  # further pages are requested while the jobs are read
            return next((str(job.id) for job in client.list_jobs(**given) if job.name == name), None)

        found: str | None = self._call(find, "ListJobsRequest", filter=kind)
        return found

    def cancel(self, job_id: str) -> None:
        """Ask the service to cancel a job. It is CANCELLING for some minutes before it is CANCELLED."""
        job = self._api.Job(requested_state=self._api.JobState.JOB_STATE_CANCELLED)
        self._call(self._client("Jobs").update_job, "UpdateJobRequest", job_id=job_id, job=job)

    def errors(self, job_id: str) -> list[str]:
        """Return the error messages of a job, oldest first."""
        least = self._api.JobMessageImportance.JOB_MESSAGE_ERROR
        client = self._client("Messages")

        def read(**given: Any) -> list[str]:
            return [str(message.message_text) for message in client.list_job_messages(**given)]

        return self._call(read, "ListJobMessagesRequest", job_id=job_id, minimum_importance=least) or []

    def metrics(self, job_id: str) -> dict[str, Any]:
        """Return our counters and distributions of a job, summed over its steps."""
        found = self._call(self._client("Metrics").get_job_metrics, "GetJobMetricsRequest", job_id=job_id)
        counters: Counter[str] = Counter()
        distributions: dict[str, dict[str, int]] = {}
        for metric in found.metrics if found else ():
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

    def wait(self, job_id: str, tell: Callable[[str], None]) -> str:
        """Return the state in which a job ends; `tell` gets a line for each new state.

        A service that does not answer does not end the job, so it is asked again. Raises DataError after half an hour.
        """
        pause, last, silent_since = FIRST_PAUSE, "", 0.0
        while True:
            try:
                state = self.state(job_id)
            except DataError as error:
                now = time.monotonic()
                if not silent_since:
                    tell(f"{error}; the job goes on, asking again")
                silent_since = silent_since or now
                if now - silent_since > GIVE_UP_SECONDS:
                    raise DataError(
                        f"{error}, for half an hour; the job may still run: see {self.console(job_id)}; "
                        "the same command attaches to it"
                    ) from error
            else:
                if silent_since:
                    tell("Dataflow answers again")
                silent_since = 0.0
                if state != last:
                    tell(f"job {job_id} is {state.lower().replace('_', ' ')}")
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
        return {}  # a client asks for a token of its own

    def _client(self, kind: str) -> Any:
        if kind not in self._clients:
            self._clients[kind] = self._new_client(kind)
        return self._clients[kind]

    def _new_client(self, kind: str) -> Any:
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials

        local = "localhost" in self.endpoint  # as Beam chooses between gRPC and HTTP
        address = self.endpoint if local else re.sub("^https?://", "", self.endpoint).rstrip("/")
        return getattr(self._api, f"{kind}V1Beta3Client")(
            credentials=AnonymousCredentials() if self.no_auth else None,  # None: the default ones
            client_options=ClientOptions(api_endpoint=address),
            transport="rest" if local else None,
        )

    def _call(self, method: Callable[..., Any], request: str, **fields: Any) -> Any:
        """Send a request; None for a job that is not known.

        Raises UsageError if the request is refused, and DataError if it is not answered.
        """
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        where = {"project_id": self.project, "location": self.region}
        try:
            return method(request=getattr(self._api, request)(**where, **fields), timeout=REQUEST_SECONDS)
        except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.RetryError, OSError) as error:
            raise DataError(f"Dataflow does not answer ({_short(error)})") from error
        except GoogleAuthError as error:
            raise DataError(f"Google does not accept the credentials ({_short(error)})") from error
        except exceptions.ClientError as error:
            if isinstance(error, exceptions.NotFound) and "job_id" in fields:
                return None
            raise UsageError(
                f"Dataflow refuses project {self.project!r} in region {self.region!r} ({_short(error)}); "
                "check --project, --region and the roles of the account (docs/how-to/dataflow.md)"
            ) from error


def check_credentials(options: PipelineOptions) -> None:
    """Raise UsageError unless there are Google credentials that give a token."""
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
            f"DataflowRunner needs a library that is missing ({error}); {install_command('gcp')}"
        ) from error


def _short(error: Exception) -> str:
    """Return the first 200 characters of an error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
