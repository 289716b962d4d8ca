"""Import of the released archive and build of its sets, which must equal the released splits."""

import dataclasses
import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from pipeline.__main__ import main
from tests.pipeline.published import released as release
from tests.pipeline.small_world import CLASSES, ONE_PROCESS

QUICK = ("--set", "noise.levels=[0, 0.4]", "--set", "noise.clean_per_class=5", "--set", "shards.max_rows=16")


@pytest.fixture(scope="module")
def made():
    return release.released()


@pytest.fixture(scope="module")
def place(made, tmp_path_factory):
    """A folder with the archive, images beside it, and the finished import."""
    folder = tmp_path_factory.mktemp("cnwl")
    release.write_images(made, folder / "mini-imagenet")
    release.write_zip(made, folder / "dataset_no_images.zip")
    assert run_import(folder) == 0
    return folder


@pytest.fixture(scope="module")
def dataset(place):
    config, output = str(place / "lists" / "build.yaml"), str(place / "out")
    assert main(["build", "--config", config, "--output", output, ONE_PROCESS, *QUICK]) == 0
    return place / "out" / "dataset"


def run_import(folder, *more, archive="dataset_no_images.zip"):
    return main(
        ["import-cnwl", str(folder / archive), "--images", str(folder / "mini-imagenet"),
         "--output", str(folder / "lists"), *more]
    )  # fmt: skip


def examples(folder):
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("train-*.parquet")))


def test_the_released_splits_come_out_exactly_as_listed(dataset, made):
    for name, pairs in made.splits.items():
        color, _, _, level = name.split("_")
        rows = examples(dataset / f"published-{color}-{float(level):.2f}").to_pylist()
        assert {(row["image_id"], row["label"]) for row in rows} == set(pairs)
        assert len(rows) == len(pairs)
        for row in rows:
            truth = made.clean_class.get(row["image_id"])
            right = made.is_right[row["image_id"]] if truth is None else truth == row["label"]
            assert row["is_clean"] == right
            assert row["source"] == ("web" if truth is None else "clean")
            assert (row["url"] or "").endswith(f"{row['image_id']}.jpg") == (truth is None)


def test_they_are_verified_and_the_manifest_records_that_their_noise_is_measured(dataset, capsys):
    assert main(["verify", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["leaks_only_in_fixed_sets"] == 0
    about = json.loads((dataset / "published-red-0.40" / "_manifest.json").read_text())["about"]
    assert about["fixed_set"] == {
        "noise": "measured", "realized_noise": 0.4, "claimed_noise": 0.4, "rows_in_list": 30,
        "not_ingested": 0, "not_ingested_first": [], "without_verdict": 0,
    }  # fmt: skip
    assert (about["color"], about["noise_level"]) == ("red", 0.4)


def test_one_s_own_splits_are_made_beside_them_at_the_published_proportions(dataset):
    sizes = {name: examples(dataset / name).num_rows for name in ("red-0.40", "blue-0.40")}
    assert sizes == {"red-0.40": 15, "blue-0.40": 30}  # red: a part of the clean images, blue: all


def test_pictures_are_as_the_tfds_builder_stores_them(dataset):
    import io

    from PIL import Image

    data = examples(dataset / "red-0.40")["image"][0].as_py()["bytes"]
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (84, 84))
    expected = io.BytesIO()
    Image.new("RGB", (8, 8)).save(expected, "JPEG", quality=72)
    assert image.quantization == Image.open(expected).quantization


def test_zip_and_folder_give_the_same_lists(place, made, tmp_path):
    release.write_folder(made, tmp_path)
    assert run_import_into(tmp_path, place) == 0
    for name in ("clean", "test", "web", "votes", "published_sets"):
        first, second = (
            parquet.read_table(f / f"{name}.parquet") for f in (place / "lists", place / "again")
        )
        assert first.equals(second)


def run_import_into(archive, place):
    return main(
        [
            "import-cnwl",
            str(archive),
            "--images",
            str(place / "mini-imagenet"),
            "--output",
            str(place / "again"),
        ]
    )


def test_a_good_release_has_no_problems(place, capsys):
    assert run_import(place, "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["problems"] == {}
    assert reported["counts"]["web_pairs_wrong"] == 27
    assert not any(split["is_off"] for split in reported["splits"] if split["nominal"] not in (0.05, 0.15))


@pytest.fixture
def damaged(made, place, tmp_path):
    """Import a release after a change of its texts; returns what --json said."""

    def run(capsys, **changes):
        texts = dict(made.texts)
        for name, change in changes.items():
            key = {"json": "mini-imagenet-annotations.json"}.get(name, f"mini-imagenet/split/{name}")
            texts[key] = change(texts.get(key, ""))
        archive = release.write_zip(release.Released(texts), tmp_path / "damaged.zip")
        output = place / f"lists-{tmp_path.name}"
        code = main(
            [
                "import-cnwl",
                str(archive),
                "--images",
                str(place / "mini-imagenet"),
                "--output",
                str(output),
                "--json",
            ]
        )
        assert code == 0
        return json.loads(capsys.readouterr().out), (output / "problems.csv").read_text()

    return run


def test_a_split_whose_noise_is_not_what_its_name_says_is_marked(damaged, made, capsys):
    pairs = made.splits["blue_noise_nl_0.4"]
    quiet = made.splits["blue_noise_nl_0.2"]
    text = "\n".join(f"{i}.jpg {label}" for i, label in quiet)
    reported, _ = damaged(capsys, **{"blue_noise_nl_0.4": lambda _: text})
    split = next(one for one in reported["splits"] if one["split"] == "blue_noise_nl_0.4")
    assert (split["nominal"], split["realized"], split["flipped"], split["is_off"]) == (0.4, 0.2, 6, True)
    assert len(pairs) == split["lines"]


def test_what_does_not_match_is_counted_and_reported_with_its_line(damaged, capsys):
    bad = "\nghost0000000000a.jpg 1\nno class id\nn0000000000000000.jpg 0\nn0000000000000001.jpg 9\n"
    reported, problems = damaged(
        capsys,
        **{
            "red_noise_nl_0.2": lambda text: text + bad,
            "red_noise_nl_0.25": lambda _: "",
            "notes.txt": lambda _: "",
            "json": lambda text: text.replace('"image/class/label": 2', '"image/class/label": "two"', 1),
        },
    )
    assert reported["problems"] == {
        "malformed_annotation": 1, "malformed_line": 1, "unknown_class_id": 1, "duplicate_id": 1,
        "unknown_file": 1, "id_without_annotation": 1,
    }  # fmt: skip
    assert "red_noise_nl_0.2:32" in problems
    assert "ghost0000000000a" in problems
    assert "data[22]" in problems


def test_the_first_of_contradictory_votes_is_kept(damaged, capsys):
    def say_otherwise(text):
        release_ = json.loads(text)
        first = release_["data"][0][0]
        other = {**first, "image/class/label/is_clean": 0, "image/uri": "https://elsewhere.example/x"}
        release_["data"] += [[other], [dict(first)], [{**first, "image/class/label": 1}]]
        return json.dumps(release_)

    reported, _ = damaged(capsys, json=say_otherwise)
    assert reported["problems"] == {
        "duplicate_annotation": 1,
        "contradicting_annotation": 1,
        "another_uri": 1,
    }
    assert reported["counts"]["web_pairs"] == 34


def test_an_image_without_a_file_is_reported_and_a_web_image_keeps_its_url(place, made, tmp_path, capsys):
    import shutil

    shutil.copytree(place / "mini-imagenet", tmp_path / "mini-imagenet")
    shutil.copy(place / "dataset_no_images.zip", tmp_path)
    gone = [release.clean_id(0, 0), made.test_ids[0], release.web_id(1, 5)]
    for image_id in gone:
        next((tmp_path / "mini-imagenet").rglob(f"{image_id}.jpg")).unlink()
    assert run_import(tmp_path, "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["problems"] == {"image_missing": 3}
    assert reported["counts"]["clean_images_found"] == 29
    web = {row["image_id"]: row for row in parquet.read_table(tmp_path / "lists" / "web.parquet").to_pylist()}
    assert web[gone[2]]["path"] is None
    assert web[gone[2]]["url"] == f"https://example.org/{gone[2]}.jpg"


def test_the_report_reads_as_a_table(place, capsys):
    assert run_import(place) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "mini-imagenet: 3 classes, 30 clean images, 30 clean images found, 6 test images"
    )
    row = next(line for line in lines if line.startswith("red_noise_nl_0.4"))
    assert row.split() == ["red_noise_nl_0.4", "30", "18", "0", "12", "0", "0", "0", "40.00%", "40.00%"]


def test_stanford_cars_has_training_and_test_images_of_the_same_number(tmp_path, capsys):
    made = release.released("stanford_cars", "stanford-cars-annotations.json")
    number = {old: f"{i:05d}" for i, old in enumerate(made.clean_class, 1)}
    number |= {old: f"{i:05d}" for i, old in enumerate(made.test_ids, 1)}
    for name, text in made.texts.items():
        for old, new in number.items() if "split" in name else ():
            text = text.replace(old, new)
        made.texts[name] = text
    release.write_zip(made, tmp_path / "dataset_no_images.zip")
    from tests.pipeline.small_world import picture

    for folder, ids in (("cars_train", made.clean_class), ("cars_test", made.test_ids)):
        (tmp_path / "cars" / folder).mkdir(parents=True)
        for old in ids:
            picture(old).save(tmp_path / "cars" / folder / f"{number[old]}.jpg")
    code = main(
        ["import-cnwl", str(tmp_path / "dataset_no_images.zip"), "--images", str(tmp_path / "cars"),
         "--output", str(tmp_path / "lists"), "--dataset", "stanford_cars"]
    )  # fmt: skip
    assert code == 0
    lists = {
        n: parquet.read_table(tmp_path / "lists" / f"{n}.parquet").to_pylist() for n in ("clean", "test")
    }
    assert {"image_id": "00001", "path": "cars/cars_train/00001.jpg"}.items() <= lists["clean"][0].items()
    assert {"image_id": "validation-00001", "path": "cars/cars_test/00001.jpg"}.items() <= lists["test"][
        0
    ].items()
    config = yaml.safe_load((tmp_path / "lists" / "build.yaml").read_text())
    assert config["classes"] == list(CLASSES)
    assert "clean_per_class" not in config["noise"]


@pytest.fixture
def web(made, tmp_path):
    """The release with addresses of a local server, which still has every second web image; none has a file here."""
    images = release.write_images(made, tmp_path / "mini-imagenet")
    (tmp_path / "served").mkdir()
    for number, image_id in enumerate(sorted(made.is_right)):
        (file,) = images.rglob(f"{image_id}.jpg")
        file.rename(tmp_path / "served" / file.name) if number % 2 else file.unlink()
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        there = {name: text.replace("https://example.org", address) for name, text in made.texts.items()}
        release.write_zip(dataclasses.replace(made, texts=there), tmp_path / "dataset_no_images.zip")
        yield tmp_path
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_web_images_without_a_file_are_fetched_and_dead_addresses_stop_no_build(web, capsys):
    assert run_import(web) == 0
    assert "33 web images have no file and must be fetched" in capsys.readouterr().out
    assert run_import(web, "--contact", "you@lab.example") == 0
    assert "web images have no file here" not in capsys.readouterr().out
    local = ("--set", "fetch.allow_private_hosts=true", "--set", "fetch.host_requests_per_second=0")
    build = [
        "build",
        "--config",
        str(web / "lists" / "build.yaml"),
        "--output",
        str(web / "out"),
        ONE_PROCESS,
    ]
    assert main([*build, *local, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "image_rejected" in out
    assert main(["verify", str(web / "out" / "dataset")]) == 0
