import dataclasses
import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.noise.selection import NoiseOrder
from pipeline.verify.dataset import noise_problems, verify
from tests.pipeline.dataset_forgery import agree, problems, replaced, rewrite


def test_a_fresh_build_is_proved(built):
    result = verify(str(built / "dataset"))
    assert result.problems == ()
    assert result.counts["leaks"] == 0
    assert result.counts["leak_comparisons"] > 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 set, 1 flat image, 1 leak only in fixed sets, 1 clean leak kept ("),
        (2, "2 sets, 2 flat images, 2 leaks only in fixed sets, 2 clean leaks kept ("),
    ],
)
def test_each_count_agrees_with_its_noun(built, monkeypatch, capsys, count, text):
    names = ("sets", "flat_images", "leaks_only_in_fixed_sets", "clean_leaks_kept")
    result = dataclasses.replace(verify(str(built / "dataset")), counts=dict.fromkeys(names, count))
    monkeypatch.setattr("pipeline.verify.dataset.verify", lambda *_: result)
    assert main(["verify", str(built / "dataset")]) == 0
    assert f"ok: {text}" in capsys.readouterr().out


def test_a_changed_byte_fails_with_the_file_and_exit_code_1(dataset, capsys):
    shard = next((dataset / "red-0.20").glob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert main(["verify", str(dataset)]) == 1
    printed = capsys.readouterr()
    assert shard.name in printed.err
    assert "sha256" in printed.err


def test_a_missing_shard_or_manifest_is_reported(dataset):
    next((dataset / "red-0.20").glob("*.parquet")).unlink()
    (dataset / "blue-0.20" / "_manifest.json").unlink()
    text = problems(dataset)
    assert "no such file" in text
    assert "blue-0.20" in text


def test_a_shard_that_is_not_of_the_set_is_reported(dataset):
    shard = next((dataset / "red-0.20").glob("*.parquet"))
    shard.with_name("train-00009-of-00010.parquet").write_bytes(shard.read_bytes())
    assert "red-0.20: train-00009-of-00010.parquet is not part of this set" in problems(dataset)


def test_a_changed_manifest_is_reported(dataset):
    path = dataset / "red-0.20" / "_manifest.json"
    path.write_text(path.read_text().replace('"trial": 0', '"trial": 1'))
    assert "red-0.20: _manifest.json was changed" in problems(dataset)


def test_labels_that_were_quietly_corrected_break_the_noise_level(dataset):
    def correct(table):
        table = replaced(table, "label", table["true_label"].to_pylist())
        return replaced(table, "is_clean", [True] * table.num_rows)

    rewrite(dataset, "blue-0.50", correct)
    text = problems(dataset)
    assert "labels are wrong instead of" in text
    assert "rows or the noise of a class differ from those in the manifest" in text
    assert "blue-0.50 lacks wrong examples of blue-0.20 (12" in text
    assert "red-0.50 and blue-0.50 do not replace or relabel the same clean images (30" in text


SIZES = st.lists(st.integers(1, 60), min_size=2, max_size=5)


@settings(deadline=None)
@given(SIZES, st.floats(0, 0.99), st.lists(st.integers(0, 60), min_size=5, max_size=5), st.booleans())
def test_the_noise_of_a_set_is_called_wrong_only_if_it_is(sizes, level, available, enough):
    """For classes of any sizes: where one has nearly all images, rounding the total may cost it more than one."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = NoiseOrder([f"i{i}" for i in range(len(labels))], labels, level, 0, True)
    limits, policy = (None, "error") if enough else (np.array(available[: len(sizes)]), "shrink")
    chosen = order.select(level, limits, policy)
    noisy, kept = (np.bincount(labels[part], minlength=len(sizes)) for part in (chosen.noisy, chosen.kept))
    counted = [
        {"class": str(i), "rows": int(n + k), "noisy": int(n)}
        for i, (n, k) in enumerate(zip(noisy, kept, strict=True))
    ]
    about = {"noise_level": level, "on_shortage": policy}
    assert not list(noise_problems(counted, about))
    counted[0]["noisy"] += 2
    assert list(noise_problems(counted, about))


@pytest.mark.parametrize("column", ["image", "image_id", "label", "is_clean", "source"])
def test_rows_without_a_value_are_reported(dataset, column):
    rewrite(
        dataset, "red-0.20", lambda table: replaced(table, column, [None, *table[column].to_pylist()[1:]])
    )
    assert f"{column} is missing in some rows" in problems(dataset)


def test_a_shard_that_is_no_parquet_is_reported_even_if_its_digest_is_right(dataset):
    folder = dataset / "red-0.20"
    manifest = json.loads((folder / "_manifest.json").read_text())
    shard = manifest["shards"][0]
    (folder / shard["file"]).write_bytes(b"damaged")
    shard["sha256"] = hashlib.sha256(b"damaged").hexdigest()
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    agree(dataset, "red-0.20")
    assert f"{shard['file']}: cannot be read" in problems(dataset)


@pytest.mark.parametrize(
    ("split", "key"),
    [
        ("red-0.20", key)
        for key in ("class_names", "classes", "noise_level", "color", "trial", "nested", "blue_size")
    ]
    + [("test", "classes"), ("", "leaks")],
)
@pytest.mark.parametrize("value", [None, {"other": "kind"}])
def test_a_manifest_that_does_not_say_what_it_should_is_reported(dataset, split, key, value):
    path = dataset / split / "_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["about"][key] = value
    path.write_text(json.dumps(manifest))
    if split:
        agree(dataset, split)
    text = problems(dataset)
    assert (
        f"missing or invalid values ({key})" if split else "the leak rules ('leaks') are missing or invalid"
    ) in text


@pytest.mark.parametrize("sets", [None, "red", {"red-0.20": 1}, {"red-0.20": {}}])
def test_a_manifest_that_lists_no_sets_is_none_of_a_dataset(dataset, sets):
    root = json.loads((dataset / "_manifest.json").read_text())
    root["about"]["sets"] = sets
    (dataset / "_manifest.json").write_text(json.dumps(root))
    with pytest.raises(DataError, match="lists no sets"):
        verify(str(dataset))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("red-0.20", [None] * 60),
        ("red-0.20", ["open"] * 60),
        ("blue-0.20", ["open"] * 60),
        ("red-0.20", ["odd"] * 60),
    ],
)
def test_a_noise_type_that_contradicts_the_labels_is_reported(dataset, name, values):
    rewrite(dataset, name, lambda table: replaced(table, "noise_type", values[: table.num_rows]))
    assert f"{name}: rows whose noise_type contradicts is_clean or true_label" in problems(dataset)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_a_p_wrong_that_is_no_probability_is_reported(dataset, value):
    rewrite(dataset, "red-0.20", lambda table: replaced(table, "p_wrong", [value] * table.num_rows))
    assert "red-0.20: rows whose p_wrong is not a probability (60" in problems(dataset)


def test_is_clean_that_contradicts_the_labels_is_reported(dataset):
    rewrite(dataset, "blue-0.20", lambda table: replaced(table, "is_clean", [True] * table.num_rows))
    assert "rows whose is_clean contradicts" in problems(dataset)


def test_an_image_in_two_rows_is_reported(dataset):
    rewrite(dataset, "red-0.00", lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert "images that occur in more than one row" in problems(dataset)


def test_rows_in_another_order_are_reported(dataset):
    rewrite(dataset, "red-0.00", lambda table: table.take(list(range(table.num_rows))[::-1]))
    assert "rows that are not in the order of their shard keys" in problems(dataset)


@pytest.mark.parametrize("same_id", [True, False])
def test_a_test_image_among_the_training_images_is_reported(dataset, same_id):
    tests = pa.concat_tables(
        parquet.read_table(path) for path in sorted((dataset / "test").glob("*.parquet"))
    )
    leaked = tests.slice(0, 1).to_pylist()[0]

    def leak(table):
        rows = table.to_pylist()
        rows[0] |= {"image": leaked["image"]} | ({"image_id": leaked["image_id"]} if same_id else {})
        return pa.Table.from_pylist(rows, table.schema)

    for split in ("red-0.00", "red-0.20"):
        rewrite(dataset, split, leak)
    text = problems(dataset)
    if same_id:
        assert "test images that are also training images" in text
    else:
        assert (
            f"looks like test image {leaked['image_id']}" in text
            or "images that differ from the image of the same id in another set" in text
        )


def test_no_dataset_is_an_error_with_a_remedy(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "no _manifest.json in it, so no build has finished here" in capsys.readouterr().err
