"""Errors in a Beam worker process reach the user as a message on every runner."""

import apache_beam as beam
import pytest

from common.errors import DataError
from pipeline.running.run import JobSpec, run_job

FROM_ANOTHER_PROCESS = """Error received from SDK harness for instruction 3: Traceback (most recent call last):
  File "pipeline/records.py", line 36, in check
    raise DataError(
common.errors.DataError: web.csv, line 7: no UTF-8; save it as UTF-8 text [while running 'Ingest/CheckRows']
"""
ONE_PROCESS = ["--direct_num_workers=1"]
WORK = JobSpec("test", "", "things", 1, 0)  # a failed job writes nothing


def test_the_message_of_a_worker_process_is_extracted_from_its_traceback() -> None:
    def fail(_: beam.Pipeline) -> None:
        raise RuntimeError(FROM_ANOTHER_PROCESS)

    with pytest.raises(DataError) as caught:
        run_job(fail, ONE_PROCESS, WORK)
    assert str(caught.value) == "web.csv, line 7: no UTF-8; save it as UTF-8 text"


def test_the_message_of_a_worker_thread_loses_what_beam_adds() -> None:
    def check(_: int) -> None:
        raise DataError("web.csv: bad")

    with pytest.raises(DataError) as caught:
        run_job(lambda p: p | beam.Create([1]) | "Check" >> beam.Map(check), ONE_PROCESS, WORK)
    assert str(caught.value) == "web.csv: bad"


def test_other_exceptions_are_raised_unchanged() -> None:
    def fail(_: beam.Pipeline) -> None:
        raise KeyError("common.errors.DataError is not at the start of a line")

    with pytest.raises(KeyError):
        run_job(fail, ONE_PROCESS, WORK)
