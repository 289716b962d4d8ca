"""The local runner's worker processes: Beam's own, mended where the runner would wait for them for ever.

Beam (2.77) tells only workers that are connected that the job is over, and nobody that a worker has died.
"""

import os
import signal
from concurrent.futures import Future
from typing import Any, ClassVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from google.protobuf import json_format, text_format

from pipeline.running.fork_server import ForkServer, standing_by
from schemas.errors import DataError

GRACE_SECONDS = 5.0


class WorkerDied(DataError):
    """A worker process was killed, or crashed; says by which signal, and what to do."""


class ProcessRunner(FnApiRunner):
    """The local runner with worker processes, which ends when they do."""

    def __init__(self) -> None:
        super().__init__(SubprocessSDKEnvironment.from_command_string(""))  # _Handler knows the command

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Run to the end. Raises WorkerDied."""
        worker_handlers.ControlConnection = _Connection
        worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(_Handler)
        _Handler.deaths = []
        try:
            with standing_by() as _Handler.server:
                return super().run_pipeline(pipeline, options)
        except Exception as error:
            # What is raised depends on who noticed first: a broken stream, or the end of the process.
            if _Handler.deaths:
                how = f"a worker process ended by {_Handler.deaths[0]}"
                raise WorkerDied(f"{how}; if memory was short, give fewer: --direct_num_workers=1") from error
            raise


class _Connection(worker_handlers.ControlConnection):
    """What the runner asks of a worker, each request with a future for the answer."""

    _death = ""
    is_closed = False

    def push(self, request: beam_fn_api_pb2.InstructionRequest) -> worker_handlers.ControlFuture:
        """Ask a worker; one that is dead fails at once."""
        future = super().push(request)
        if self._death and future:
            self._fail(future)
        return future

    def died(self, how: str) -> None:
        """Fail what the worker was asked, and all that it will be."""
        self._death = how
        for future in list(self._futures_by_id.values()):
            self._fail(future)

    def _fail(self, future: worker_handlers.ControlFuture) -> None:
        # Not future.abort: whoever waits for the output of a bundle looks at answers only.
        future.set(beam_fn_api_pb2.InstructionResponse(error=self._death))

    def close(self) -> None:
        """Leave word for a worker that is still to come, or stop the one that is there."""
        self.is_closed = True
        if self._state == worker_handlers.BeamFnControlServicer.UNSTARTED_STATE:
            self.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)
        super().close()


class _Handler(worker_handlers.GrpcWorkerHandler):
    """Starts a worker, tells its connection if it ends before its time, and ends it if it does not end by itself."""

    server: ClassVar[ForkServer]
    deaths: ClassVar[list[str]] = []

    def __init__(self, _: bytes, *args: Any) -> None:
        super().__init__(*args)

    def start_worker(self) -> None:
        """Start the process, and have its end noticed."""
        options = self.provision_info.provision_info.pipeline_options
        told = {
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                self.control_api_service_descriptor()
            ),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
        }
        self._end = self.server.start(self.worker_id, {**os.environ, **told})
        self._end.add_done_callback(self._ended)

    def stop_worker(self) -> None:
        """Wait for the end of a process that was told to end; one that is stopped in the middle of a job may not."""
        try:
            self._end.result(GRACE_SECONDS)
        except TimeoutError:
            self.server.kill(self.worker_id)
            self._end.result()

    def _ended(self, end: "Future[int]") -> None:
        code = end.result()
        if not self.control_conn.is_closed:
            self.deaths.append(signal.Signals(-code).name if code < 0 else f"exit code {code}")
            self.control_conn.died(self.deaths[-1])
