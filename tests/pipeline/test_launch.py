"""A wrong launch is refused before any file changes, and a dry run changes no file."""

import json
import shutil
from pathlib import Path

import pytest

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.running.dataflow_jobs import unfinished_jobs
from pipeline.running.job_record import JobRecord, read_records

VERBS = ("fetch", "ingest", "aggregate", "dedupe", "split", "build")
DEAD = "127.0.0.1:1"

WRONG = [
    (["--runner=DirctRunner"], 2, "did you mean DirectRunner?"),
    (["--runner=PortableRunner"], 2, "add --job_endpoint"),
    (["--runner=PortableRunner", f"--job_endpoint={DEAD}"], 2, "no answer within"),
    (["--runner=FlinkRunner", f"--flink_master={DEAD}"], 2, "no answer within"),
    (["--runner=FlinkRunner", "--environment_type=DOCKER"], 2, "cannot reach a local path"),
    (["--runner=DataflowRunner", "--project=p"], 2, "cannot reach a local path"),
    (["--runner=PrismRunner", "--prism_location=none"], 2, "no such file"),
    (["--runner=no.such.Runner"], 2, "cannot be loaded"),
    (["--runner=json.JSONDecoder"], 2, "cannot be loaded"),
    (["--runner=FnApiRunner", "--environment_type=EXTERNAL"], 2, "external_service_address"),
    (["--direct_num_workers=x"], 2, "invalid int value: 'x'"),
    (["--levls=3"], 2, "unknown flag --levls"),
    (["b=2"], 2, "unexpected argument 'b=2'"),
    (["--template_location=t.json"], 2, "template"),
    (["--on-interrupt=detach"], 2, "only jobs on Dataflow"),
    (["--setup_file=none/setup.py"], 2, "no such file"),
]


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def command(world, built, tmp_path_factory):
    """A good build of one's own, and the flags that name it."""
    output = Path(shutil.copytree(built, tmp_path_factory.mktemp("launch") / "out"))
    return output, ["--config", str(world.config), "--output", str(output)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_launch_changes_no_file(verb, command, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.running.endpoints.ANSWER_SECONDS", 0.3)
    output, flags = command
    before = snapshot(output)
    for wrong, code, words in WRONG:
        assert main([verb, *flags, "--force", *wrong]) == code, wrong
        assert words in capsys.readouterr().err, wrong
        assert snapshot(output) == before, wrong


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("build", "run a stage, such as ingest, instead of build"),
        ("ingest", "only Dataflow supports templates"),
    ],
)
def test_a_template_is_one_stage(command, verb, words, capsys):
    assert main([verb, *command[1], "--template_location=t.json"]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("web=[absent.csv]", "absent.csv"),
        ("votes=[absent.csv]", "absent.csv"),
        ("noise.fixed_sets=[absent.csv]", "absent.csv"),
    ],
)
def test_a_missing_list_of_any_stage_is_an_error_before_the_first_stage_runs(command, value, words, capsys):
    output, flags = command
    before = snapshot(output)
    assert main(["build", *flags, "--force", "--set", value]) == 1
    assert words in capsys.readouterr().err
    assert snapshot(output) == before


@pytest.mark.parametrize("spelling", ["--dry-run", "--dry_run"])
def test_a_dry_run_of_a_new_build_writes_nothing(world, tmp_path, spelling, capsys):
    output = tmp_path / "out"
    assert (
        main(["build", "--config", str(world.config), "--output", str(output), spelling, "--experiment=a"])
        == 0
    )
    reported = capsys.readouterr().out
    assert reported.startswith("dry run: nothing is written or submitted\nrunner    FnApiRunner\n")
    assert "experiments=['a'" in reported
    assert f"writes {output}/ingest/images" in reported
    assert f"reads  {world.folder}/votes.csv" in reported
    assert not output.exists()


def test_a_dry_run_shows_which_stages_are_up_to_date(command, capsys):
    output, flags = command
    before = snapshot(output)

    def states(*more: str) -> dict[str, str]:
        assert main([*more, "--dry-run", "--json"]) == 0
        return {name: stage["state"] for name, stage in json.loads(capsys.readouterr().out)["stages"].items()}

    done = "up to date"
    assert states("build", *flags) == dict.fromkeys(("ingest", "aggregate", "dedupe", "split"), done)
    changed = states("build", *flags, "--set", "aggregate.min_votes=2")
    follows = "would run unless the earlier stages leave its inputs unchanged"
    assert changed == {"ingest": done, "aggregate": "would run", "dedupe": done, "split": follows}
    assert states("build", *flags, "--force") == dict.fromkeys(
        ("ingest", "aggregate", "dedupe", "split"), "would run"
    )
    assert states("fetch", *flags) == {}
    for verb in ("ingest", "aggregate", "dedupe", "split"):
        assert states(verb, *flags) == {verb: done}
    assert snapshot(output) == before


def test_a_dry_run_shows_no_secrets(command, capsys):
    _, flags = command
    assert main(["build", *flags, "--dry-run", "--s3_secret_access_key=hush", "--s3_session_token=hush"]) == 0
    reported = capsys.readouterr().out
    assert "s3_secret_access_key=***" in reported
    assert "hush" not in reported


@pytest.mark.parametrize(
    ("more", "code"),
    [([], 0), (["--force"], 2), (["--set", "ingest.size=20"], 2)],
    ids=["up to date", "force", "other"],
)
def test_a_stage_that_will_write_is_refused_while_another_job_may_run(command, capsys, more, code):
    output, flags = command
    record = JobRecord("dedupe", "key", "id-1", "p", "r", f"http://{DEAD}", "https://console", "SUBMITTED")
    record.write(str(output))
    before = snapshot(output)
    try:
        assert main(["ingest", *flags, "--direct_num_workers=1", *more]) == code
        refused = "job id-1 of stage dedupe may still be running" in capsys.readouterr().err
    finally:
        Path(output / "jobs" / "dedupe.json").unlink()
    assert refused == bool(code)
    assert before.items() >= snapshot(output).items()


def test_records_of_jobs_are_read_as_they_were_written(tmp_path):
    record = JobRecord("aggregate", "key", "id-1", "p", "r", "https://x", "https://console", "SUBMITTED")
    record.write(str(tmp_path))
    assert list(read_records(str(tmp_path))) == unfinished_jobs(str(tmp_path)) == [record]
    record.write(str(tmp_path), "DONE")
    assert not unfinished_jobs(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": 1}'])
def test_the_error_for_a_damaged_record_has_a_remedy(tmp_path, text):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "label.json").write_text(text)
    with pytest.raises(DataError, match=r"label.json: damaged .*delete the file"):
        list(read_records(str(tmp_path)))
