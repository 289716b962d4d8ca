"""Missing packages and unreachable paths of workers are reported before a job is submitted."""

from pathlib import Path

import pytest

from common.errors import UsageError
from pipeline.running.options import beam_options
from pipeline.running.worker_setup import check_workers, runs_in_containers

ROOT = Path(__file__).parents[3]
CLOUD = {"--output": "gs://bucket/out", "source": "gs://bucket/lists"}
PACKAGED = [f"--setup_file={ROOT}/setup.py", f"--requirements_file={ROOT}/requirements-dataflow.txt"]
IMAGE = "--sdk_container_image=registry/image"


@pytest.mark.parametrize(
    ("flags", "contained"),
    [
        ([], False), (["--runner=direct", "--environment_type=DOCKER"], False), (["--runner=dataflow"], True),
        (["--runner=portable"], True), (["--runner=portable", "--environment_type=LOOPBACK"], False),
        (["--runner=prism"], False), (["--runner=prism", "--environment_type=docker"], True),
        (["--runner=flink"], False), (["--runner=flink", "--flink_master=[auto]"], False),
        (["--runner=flink", "--flink_master=host:8081"], True),
        (["--runner=flink", "--flink_master=host:8081", "--environment_type=EXTERNAL"], False),
        (["--runner=spark"], False), (["--runner=spark", "--spark_master_url=local[2]"], False),
        (["--runner=spark", "--spark_master_url=spark://host:7077"], True),
        (["--runner=spark", "--spark_master_url=spark://host:7077", "--environment_type=PROCESS"], False),
    ],
)  # fmt: skip
def test_where_tasks_run_follows_from_the_flags_and_the_defaults_of_each_runner(flags, contained):
    assert runs_in_containers(beam_options(flags)) == contained


@pytest.mark.parametrize("runner", ["--runner=dataflow", "--runner=portable"])
@pytest.mark.parametrize("key", list(CLOUD))
@pytest.mark.parametrize("path", ["/data/x", "x", ""])
def test_a_path_of_this_machine_is_refused_where_tasks_cannot_reach_it(runner, key, path):
    with pytest.raises(UsageError, match=rf"^{key} {path}: .*cannot reach a local path.*gs://"):
        check_workers(beam_options([runner, IMAGE]), {**CLOUD, key: path})


@pytest.mark.parametrize("flags", [[], ["--runner=prism"], ["--runner=flink", "--environment_type=EXTERNAL"]])
def test_a_path_of_this_machine_is_accepted_where_tasks_may_reach_it(flags):
    check_workers(beam_options(flags), {"--output": "out", "source": "/data"})


@pytest.mark.parametrize(
    "flags",
    [
        PACKAGED, [IMAGE], ["--worker_harness_container_image=registry/image"],
        [PACKAGED[1], "--extra_package={wheel}"], ["--requirements_file={ours}"],
    ],
)  # fmt: skip
def test_our_package_reaches_the_workers_in_several_ways(flags, tmp_path):
    wheel, ours = tmp_path / "controlled_noise-0.1.0-py3-none-any.whl", tmp_path / "requirements.txt"
    wheel.touch()
    ours.write_text("# workers\n-c constraints.txt\nControlled.Noise[gcp]==0.1.0  # pinned\ngcsfs>=2026.4\n")
    given = [flag.format(wheel=wheel, ours=ours) for flag in flags]
    check_workers(beam_options(["--runner=dataflow", *given]), CLOUD)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            [],
            "lack the package controlled-noise, because no flag installs it; from a checkout add --setup_file",
        ),
        ([PACKAGED[1]], "lack the package controlled-noise"),
        (["--setup_file={other}"], "other/setup.py packages another project"),
        ([PACKAGED[0]], "lack gcsfs.*--requirements_file requirements-dataflow.txt"),
        ([PACKAGED[0], "--requirements_file={others}"], "lack gcsfs"),
        (["--setup_file=./none/setup.py"], r"--setup_file ./none/setup.py: no such file"),
        (["--requirements_file=none.txt"], "--requirements_file none.txt: no such file"),
        (["--extra_packages=none.whl"], "--extra_package none.whl: no such file"),
        (["--setup_file={folder}"], "no such file"),
    ],
)
def test_what_the_workers_would_lack_is_reported_with_the_remedy(flags, words, tmp_path):
    other, others = tmp_path / "other" / "setup.py", tmp_path / "others.txt"
    other.parent.mkdir()
    other.touch()
    others.write_text("numpy\n")
    given = [flag.format(other=other, others=others, folder=tmp_path) for flag in flags]
    with pytest.raises(UsageError, match=words):
        check_workers(beam_options(["--runner=dataflow", *given]), CLOUD)


def test_every_scheme_needs_its_library():
    with pytest.raises(UsageError, match="lack s3fs"):
        check_workers(
            beam_options(["--runner=dataflow", *PACKAGED]), {**CLOUD, "source": "s3://bucket/lists"}
        )
