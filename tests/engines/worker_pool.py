"""Beam's pool of Python workers, for several task managers on one machine: `python -m tests.engines.worker_pool PORT`.

They give their workers the same names, so Beam's own pool, told by one that its worker has done, ends the other's,
and the job begins anew. Here nobody's worker is ended by name: it ends when its task manager hangs up.
"""

import sys

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts workers, and leaves their end to them."""

    def StopWorker(self, *_: object) -> beam_fn_api_pb2.StopWorkerResponse:
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    _, server = WorkerPool.start(use_process=True, port=int(sys.argv[1]))
    server.wait_for_termination()
