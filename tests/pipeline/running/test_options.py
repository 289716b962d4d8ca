import os

import apache_beam as beam
import pytest

from pipeline.running.options import beam_options, local_runner
from pipeline.running.run import Work, run_job
from schemas.errors import UsageError


def process_id(_):
    return os.getpid()


def where_it_runs(tmp_path, cpu_seconds, *arguments):
    path = str(tmp_path / "pids")

    def construct(pipeline):
        pids = pipeline | beam.Create([1]) | beam.Map(process_id) | beam.Map(str)
        return pids | beam.io.WriteToText(path, shard_name_template="")

    run_job(construct, list(arguments), Work("test", str(tmp_path), "things", 1, cpu_seconds))
    return int(open(path).read())


def test_a_small_job_runs_in_this_process(tmp_path):
    assert where_it_runs(tmp_path, 0.1) == os.getpid()


def test_worker_processes_are_other_processes(tmp_path):
    assert where_it_runs(tmp_path, 0.1, "--direct_num_workers=2") != os.getpid()


def test_a_flag_that_nobody_knows_is_a_usage_error():
    with pytest.raises(UsageError, match="--levls"):
        beam_options(["--levls=3"])


@pytest.mark.parametrize(
    "given", [["b=2"], ["--streaming", "--runner=DirectRunner", "b=2"], ["--project", "p", "b=2"]]
)
def test_a_value_without_a_flag_is_a_usage_error(given):
    with pytest.raises(UsageError, match=r"'b=2' belongs to no flag"):  # --set a=1 b=2
        beam_options(given)


def test_flags_of_other_runners_are_passed_on():
    options = beam_options(["--runner=DataflowRunner", "--project=p", "--num_workers", "7"]).get_all_options()
    assert (options["runner"], options["project"], options["num_workers"]) == ("DataflowRunner", "p", 7)


def test_prism_is_never_downloaded(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"go install .*prism@v"):
        local_runner(beam_options(["--runner=PrismRunner"]), 1)


def test_prism_that_is_there_is_used_without_docker(tmp_path, monkeypatch):
    program = tmp_path / "prism"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    options = beam_options(["--runner=PrismRunner"])
    assert local_runner(options, 1) is None
    told = options.get_all_options()
    assert (told["prism_location"], told["environment_type"]) == (str(program), "LOOPBACK")


def test_flink_s_download_is_told(caplog):
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
