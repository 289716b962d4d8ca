import json
import time

import apache_beam as beam
import pytest

from common.errors import DataError, UsageError
from pipeline.running import metrics, progress
from pipeline.running.run import JobSpec, run_job


class Count(beam.DoFn):
    @metrics.timed
    def process(self, element):
        metrics.count("seen", element)
        progress.advance(element)
        yield element


def run(tmp_path, *arguments):
    work = JobSpec("counting", str(tmp_path), "things", 10, 0.1)
    run_job(lambda p: p | beam.Create([1, 2, 3, 4]) | beam.ParDo(Count()), list(arguments), work)


@pytest.mark.parametrize("arguments", [(), ("--direct_num_workers=2",)], ids=["one thread", "two threads"])
def test_what_all_tasks_have_done_is_shown_and_what_they_count_is_written(tmp_path, monkeypatch, arguments):
    seen = []
    shown = progress._print_lines
    monkeypatch.setattr(progress, "_print_lines", lambda *a: (shown(*a), seen.append(a[0].value)))
    run(tmp_path, *arguments)
    assert seen == [10]
    reported = json.loads((tmp_path / "metrics" / "counting.json").read_text())
    assert reported["counters"] == {"seen": 10}
    assert reported["distributions"]["Count.milliseconds"]["count"] == 4
    assert (reported["stage"], reported["runner"]) == ("counting", "FnApiRunner")


def test_lines_show_the_progress(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    with progress.show_progress("outer", "things", 10):
        progress.advance(4)
        progress.advance(1)
        wait_for(lambda: "outer     5 of 10 things" in capsys.readouterr().err)


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def fail(_):
    raise DataError("row 7: the rule; the remedy")


def test_the_error_of_a_task_is_reported_as_it_was_raised(tmp_path):
    work = JobSpec("failing", str(tmp_path), "things", 1, 0.1)
    with pytest.raises(DataError, match=r"^row 7: the rule; the remedy$"):
        run_job(lambda p: p | beam.Create([1]) | beam.Map(fail), ["--direct_num_workers=2"], work)
    assert not (tmp_path / "metrics").exists()


def test_options_that_a_runner_cannot_run_with_are_a_usage_error(tmp_path):
    work = JobSpec("test", str(tmp_path), "things", 1, 0)
    with pytest.raises(UsageError, match="temp_location"):
        run_job(
            lambda p: p,
            ["--runner=DataflowRunner", "--dataflow_endpoint=https://dataflow.googleapis.com"],
            work,
        )
