"""Local emulation of the services that a Dataflow submission uses: Google's tokens and Dataflow."""

import json
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ENDED = ("DONE", "FAILED", "CANCELLED")
NAMESPACE = "controlled-noise"


@dataclass
class Job:
    """A job that was submitted: its request, and how it is."""

    request: dict
    id: str
    state: str = "RUNNING"
    errors: list[str] = field(default_factory=list)
    metrics: dict = field(default_factory=lambda: {"counters": {}, "distributions": {}})
    looks: int = 0

    @property
    def name(self) -> str:
        return self.request["name"]

    def answer(self) -> dict:
        """The job as the service describes it."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": self.id, "name": self.name, "projectId": "my-project", "location": "us-central1",
            "currentState": f"JOB_STATE_{self.state}", "createTime": now, "currentStateTime": now,
        }  # fmt: skip


Behavior = Callable[[Job], None]


def becomes(state: str, after: int = 0, error: str = "") -> Behavior:
    """A job that gets a state when it was looked at so many times."""

    def behave(job: Job) -> None:
        if job.looks > after:
            job.state, job.errors = state, [error] if error else []

    return behave


class Service(ThreadingHTTPServer):
    """Grants any token and takes any job. What becomes of running jobs is up to `behavior`, asked at each look.

    outage: so many requests about a job are answered with 503. `run_graphs` gives a behavior that does the work.
    """

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.submitted: list[Job] = []
        self.behavior: Behavior = becomes("DONE")
        self.outage = 0
        self.url = f"http://localhost:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def jobs(self) -> list[dict]:
        """The requests of all jobs."""
        return [job.request for job in self.submitted]

    def credentials(self) -> str:
        """A service account's key file that asks this server for tokens."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "my-project",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": "builder@my-project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{self.url}/token",
            }
        )

    def find(self, job_id: str) -> Job | None:
        """The job of this id."""
        return next((job for job in self.submitted if job.id == job_id), None)


def run_graphs(read: Callable[[str], bytes], environment: dict[str, str]) -> Behavior:
    """A behavior that runs each job's staged graph in a process; `read` gets the bytes of an object by its gs:// URL."""
    running: dict[str, subprocess.Popen[str]] = {}

    def behave(job: Job) -> None:
        if job.id not in running:
            path = Path(tempfile.mkdtemp()) / "pipeline.pb"
            options = job.request["environment"]["sdkPipelineOptions"]["options"]
            path.write_bytes(read(f"{options['staging_location']}/pipeline.pb"))
            running[job.id] = subprocess.Popen(
                [sys.executable, "-m", "tests.engines.dataflow_worker", str(path)], env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        process = running[job.id]
        if process.poll() is None:
            return
        printed, errors = process.communicate()
        job.state = "FAILED" if process.returncode else "DONE"
        if process.returncode:
            job.errors = [errors]
        else:
            job.metrics = json.loads(printed.splitlines()[-1])

    return behave


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.startswith("/token"):
            self._send({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
            return
        request = json.loads(body)
        for job in self.server.submitted:
            if job.name == request["name"] and job.state not in ENDED:  # as Dataflow does
                self._send({**job.answer(), "clientRequestId": "another"})
                return
        job = Job(request, f"2026-01-01_00_00_00-{len(self.server.submitted) + 1}")
        self.server.submitted.append(job)
        self._send({**job.answer(), "clientRequestId": request.get("clientRequestId", "")})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        job = self._job()
        if job:
            job.state = "CANCELLED" if job.state == "CANCELLING" else "CANCELLING"
            self._send(job.answer())

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.endswith("/jobs"):
            wanted = urllib.parse.parse_qs(query).get("filter", [""])[0]
            jobs = [
                job
                for job in self.server.submitted
                if wanted not in ("ACTIVE", "3") or job.state not in ENDED
            ]
            self._send({"jobs": [job.answer() for job in jobs]})
            return
        if self.server.outage:
            self.server.outage -= 1
            self._send({"error": {"code": 503, "message": "try later", "status": "UNAVAILABLE"}}, 503)
            return
        job = self._job()
        if not job:
            return
        if path.endswith("/metrics"):
            self._send({"metrics": [*_metrics(job.metrics)]})
        elif path.endswith("/messages"):
            messages = [
                {"messageText": text, "messageImportance": "JOB_MESSAGE_ERROR"} for text in job.errors
            ]
            self._send({"jobMessages": messages})
        else:
            job.looks += 1
            if job.state == "CANCELLING" and job.looks > 1:
                job.state = "CANCELLED"
            if job.state == "RUNNING":
                self.server.behavior(job)
            self._send(job.answer())

    def _job(self) -> Job | None:
        job = self.server.find(self.path.partition("?")[0].split("/jobs/")[1].split("/")[0])
        if not job:
            self._send({"error": {"code": 404, "message": "no such job", "status": "NOT_FOUND"}}, 404)
        return job

    def _send(self, answer: dict, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def _metrics(result: dict) -> list[dict]:
    """Metrics as Dataflow gives them: each once as committed and once as tentative."""
    answers = []
    for kind, key in (("counters", "scalar"), ("distributions", "distribution")):
        for name, value in result[kind].items():
            for context in ({}, {"tentative": "true"}):
                structured = {
                    "origin": "user",
                    "name": name,
                    "context": {"namespace": NAMESPACE, "step": "s1", **context},
                }
                answers.append({"name": structured, key: value})
    return answers
