import json
import shutil

import yaml

from pipeline.__main__ import main
from pipeline.shards.card import dataset_card
from schemas.example import EXAMPLE
from tests.pipeline.built_tables import digests, read, rows
from tests.pipeline.small_world import CLASSES, CLEAN, TEST, WEB, build, write_csv


def test_another_runner_writes_the_same_bytes(world, built, tmp_path):
    arguments = ["--config", str(world.config), "--output", str(tmp_path / "other")]
    assert main(["build", *arguments, "--runner=BundleBasedDirectRunner"]) == 0
    assert digests(tmp_path / "other" / "dataset") == digests(built / "dataset")


def test_two_processes_write_the_same_bytes_as_one(world, built, tmp_path):
    assert build(world, tmp_path / "two", "--direct_num_workers=2") == 0
    assert digests(tmp_path / "two") == digests(built)


def test_licenses_and_creators_of_web_images_are_in_the_examples_and_the_card(built):
    result = rows(built / "dataset" / "red-0.50")
    web = {image: row for image, row in result.items() if row["source"] == "web"}
    assert len(web) == 30
    for image, row in result.items():
        number = int(image.rsplit("-", 1)[1])
        expected = ("CC BY 4.0" if number % 2 else None, f"artist {number}") if image in web else (None, None)
        assert (row["license"], row["creator"]) == expected
    used = {
        image
        for folder in built.glob("dataset/red*")
        for image, row in rows(folder).items()
        if row["source"] == "web"
    }
    licensed = sum(int(image.rsplit("-", 1)[1]) % 2 for image in used)
    text = (built / "dataset" / "README.md").read_text()
    assert f"| CC BY 4.0 | {licensed} |" in text
    assert f"| unknown | {len(used) - licensed} |" in text


def test_names_of_licenses_cannot_break_the_card():
    text = dataset_card(
        "set",
        {},
        {},
        {
            "funnel": {},
            "licenses": {"<b>|[x](http://y)\n": 3, "": 1},
            "leaks": {"clean_leaks": "remove", "search": ""},
        },
    )
    assert "| \\<b\\>\\|\\[x\\](http://y)� | 3 |" in text


def test_flipped_labels_need_neither_web_images_nor_votes(world, tmp_path):
    config = yaml.safe_load(world.config.read_text())
    config |= {"web": [], "votes": [], "noise": {"levels": [0.5], "colors": ["blue"]}}
    path, output = tmp_path / "blue.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(config))
    assert main(["build", "--config", str(path), "--output", str(output), "--direct_num_workers=1"]) == 0
    assert (
        read(output / "dataset" / "blue-0.50")["is_clean"].to_pylist().count(False)
        == CLEAN * len(CLASSES) / 2
    )


def test_the_metrics_of_every_stage_agree_with_what_it_wrote(built):
    reported = {
        name: json.loads((built / "metrics" / f"{name}.json").read_text())
        for name in ("ingest", "aggregate", "dedupe", "split")
    }
    manifest = json.loads((built / "ingest" / "images" / "_manifest.json").read_text())
    counters = reported["ingest"]["counters"]
    assert counters["image.rows"] == manifest["rows"]
    assert counters["image.bytes"] == sum(shard["bytes"] for shard in manifest["shards"])
    assert reported["ingest"]["distributions"]["IngestBucket.milliseconds"]["count"] > 1
    assert reported["aggregate"]["counters"]["verdict.votes_in"] == 405


def test_the_order_of_rows_and_lists_changes_no_shard(world, built, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(world.folder, mixed)
    for name in ("clean", "test", "web", "votes"):
        header, *lines = (world.folder / f"{name}.csv").read_text().splitlines()
        (mixed / f"{name}.csv").write_text("\n".join([header, *lines[::-1]]) + "\n")
    config = yaml.safe_load(world.config.read_text()) | {"source": str(mixed)}
    (mixed / "build.yaml").write_text(yaml.safe_dump(config))
    arguments = [
        "--config",
        str(mixed / "build.yaml"),
        "--output",
        str(tmp_path / "out"),
        "--direct_num_workers=1",
    ]
    assert main(["build", *arguments]) == 0
    shards = {k: v for k, v in digests(tmp_path / "out" / "dataset").items() if k.endswith(".parquet")}
    assert shards == {k: v for k, v in digests(built / "dataset").items() if k.endswith(".parquet")}


def test_every_row_is_an_image_or_a_rejection(built):
    def manifest(name):
        return json.loads((built / "ingest" / name / "_manifest.json").read_text())

    rows_in = manifest("retrievals")["about"]["counts"]["rows_in"]
    assert rows_in == 3 * (CLEAN + TEST + WEB)
    assert manifest("retrievals")["rows"] + manifest("rejections")["rows"] == rows_in


def test_planted_near_duplicates_are_found(world, built):
    duplicates = {row["image_id"]: row for row in read(built / "dedupe" / "duplicates").to_pylist()}
    assert duplicates[world.leak]["reason"] == "leak"
    assert duplicates[world.leak]["keeper_id"] == "test-ant-0"
    assert duplicates[world.double]["reason"] == "exact"
    assert len(duplicates) == 2
    verdicts = {row["image_id"]: row for row in read(built / "aggregate" / "verdicts").to_pylist()}
    assert verdicts[world.tie]["verdict"] == "undecided"
    sets = [path.name for path in (built / "dataset").iterdir() if path.is_dir() and path.name != "test"]
    for name in sets:
        assert not {world.leak, world.double, world.tie} & rows(built / "dataset" / name).keys()


def test_red_replaces_images_and_keeps_labels(built):
    clean, red = rows(built / "dataset" / "red-0.00"), rows(built / "dataset" / "red-0.50")
    assert len(red) == len(clean) == 3 * CLEAN
    noisy = [row for row in red.values() if not row["is_clean"]]
    assert len(noisy) == 30
    for row in noisy:
        assert row["source"] == "web"
        assert row["votes_no"] > row["votes_yes"]
        assert clean[row["replaced_image_id"]]["label"] == row["label"]
        assert row["replaced_image_id"] not in red
    for name in range(len(CLASSES)):
        assert sum(row["label"] == name for row in noisy) == 10


def test_blue_keeps_images_and_flips_labels(built):
    clean, blue = rows(built / "dataset" / "blue-0.00"), rows(built / "dataset" / "blue-0.50")
    assert blue.keys() == clean.keys()
    for image_id, row in blue.items():
        assert row["true_label"] == clean[image_id]["label"]
        assert row["is_clean"] == (row["label"] == row["true_label"])
    red = rows(built / "dataset" / "red-0.50")
    assert {i for i, row in blue.items() if not row["is_clean"]} == {
        row["replaced_image_id"] for row in red.values()
    } - {None}


def test_red_text_uses_no_image_found_by_image(built):
    noisy = [row for row in rows(built / "dataset" / "red-text-0.50").values() if not row["is_clean"]]
    assert {row["method"] for row in noisy} == {"text"}
    assert len(noisy) == 30


def test_the_test_set_is_whole_and_of_the_same_form(built):
    assert len(rows(built / "dataset" / "test")) == 3 * TEST
    for name in ("test", "red-0.20"):
        assert read(built / "dataset" / name).schema.names == EXAMPLE.schema.names


def test_stages_that_are_up_to_date_do_not_run(world, tmp_path, monkeypatch):
    output = tmp_path / "out"
    assert build(world, output) == 0
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    assert build(world, output) == 0
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == times

    # Other levels: the split alone is made anew, and sets that are no longer asked for go.
    assert build(world, output, "--set", "noise.levels=[0, 0.3]") == 0
    changed = {
        p.relative_to(output).parts[0]
        for p in output.rglob("*")
        if p.is_file() and times.get(p) != p.stat().st_mtime_ns
    }
    assert changed == {"split", "dataset", "metrics"}
    assert {p.name for p in (output / "dataset").glob("red-*")} == {
        "red-0.00", "red-0.30", "red-text-0.00", "red-text-0.30",
    }  # fmt: skip
    assert main(["verify", str(output / "dataset")]) == 0


def test_a_shortage_stops_the_build_and_names_the_class(world, tmp_path, capsys):
    few = [
        r
        for r in (world.folder / "web.csv").read_text().splitlines()[1:]
        if "cow" not in r or int(r.split("-")[2].split(",")[0]) < 20
    ]
    keys = (world.folder / "web.csv").read_text().splitlines()[0].split(",")
    for name, lines in {"few": few, "none": [line for line in few if "cow" not in line]}.items():
        write_csv(
            world.folder / f"{name}.csv", [dict(zip(keys, line.split(","), strict=True)) for line in lines]
        )
    arguments = [
        "--set",
        "web=[few.csv]",
        "--set",
        "aggregate.max_rejected_share=1",
        "--set",
        "noise.colors=[red, blue]",
    ]
    assert build(world, tmp_path / "a", *arguments) == 1
    error = capsys.readouterr().err
    assert "cow: has 5 wrong images, 10 are needed" in error
    assert "up to 0.25" in error
    # … and the other two policies go on; blue follows red.
    assert build(world, tmp_path / "a", *arguments, "--set", "noise.on_shortage=shrink") == 0
    assert {len(rows(tmp_path / "a" / "dataset" / f"{c}-0.50")) for c in ("red", "blue")} == {50}
    assert main(["verify", str(tmp_path / "a" / "dataset")]) == 0
    # A class without wrong images would go, with its clean ones: that has to be asked for.
    arguments[1] = "web=[none.csv]"
    shrink = [*arguments, "--set", "noise.on_shortage=shrink"]
    assert build(world, tmp_path / "b", *shrink) == 1
    assert "red-0.20 would have no clean image of cow" in capsys.readouterr().err
    assert build(world, tmp_path / "b", *shrink, "--set", "noise.allow_empty_classes=[cow]") == 0
    assert "warning: red-0.50 has no clean image of cow" in capsys.readouterr().out
    dataset = tmp_path / "b" / "dataset"
    assert "- red-0.50: cow" in (dataset / "README.md").read_text()
    for name in ("red-0.50", "blue-0.50"):
        assert json.loads((dataset / name / "_manifest.json").read_text())["about"][
            "classes_without_clean"
        ] == ["cow"]
    assert main(["verify", str(dataset)]) == 0
    arguments[1] = "web=[few.csv]"
    assert build(world, tmp_path / "a", *arguments, "--set", "noise.on_shortage=cap") == 0
    assert "(noise.on_shortage: cap): red-0.50 41.7 %" in capsys.readouterr().out
    assert len(rows(tmp_path / "a" / "dataset" / "red-0.50")) == 60
    assert main(["verify", str(tmp_path / "a" / "dataset")]) == 0
