import os
import threading
import time
from copy import deepcopy

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions

from common.errors import UsageError
from pipeline.running.options import beam_options, decoder_count, is_local, local_runner
from pipeline.running.run import JobSpec, run_job


def thread_name(_):
    time.sleep(0.05)  # long enough that one thread does not take all of them
    return threading.current_thread().name


def threads_of(tmp_path, cpu_seconds, *arguments):
    """The names of the threads that a job of some tasks runs in."""
    path = str(tmp_path / "threads")

    def construct(pipeline):
        names = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.Map(thread_name)
        return names | beam.io.WriteToText(path, shard_name_template="")

    run_job(construct, list(arguments), JobSpec("test", str(tmp_path), "things", 8, cpu_seconds))
    return set(open(path).read().split())


@pytest.mark.parametrize("flags", [[], ["--impersonate_service_account=a@example.org"]])
def test_views_show_later_changes_and_copies_have_views_of_their_own(flags):
    """Beam leaves the account out of copies, whose views would then not show the values of the copy."""
    options = beam_options(["--direct_num_workers=3", *flags])
    options.view_as(DirectOptions).direct_num_workers = 2
    assert options.view_as(DirectOptions).direct_num_workers == 2
    copy = deepcopy(options)
    copy.view_as(DirectOptions).direct_num_workers = 1
    assert copy.get_all_options()["direct_num_workers"] == 1
    assert options.view_as(DirectOptions).direct_num_workers == 2


def test_a_small_job_runs_in_one_thread(tmp_path):
    assert len(threads_of(tmp_path, 0.1)) == 1


def test_a_job_that_is_worth_it_runs_in_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert len(threads_of(tmp_path, 100.0)) > 1


def test_a_job_whose_tasks_use_all_cores_themselves_runs_in_one_thread(tmp_path):
    assert len(threads_of(tmp_path, 0, "--direct_num_workers=2")) == 1


def test_pictures_are_decoded_by_a_process_per_core_here_and_by_one_elsewhere(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [decoder_count([], seconds) for seconds in (0.1, 3.5, 1000)] == [1, 4, 8]
    assert decoder_count(["--direct_num_workers=3"], 0.1) == 3
    assert decoder_count(["--direct_num_workers=0"], 0.1) == 8
    assert decoder_count(["--runner=prism"], 1000) == 8  # it runs our tasks in this process
    assert decoder_count(["--runner=prism", "--environment_type=DOCKER"], 1000) == 1
    assert decoder_count(["--runner=DataflowRunner"], 1000) == 1


@pytest.mark.parametrize("name", ["DirectRunner", "direct", "Direct", "FnApiRunner", "fnapirunner"])
def test_a_local_runner_may_be_named(name):
    assert is_local([f"--runner={name}"])
    assert local_runner(beam_options([f"--runner={name}"]), 1) is not None


@pytest.mark.parametrize("name", ["PrismRunner", "prism", "FlinkRunner", "BundleBasedDirectRunner"])
def test_other_runners_are_no_local_ones(name):
    assert not is_local([f"--runner={name}"])


def test_a_flag_that_nobody_knows_is_a_usage_error():
    with pytest.raises(UsageError, match="--levls"):
        beam_options(["--levls=3"])


def test_a_negative_number_of_workers_is_a_usage_error():
    with pytest.raises(
        UsageError, match=r"--direct_num_workers -1: expected a positive number, or 0 for one"
    ):
        beam_options(["--direct_num_workers=-1"])


@pytest.mark.parametrize(
    "given", [["b=2"], ["--streaming", "--runner=DirectRunner", "b=2"], ["--project", "p", "b=2"]]
)
def test_a_value_without_a_flag_is_a_usage_error(given):
    with pytest.raises(UsageError, match=r"unexpected argument 'b=2'"):  # --set a=1 b=2
        beam_options(given)


def test_flags_of_other_runners_are_passed_on():
    options = beam_options(["--runner=DataflowRunner", "--project=p", "--num_workers", "7"]).get_all_options()
    assert (options["runner"], options["project"], options["num_workers"]) == ("DataflowRunner", "p", 7)


@pytest.mark.parametrize("name", ["PrismRunner", "prism"])
def test_prism_is_never_downloaded(monkeypatch, name):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"go install .*prism@v"):
        local_runner(beam_options([f"--runner={name}"]), 1)


def test_prism_that_is_there_is_used_without_docker(tmp_path, monkeypatch):
    program = tmp_path / "prism"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    options = beam_options(["--runner=PrismRunner"])
    assert local_runner(options, 1) is None
    reported = options.get_all_options()
    assert (reported["prism_location"], reported["environment_type"]) == (str(program), "LOOPBACK")


def test_flink_s_download_is_reported(caplog):
    local_runner(beam_options(["--runner=FlinkRunner", "--flink_version=1.20"]), 1)
    assert "Flink 1.20" in caplog.text
    caplog.clear()
    local_runner(beam_options(["--runner=FlinkRunner", "--flink_job_server_jar=server.jar"]), 1)
    assert not caplog.text


def test_flink_s_workers_outlive_a_step_unless_the_user_says_how_long():
    kept = beam_options(["--runner=FlinkRunner", "--flink_job_server_jar=server.jar"])
    given = beam_options(["--runner=FlinkRunner", "--flink_job_server_jar=s", "--environment_cache_millis=5"])
    for options in (kept, given):
        local_runner(options, 1)
    assert int(kept.get_all_options()["environment_cache_millis"]) == 60_000
    assert int(given.get_all_options()["environment_cache_millis"]) == 5
