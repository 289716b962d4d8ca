import os
import signal

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from pipeline.running.run import Work, run_job
from pipeline.running.worker_processes import WorkerDied, _Connection


def die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)


# Beam's own threads, which read what the worker sends, end by the broken stream.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_killed_ends_the_job(tmp_path):
    work = Work("dying", str(tmp_path), "things", 1, 0.1)
    with pytest.raises(WorkerDied, match=r"^a worker process ended by SIGKILL; if memory was short"):
        run_job(lambda p: p | beam.Create(range(5)) | beam.Map(die), ["--direct_num_workers=2"], work)


def test_a_worker_that_connects_after_its_job_has_ended_is_told_so():
    connection = _Connection()
    connection.close()
    assert connection._push_queue.get(timeout=1) is worker_handlers.BeamFnControlServicer._DONE_MARKER
