"""Invalid input, by mistake or on purpose, gives a helpful message or a counted rejection."""

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from tests.hostile.conftest import Run, Tiny

# Mistakes in the command or the configuration: exit code 2, before anything is read


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "noise.levels=[0, 1.2]"], "noise: levels must be shares from 0 up to less than 1, got 1.2"),
        (["--set", "noise.levels=[40]"], "40 % is 0.4"),
        (["--set", "noise.level=[0]"], "noise: unknown key 'level'; did you mean 'levels'?"),
        (["--set", "noise.colors=[green]"], "colors[0]: 'green' is not one of red, red-text, red-closed"),
        (["--set", "noise.class_map=vots"], "or 'vots' is not one of next, votes"),
        (["--set", "noise.trials=0"], "noise: trials must be 1 to 10,000, got 0"),
        (["--set", "shards.max_rows=0"], "shards: max_rows must be 1 to 10,000,000, got 0"),
        # An overflow of Arrow in a task, before there was this limit.
        (["--set", "shards.max_megabytes=1025"], "shards: max_megabytes must be 1 to 1,024, got 1025"),
        (["--set", "noise.class_map={ant: dog}"], "class_map names 'dog', which is not in classes"),
        (["--set", "classes=[ant]"], "classes must name two or more classes, got 1; add one"),
        (["--set", "classes=[ant, bee, ant]"], "classes lists 'ant' twice; remove one"),
        (["--set", "noise.class_map={ant: ant}"], "class_map maps 'ant' to itself; give another class or remove"),
        (["--set", "seed=9223372036854775808"], "seed: expected a 64-bit integer"),
        (["--set", "clean=clean.csv"], "clean: expected a list, got 'clean.csv'"),
        (["--set", "ingest.size=big"], "ingest.size: expected int, got 'big'"),
        (["--set", "fetch.concurrency=0"], "fetch: concurrency must be more than 0, got 0"),
        (["--set", "ingest.preset=tdfs"], "ingest.preset: 'tdfs' is not one of tfds, follow-ups"),
        (["--set", "ingest.max_rejected_share=40"], "ingest: max_rejected_share is a share from 0 to 1, got 40"),
        (["--set", "seed"], "--set 'seed': expected KEY=VALUE"),
        (["--levels", "0.2"], "unknown flag --levels; did you mean --"),
        (["--forse"], "unknown flag --forse"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_a_usage_error(run: Run, tiny: Tiny, flags: list[str], message: str) -> None:
    result = run("build", *flags)
    assert result.code == 2
    assert message in result.error
    assert "Traceback" not in result.error
    assert not (tiny.folder.parent / "out").exists()


def test_a_missing_key_is_reported_with_the_remedy(run: Run, tiny: Tiny) -> None:
    del tiny.config["votes"]
    result = run("build")
    assert result.code == 2
    assert "build.yaml: the key 'votes' is missing; give it in the file or with --set votes=…" in result.error


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (b"classes: [ant, bee", 2, "bad.yaml: while parsing a flow sequence"),
        (b"just words", 2, "bad.yaml: expected keys and values at the top level"),
        (b"", 2, "bad.yaml: expected keys and values at the top level"),
        (b"name: \xe9", 1, "bad.yaml: not UTF-8 text"),
        (b"!!python/object/apply:os.system [echo]", 2, "could not determine a constructor"),
        (None, 1, "bad.yaml: no such file; check the path"),
    ],
)
def test_an_invalid_configuration_file_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes | None, code: int, message: str
) -> None:
    if text is not None:
        (tmp_path / "bad.yaml").write_bytes(text)
    assert main(["build", "--config", str(tmp_path / "bad.yaml"), "--output", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["bild"], ["build"], ["build", "--config", "x.yaml"], ["verify"], ["verify", "x", "--fast"]],
)
def test_an_incomplete_command_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(str(stopped.code))
    assert code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "reported"),
    [("verify", "no build has finished here"), ("report", "the ingest stage has not finished here")],
)
def test_an_empty_folder_is_reported(
    verb: str, reported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(tmp_path)]) == 1
    assert reported in capsys.readouterr().err


# Unreadable files: exit code 1, before a job starts


def rename_column(tiny: Tiny, name: str, old: str, new: str) -> None:
    tiny.lists[name] = [{new if key == old else key: v for key, v in row.items()} for row in tiny.lists[name]]


def test_a_missing_column_is_reported_with_the_nearest_name(run: Run, tiny: Tiny) -> None:
    rename_column(tiny, "web", "class_name", "class_nmae")
    result = run("ingest")
    assert result.code == 1
    assert (
        "web.csv: a retrieval table needs the column 'class_name' (did you mean 'class_nmae'? rename it)"
        in result.error
    )
    assert "Traceback" not in result.error


def test_a_missing_list_is_reported(run: Run, tiny: Tiny) -> None:
    tiny.config["web"] = ["wbe.csv"]
    result = run("ingest")
    assert result.code == 1
    assert "wbe.csv: no such file; check the path, and 'source' in the configuration" in result.error


def test_a_list_without_rows_is_reported(run: Run, tiny: Tiny) -> None:
    tiny.config["web"] = ["empty.csv"]
    (tiny.folder / "empty.csv").write_text("")
    assert "empty.csv: the file is empty" in run("ingest").error
    (tiny.folder / "empty.csv").write_text("image_id,class_name,path\n")
    result = run("ingest")
    assert (result.code, "the file has a header line but no rows" in result.error) == (1, True)


@pytest.mark.parametrize("verb", ["aggregate", "dedupe", "split"])
def test_a_stage_without_its_input_names_the_stage_to_run(run: Run, verb: str) -> None:
    result = run(verb)
    assert result.code == 1
    assert (
        "the ingest stage has not finished here; run `python -m pipeline ingest` (or build)" in result.error
    )


# Bad rows: counted rejections, or exit code 1 if there are too many


def damage_the_web_list(tiny: Tiny) -> Counter[str]:
    """Add one bad row of each sort; return the expected count of each code."""
    folder, rows = tiny.folder, tiny.lists["web"]
    image = (folder / "web-ant-0.png").read_bytes()
    noise = np.random.default_rng(0).bytes(100)
    (folder / "cut.png").write_bytes(image[: len(image) // 2])
    (folder / "page.jpg").write_bytes(b"<!DOCTYPE html><title>404</title>")
    (folder / "random.png").write_bytes(noise)
    (folder / "empty.png").write_bytes(b"")
    (folder.parent / "secret.png").write_bytes(image)
    expected: Counter[str] = Counter()

    def bad(code: str, **values: object) -> None:
        rows.append({"image_id": f"bad-{len(rows)}", "class_name": "ant", "path": "web-ant-0.png"} | values)
        expected[code] += 1

    bad("unknown_class", class_name="dragon")
    bad("conflicting_id", image_id="web-ant-1")
    bad("duplicate_row", image_id="web-ant-0")
    bad("missing_value", path="")
    bad("bad_id", image_id="../../etc/passwd")
    bad("bad_id", image_id="two\nlines")
    bad("bad_id", image_id="x" * 300)
    bad("bad_location", path="../secret.png")
    bad("bad_location", path="/etc/passwd")
    bad("bad_location", path="a" * 100_000)
    bad("bad_location", path="", url="file:///etc/passwd")
    bad("private_address", path="", url="http://169.254.169.254/latest/meta-data/")
    bad("not_found", path="missing.png")
    bad("truncated", path="cut.png")
    bad("not_an_image", path="page.jpg")
    bad("not_an_image", path="random.png")
    bad("empty", path="empty.png")
    return expected


def damage_the_votes(tiny: Tiny) -> Counter[str]:
    """Add one bad vote of each sort; return the expected count of each code."""
    good = tiny.lists["votes"][0]
    tiny.lists["votes"] += [
        good | {"image_id": "nobody-knows"},
        good | {"class_name": "bee"},
        good | {"answer": "yes"},
        good | {"worker_id": "w9", "answer": "perhaps"},
        good | {"worker_id": ""},
    ]
    return Counter(unknown_image=2, duplicate_vote=1, unknown_answer=1, missing_value=1)


def rejected(counts: dict[str, int]) -> dict[str, int]:
    return {key.removeprefix("rejected_"): n for key, n in counts.items() if key.startswith("rejected_")}


def rejections(folder: Path) -> list[dict[str, str]]:
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_every_bad_row_and_vote_is_a_counted_rejection_with_its_location(run: Run, tiny: Tiny) -> None:
    good_rows = sum(len(tiny.lists[name]) for name in ("clean", "test", "web"))
    good_votes = len(tiny.lists["votes"])
    expected, expected_votes = damage_the_web_list(tiny), damage_the_votes(tiny)

    counts = run("ingest", "--set", "ingest.max_rejected_share=0.9").counts("ingest")
    assert rejected(counts) == expected
    assert counts["rows"] == counts["images"] == good_rows
    assert counts["rows_in"] == counts["rows"] + expected.total()

    result = rejections(tiny.folder.parent / "out" / "ingest" / "rejections")
    with (tiny.folder / "web.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert len(result) == expected.total()
    assert {row["location"].split(":")[0] for row in result} == {"web.csv"}
    (conflict,) = [row for row in result if row["code"] == "conflicting_id"]
    assert lines[int(conflict["location"].split(":")[1]) - 1][0] == "web-ant-1"
    assert conflict["detail"] == "the id was first given in web.csv:3"
    assert all(str(row["image_id"]).isprintable() for row in result)

    counts = run("aggregate", "--set", "aggregate.max_rejected_share=0.9").counts("aggregate")
    assert rejected(counts) == expected_votes
    assert counts["votes_in"] == good_votes + expected_votes.total()
    assert counts["no"] == len(tiny.lists["votes"][:good_votes]) / 3
    assert counts["workers"] == 3

    result = rejections(tiny.folder.parent / "out" / "aggregate" / "rejections")
    assert {row["location"] for row in result} == {f"votes.csv:{good_votes + 2 + i}" for i in range(5)}


def test_too_many_bad_rows_fail_the_build_and_keep_the_rejections(run: Run, tiny: Tiny) -> None:
    for row in tiny.lists["web"]:
        row["class_name"] = "dragon"
    result = run("build", "--set", "ingest.max_rejected_share=0.2")
    assert result.code == 1
    out = tiny.folder.parent / "out"
    assert (
        "6 of 15 rows were rejected (6 unknown_class), more than ingest.max_rejected_share = 0.2; inspect"
        in result.error
    )
    assert "correct the input or raise the limit" in result.error
    assert re.search(r"Example: web\.csv:\d, web-\S+, dragon: ", result.error)
    assert len(rejections(out / "ingest" / "rejections")) == 6
    assert not (out / "labels").exists()

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (out / "ingest").rglob("*.*")}

    before = times()
    result = run("ingest", "--set", "ingest.max_rejected_share=0.5")
    assert result.code == 1  # 40 % of all rows, but all rows of this list
    assert "6 of 6 rows of web.csv were rejected (6 unknown_class)" in result.error
    assert run("ingest", "--set", "ingest.max_rejected_share=1").code == 0
    assert times() == before  # nothing is fetched or decoded again


@pytest.mark.parametrize("name", ["clean", "test"])
def test_a_class_with_all_images_rejected_fails_the_build(run: Run, tiny: Tiny, name: str) -> None:
    lost = [row for row in tiny.lists[name] if row["class_name"] == "bee"]
    for row in lost:
        row["path"] = "nowhere.png"
    others = [row | {"image_id": f"more-{name}-{i}"} for i in range(9) for row in tiny.lists[name][:1]]
    tiny.lists[name] += others  # keep the list as a whole within the limit
    result = run("ingest")
    assert result.code == 1
    count = len(lost)
    assert (
        f"{count} of {count} {name} rows of class bee were rejected ({count} not_found), more than "
        "ingest.max_rejected_share = 0.5; inspect"
    ) in result.error
    assert re.search(rf"Example: {name}\.csv:\d+, {name}-bee-\d, bee: ", result.error)


@pytest.fixture
def ingested(run: Run, tiny: Tiny) -> Tiny:
    assert run("ingest").code == 0
    return tiny


def test_too_many_bad_votes_fail_the_build(run: Run, ingested: Tiny) -> None:
    votes = ingested.folder / "votes.csv"
    header = "image_id,class_name,worker_id,answer\n"

    def error(text: str) -> str:
        ingested.lists.pop("votes", None)
        votes.write_text(text)
        result = run("aggregate")
        assert result.code == 1
        assert "Traceback" not in result.error
        return result.error

    assert "votes.csv: the file is empty" in error("")
    assert "votes.csv: the file has a header line but no rows" in error(header)
    assert "a vote table needs the column 'answer' (did you mean 'anwser'? rename it)" in error(
        header.replace("answer", "anwser") + "web-ant-0,ant,w1,no\n"
    )
    message = error(header + "web-ant-0,ant,w1,perhaps\nweb-ant-0,ant,w2,no\n")
    assert (
        "1 of 2 votes were rejected (1 unknown_answer), more than aggregate.max_rejected_share = 0.1"
        in message
    )
    assert "votes.csv:2, web-ant-0, ant: answer 'perhaps'; use yes, no or unsure" in message


def test_an_invalid_vote_file_is_reported_before_fetching(run: Run, tiny: Tiny) -> None:
    tiny.lists.pop("votes", None)
    (tiny.folder / "votes.csv").write_text("image,label,worker,answer\n")
    result = run("build")
    assert (result.code, "a vote table needs the column 'image_id'" in result.error) == (1, True)
    assert not (tiny.folder.parent / "out").exists()


def test_a_missing_shard_is_reported(run: Run, ingested: Tiny) -> None:
    for shard in (ingested.folder.parent / "out" / "ingest" / "images").glob("*.parquet"):
        shard.unlink()
    result = run("dedupe")
    assert result.code == 1
    assert "no such file" in result.error


def test_an_output_folder_that_is_a_file_is_reported(run: Run, tiny: Tiny) -> None:
    (tiny.folder.parent / "out").write_text("I am a file")
    result = run("ingest")
    assert result.code == 1
    assert "cannot create the folder" in result.error
    assert "Traceback" not in result.error


def test_a_missing_source_folder_is_reported(run: Run, tiny: Tiny) -> None:
    tiny.config["source"] = str(tiny.folder / "nowhere")
    result = run("ingest")
    assert (result.code, "no such file; check the path, and 'source'" in result.error) == (1, True)
