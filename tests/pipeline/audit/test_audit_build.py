"""The verb on a build of the small world, with features that show what the images of the world would."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from pipeline.aggregate.verdicts import majority_of_counts
from pipeline.audit.facts import label_noise, levels_with_label_errors, sentences
from pipeline.audit.questions import likely_changes
from pipeline.embed.bucket import feature_rows
from pipeline.layout import Layout
from pipeline.report.html import page
from pipeline.report.tables import BuildTables
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from pipeline.view.gallery import Gallery
from schemas.suspect import SUSPECT
from tests.pipeline.small_world import CLASSES, ONE_PROCESS, RIGHT

OVERTURNED = "web-ant-3"  # three votes say that it shows an ant; its features are those of a cow
MISLABELED = "clean-bee-4"  # its features are those of an ant


def shown(image_id: str) -> int:
    """The class that an image shows: wrong web images show the next class."""
    source, name, number = image_id.split("-")
    index = CLASSES.index(name)
    if image_id in (OVERTURNED, MISLABELED):
        return {"ant": 2, "bee": 0}[name]
    return (index + 1) % 3 if source == "web" and int(number) >= RIGHT else index


def add_features(output: Path, *, bad: str = "") -> None:
    """Write the table that the embed stage would write; `bad` names an image whose features are not finite."""
    layout = Layout(str(output))
    staged = []
    for shard in directory.read_manifest(layout.images).shards:
        ids = directory.read_shard(layout.images, shard, ["image_id"])["image_id"].to_pylist()
        vectors = np.stack([np.eye(3)[shown(i)] + noise(i) for i in ids]).astype(np.float16)
        vectors[[i == bad for i in ids]] = np.nan
        rows = feature_rows(ids, ["0" * 64] * len(ids), vectors)
        stem = directory.shard_stem("part", *directory.shard_position(shard.file))
        staged.append(write_shard(layout.features, stem, rows.schema, [rows]))
    about = {"inputs": {"images": manifest_digest(layout.images)}}
    commit.commit(layout.features, "feature", staged, about)


def noise(image_id: str) -> np.ndarray:
    digest = hashlib.sha256(image_id.encode()).digest()
    return np.random.default_rng(list(digest)).standard_normal(3) * 0.1


@pytest.fixture(scope="module")
def audited(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("audited") / "out"
    shutil.copytree(built, output)
    add_features(output)
    assert main(["audit", str(output)]) == 0
    return output


def suspects(output: Path) -> dict[tuple[str, str], dict]:
    table = directory.read_table(Layout(str(output)).suspects, SUSPECT)
    return {(row["image_id"], row["class_name"]): row for row in table.to_pylist()}


def test_every_question_about_a_kept_image_has_a_row(audited):
    layout = Layout(str(audited))
    retrievals = pq.read_table(layout.retrievals, columns=["image_id", "class_name"])
    duplicates = pq.read_table(layout.duplicates, columns=["image_id", "removed"]).to_pylist()
    removed = {row["image_id"] for row in duplicates if row["removed"]}
    pairs = {tuple(row.values()) for row in retrievals.to_pylist() if row["image_id"] not in removed}
    assert set(suspects(audited)) == pairs
    assert removed


def test_the_planted_mistakes_are_the_most_suspect(audited):
    rows = suspects(audited)
    ranked = sorted(rows, key=lambda pair: (-(rows[pair]["p_error"] or 0), -rows[pair]["p_wrong_features"]))
    assert next(pair for pair in ranked if rows[pair]["source"] == "web") == (OVERTURNED, "ant")
    clean = [pair for pair in ranked if rows[pair]["source"] == "clean"]
    assert clean[0] == (MISLABELED, "bee")
    assert rows[OVERTURNED, "ant"]["probable_class"] == "cow"
    assert rows[OVERTURNED, "ant"]["neighbor_share"] < 0.2
    assert rows[OVERTURNED, "ant"]["p_wrong"] > rows[OVERTURNED, "ant"]["p_wrong_votes"]
    assert rows["web-cow-0", "cow"]["p_error"] is None  # undecided


def test_facts_and_label_noise_are_stated(audited, capsys):
    assert main(["audit", str(audited), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["up_to_date"]
    found = label_noise(str(audited))
    assert set(found) == {"clean", "test"}
    for source, estimate in found.items():
        assert result["labels"][source]["wrong"]["share"] == estimate.share
        assert 0 <= estimate.low <= estimate.share <= estimate.high <= 1
    assert label_noise(str(audited / "nothing")) == {}


def test_the_true_noise_of_sets_counts_wrong_clean_labels(audited, capsys):
    assert main(["audit", str(audited)]) == 0
    printed = capsys.readouterr().out
    clean = label_noise(str(audited))["clean"]
    sets = directory.read_manifest(Layout(str(audited)).dataset).about["sets"]
    levels = levels_with_label_errors(str(audited))
    assert set(levels) == {name for name, entry in sets.items() if entry.get("color")}
    for name, level in levels.items():
        is_clean = pq.read_table(Path(Layout(str(audited)).dataset) / name, columns=["is_clean"])[
            "is_clean"
        ].to_pylist()
        wrong = is_clean.count(False) / len(is_clean)
        votes = sets[name].get("estimated_noise") or dict.fromkeys(("value", "low", "high"), wrong)
        assert level.share == pytest.approx(votes["value"] + (1 - wrong) * clean.share)
        assert level.low == pytest.approx(votes["low"] + (1 - wrong) * clean.low)
        assert level.low <= level.share <= level.high <= 1
        shown = f"{name}: {100 * level.low:.1f} to {100 * level.high:.1f} % of the labels are wrong"
        assert f"{shown}, wrong clean labels included" in printed
    assert "True noise with the errors of clean labels" in page(str(audited))
    assert levels_with_label_errors(str(audited / "nothing")) == {}


def test_the_labels_of_web_images_in_a_fixed_set_are_not_clean_labels(audited, world, tmp_path):
    copy, listed = tmp_path / "out", tmp_path / "sets.csv"
    shutil.copytree(audited, copy)
    clean = [("clean", number) for number in range(4)]
    web = [("web", number) for number in range(4, 10)]  # their verdict is yes
    rows = [f"mine,{source}-{name}-{number},{name}" for source, number in [*clean, *web] for name in CLASSES]
    listed.write_text("\n".join(["set_name,image_id,class_name", *rows]))
    where = ("--config", str(world.config), "--output", str(copy), ONE_PROCESS)
    assert main(["split", *where, "--set", f"noise.fixed_sets=[{listed}]"]) == 0
    votes = directory.read_manifest(Layout(str(copy)).dataset).about["sets"]["mine"]["estimated_noise"]
    wrong, level = label_noise(str(copy))["clean"], levels_with_label_errors(str(copy))["mine"]
    assert wrong.high > 0.1
    assert level.high == pytest.approx(votes["high"] + 0.4 * wrong.high)
    assert level.low == pytest.approx(votes["low"] + 0.4 * wrong.low)


def test_the_true_noise_of_a_set_that_misses_its_level_is_that_of_its_labels(audited, tmp_path):
    """As under `on_shortage: cap`: the names of the sets claim more noise than their labels have."""
    copy = tmp_path / "out"
    shutil.copytree(audited, copy)
    before = levels_with_label_errors(str(copy))
    dataset = Layout(str(copy)).dataset
    root = directory.read_manifest(dataset)
    for name, entry in root.about["sets"].items():
        if entry["color"]:
            entry["noise_level"] = 0.8
            manifest = directory.read_manifest(f"{dataset}/{name}")
            manifest.about["noise_level"] = 0.8
            commit.swap(f"{dataset}/{name}", manifest)
    commit.swap(dataset, root)
    assert levels_with_label_errors(str(copy)) == before


def test_the_same_bytes_come_from_any_number_of_threads(audited, tmp_path):
    """Of one thread, as all tests use, and of three."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = directory.read_manifest(Layout(str(audited)).suspects)
    copy = tmp_path / "out"
    shutil.copytree(audited, copy)
    shutil.rmtree(copy / "audit")
    with threadpoolctl.threadpool_limits(3):
        assert main(["audit", str(copy)]) == 0
    assert directory.read_manifest(Layout(str(copy)).suspects) == before


def test_next_questions_are_those_most_likely_to_change(audited):
    assert main(["audit", str(audited), "--next-questions", "4"]) == 0
    lines = (audited / "audit" / "next_questions.csv").read_text().splitlines()
    assert lines[1].startswith(f"{OVERTURNED},ant,images/{OVERTURNED}.png")
    wanted = [int(line.split(",")[4]) for line in lines[1:]]
    assert sum(wanted) <= 4
    yes, no = (int(cell) for cell in lines[1].split(",")[5:7])
    assert 2 * (no + wanted[0]) > yes + no + wanted[0]  # so many votes no would overturn it


@pytest.mark.parametrize("verdict", ["yes", "no"])
@pytest.mark.parametrize(
    ("votes", "wanted"), [((2, 0, 0), 3), ((2, 1, 0), 2), ((3, 0, 2), 6), ((3, 1, 1), 4), ((2, 0, 1), 4)]
)
def test_as_many_votes_are_wanted_as_give_the_other_answer_a_majority(verdict, votes, wanted):
    """Votes are those that agree, that oppose, and unsure ones, which count against a majority."""
    agreeing, opposing, unsure = votes
    yes, no = (agreeing, opposing) if verdict == "yes" else (opposing, agreeing)
    question = {"image_id": ["a"], "class_name": ["ant"]}
    suspects = {"source": ["web"], "verdict": [verdict], "p_error": [0.5], "p_wrong": [0.5]}
    found = likely_changes(
        pd.DataFrame(question | suspects),
        pd.DataFrame(question | {"yes": [yes], "no": [no], "unsure": [unsure]}),
        100,
        pd.DataFrame(question | {"path": ["a.png"], "url": [None]}),
    )
    assert found["votes_wanted"].to_pylist() == [wanted]
    other = 0 if verdict == "no" else 1
    for more, expected in ((wanted, ("yes", "no")[other]), (wanted - 1, None)):
        counts = np.array([[yes, no, unsure]])
        counts[0, other] += more
        after = majority_of_counts(pa.table(question), counts, 1)["verdict"][0].as_py()
        assert (after == expected) if expected else after != ("yes", "no")[other]


def test_report_and_view_show_suspects(audited):
    html = page(str(audited))
    assert 'id="suspects"' in html
    assert "Verdict yes, most probably wrong" in html
    gallery = Gallery(BuildTables(str(audited)), CLASSES, ("red-0.50",))
    assert gallery.choices["suspect"] == ("yes", "no")
    found = gallery.select({"suspect": "yes", "verdict": "yes"})
    assert OVERTURNED in {row["image_id"] for row in found.rows}
    everything = gallery.select({}).count
    assert gallery.select({"suspect": "yes"}).count + gallery.select({"suspect": "no"}).count == everything


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda output: shutil.rmtree(output / "embed"), "the build has no features; set embed.weights"),
        (
            lambda output: add_features(output, bad="web-ant-1"),
            "features are not finite; run the embed stage",
        ),
        (lambda output: shutil.rmtree(output / "dedupe"), "run `python -m pipeline dedupe`"),
    ],
)
def test_what_is_missing_is_reported_with_a_remedy(audited, tmp_path, capsys, damage, message):
    copy = tmp_path / "out"
    shutil.copytree(audited, copy)
    damage(copy)
    assert main(["audit", str(copy), "--force"]) == 1
    assert message in capsys.readouterr().err
    assert (copy / "audit" / "suspects" / "_manifest.json").exists()  # the old table stays


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("features", "older than the images; run `python -m pipeline embed`"),
        ("verdicts", "older than the list of images; run `python -m pipeline aggregate`"),
    ],
)
def test_an_older_table_is_refused(audited, tmp_path, capsys, table, message):
    copy = tmp_path / "out"
    shutil.copytree(audited, copy)
    folder = getattr(Layout(str(copy)), table)
    manifest = directory.read_manifest(folder)
    commit.swap(folder, type(manifest)(manifest.table, manifest.rows, manifest.shards, {"inputs": {}}))
    assert main(["audit", str(copy)]) == 1
    assert message in capsys.readouterr().err


def test_an_image_without_features_is_named(audited, tmp_path, capsys):
    copy = tmp_path / "out"
    shutil.copytree(audited, copy)
    layout = Layout(str(copy))
    about = directory.read_manifest(layout.features).about
    shards = []
    for shard in directory.read_manifest(layout.features).shards:
        rows = directory.read_shard(layout.features, shard)
        keep = pa.array([i != "web-cow-7" for i in rows["image_id"].to_pylist()])
        stem = directory.shard_stem("part", *directory.shard_position(shard.file))
        shards.append(write_shard(layout.features, stem, rows.schema, [rows.filter(keep)]))
    commit.commit(layout.features, "feature", shards, about)
    assert main(["audit", str(copy)]) == 1
    assert "no features of image 'web-cow-7'" in capsys.readouterr().err


def test_a_budget_below_one_answer_is_refused(audited, capsys):
    assert main(["audit", str(audited), "--next-questions", "0"]) == 2
    assert "at least 1 answer" in capsys.readouterr().err


def test_yes_comes_before_no_however_the_facts_are_ordered() -> None:
    verdicts = {state: {"questions": 3, "wrong": 0.1, "wrong_by_votes": 0.2} for state in ("no", "yes")}
    said = [name for name, _ in sentences({"labels": {}, "verdicts": verdicts})]
    assert said == ["yes", "no"]
    alone = {"labels": {}, "verdicts": {"no": verdicts["no"]}}
    assert [name for name, _ in sentences(alone)] == ["no"]
