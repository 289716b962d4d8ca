"""Conversion of human labels to votes: a choice is a yes for the chosen class and a no for other asked classes."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from pipeline.published.cifar_n import CIFAR_10, batch_excess
from pipeline.published.cifar_n_files import read_choices

CHOICES = np.array([[3, 3, 5], [0, 0, 0], [1, 9, 2], [4, 4, 4]])
TRUTH = np.array([3, 0, 1, 7])
ORDER = np.array([2, 0, 3, 1])  # image i of TFDS is number ORDER[i] of torchvision


def columns(order=None):
    rows = np.arange(4) if order is None else order
    return {"clean_label": TRUTH[rows], **{f"random_label{k + 1}": CHOICES[rows, k] for k in range(3)}}


@pytest.fixture
def files(tmp_path):
    pd.DataFrame(columns()).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame(columns(ORDER)).to_csv(tmp_path / "ordered.csv", index=False)
    np.savez(tmp_path / "labels.npz", **columns())
    np.save(tmp_path / "order.npy", ORDER)
    (tmp_path / "side.csv").write_text(
        "Image-batch,Worker1-id,Work-time-in-seconds-1,Worker2-id,Work-time-in-seconds-2,"
        "Worker3-id,Work-time-in-seconds-3\n0--1,11,20,12,40,13,60\n2--3,21,2,22,4,11,6\n"
    )
    (tmp_path / "twice.txt").write_text("\n".join([*CIFAR_10[1:], "ship"]))
    return tmp_path


def run(files, labels="labels.csv", *more):
    return main(["from-cifar-n", str(files / labels), "--output", str(files / "out"), *map(str, more)])


def votes(files):
    return parquet.read_table(files / "out" / "votes.parquet").to_pandas()


def test_every_chosen_class_is_asked_and_every_worker_answers(files):
    assert run(files) == 0
    asked = votes(files)
    answers = {
        (row.image_id, row.class_name, row.worker_id): row.answer for row in asked.itertuples(index=False)
    }
    chosen = {(i, c) for i, row in enumerate(CHOICES) for c in row}
    assert answers == {
        (f"{i:05d}", CIFAR_10[c], f"annotator-{k}"): "yes" if CHOICES[i, k] == c else "no"
        for i, c in chosen
        for k in range(3)
    }
    pairs = parquet.read_table(files / "out" / "pairs.parquet").to_pylist()
    assert {(p["image_id"], p["class_name"]) for p in pairs} == {(f"{i:05d}", CIFAR_10[c]) for i, c in chosen}


def test_a_no_says_which_class_the_worker_chose_instead(files):
    assert run(files) == 0
    rows = votes(files)
    chosen = rows[rows.answer == "yes"].groupby(["image_id", "worker_id"]).class_name.first()
    no = rows[rows.answer == "no"]
    assert len(no)
    assert all(chosen[row.image_id, row.worker_id] == row.seen_class for row in no.itertuples())
    assert rows[rows.answer == "yes"].seen_class.isna().all()


def test_arrays_give_the_same_votes_as_the_csv(files):
    assert run(files) == 0
    first = votes(files)
    assert run(files, "labels.npz") == 0
    assert first.equals(votes(files))


def test_workers_and_times_are_those_of_the_batch_in_the_order_of_tfds(files):
    assert (
        run(files, "labels.csv", "--side-info", files / "side.csv", "--image-order", files / "order.npy") == 0
    )
    result = votes(files).groupby("image_id")
    # torchvision's images 2 and 0 are the first batch of TFDS, 3 and 1 the second
    assert set(result.get_group("00002").worker_id) == {"worker-11", "worker-12", "worker-13"}
    assert set(result.get_group("00001").worker_id) == {"worker-21", "worker-22", "worker-11"}
    assert set(result.get_group("00001").seconds) == {1, 2, 3}


def test_labels_in_the_order_of_tfds_give_the_same_votes(files):
    more = ("--side-info", files / "side.csv", "--image-order", files / "order.npy")
    assert run(files, "labels.csv", *more) == 0
    first = votes(files)
    assert run(files, "ordered.csv", "--tfds-order", *more) == 0
    assert first.equals(votes(files))


def test_pairs_of_one_s_own_are_asked_instead(files, capsys):
    (files / "pairs.csv").write_text("image_id,class_name\nweb-00003,ship\nweb-00003,deer\nother,cat\n")
    assert (
        run(files, "labels.csv", "--pairs", files / "pairs.csv", "--image-id", "web-{index}", "--json") == 0
    )
    reported = json.loads(capsys.readouterr().out)
    assert (reported["pairs"], reported["pairs_of_other_images"], reported["votes_yes"]) == (2, 1, 3)
    assert set(votes(files).image_id) == {"web-00003"}


def test_cifar_100n_has_one_answer_an_image(files):
    pd.DataFrame({"clean_label": [1, 2], "noise_label": [1, 99]}).to_csv(files / "c100.csv", index=False)
    (files / "names.txt").write_text("\n".join(f"class {i}" for i in range(100)))
    (files / "side.csv").write_text("Image-batch,Worker-id,Work-time-in-seconds\n0--1,5,10\n")
    np.save(files / "order.npy", np.array([1, 0]))
    more = ("--side-info", files / "side.csv", "--image-order", files / "order.npy")
    assert run(files, "c100.csv", "--classes", files / "names.txt", *more) == 0
    assert votes(files).drop(columns=["time", "seen_class"]).values.tolist() == [
        ["00000", "class 1", "worker-5", "yes", 5.0],
        ["00001", "class 99", "worker-5", "yes", 5.0],
    ]


class Explosive:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("name", ["CIFAR-10_human.npy", "CIFAR-10_human.pt", "labels.pkl"])
def test_pickles_are_never_opened_and_the_way_out_is_reported(files, name, capsys, monkeypatch):
    monkeypatch.chdir(files)
    (files / name).write_bytes(pickle.dumps(Explosive()))
    assert run(files, name) == 2
    assert "convert it once" in capsys.readouterr().err
    assert not (files / "exploded").exists()


def test_a_pickle_within_an_npz_or_an_order_is_refused(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    np.savez(files / "evil.npz", random_label1=np.array([Explosive()], object))
    assert run(files, "evil.npz") == 1
    np.save(files / "evil.npy", np.array([Explosive()], object))
    assert run(files, "labels.csv", "--image-order", files / "evil.npy") == 1
    assert "not a plain array" in capsys.readouterr().err
    assert not (files / "exploded").exists()


def test_damaged_arrays_are_reported(files, capsys):
    whole = (files / "labels.npz").read_bytes()
    for data in (whole[:-40], whole[:60] + b"damage" + whole[66:]):
        (files / "damaged.npz").write_bytes(data)
        assert run(files, "damaged.npz") == 1
        assert "damaged.npz: cannot be read" in capsys.readouterr().err
    for data in (whole, whole[:-40]):
        (files / "order.npy").write_bytes(data)
        assert run(files, "labels.csv", "--image-order", files / "order.npy") == 1
        assert "order.npy: not a plain array" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "reported"),
    [
        (["--side-info", "side.csv"], 2, "need --image-order"),
        (["--tfds-order"], 2, "need --image-order"),
        (["--image-id", "x"], 2, "no {index} in it"),
        (["--classes", "side.csv"], 2, "3 names, but the labels have 10"),
        (["--classes", "twice.txt"], 2, "two classes have the same name"),
        (["--image-order", "side.csv"], 1, "not a plain array"),
        (["--side-info", "labels.csv", "--image-order", "order.npy"], 1, "missing column Image-batch"),
    ],
)
def test_bad_usage_is_reported(files, monkeypatch, capsys, arguments, code, reported):
    monkeypatch.chdir(files)
    assert run(files, "labels.csv", *arguments) == code
    assert reported in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ("2--3", "1--3", "line 3: batch '1--3' is not a new range"),
        ("2--3", "2--99999999", "line 3"),
        ("2--3", "2", "line 3"),
        ("2--3", "", "line 3: batch '' is not a new range"),
        ("2--3", "3--3", "no batch contains image 2"),
        (",22,", ",x,", "line 3: expected numbers for workers and seconds"),
        (
            ",22,",
            ",,",
            "line 3: expected numbers for workers and seconds (a worker is missing or not a whole number)",
        ),
        (
            ",22,",
            ",22.5,",
            "line 3: expected numbers for workers and seconds (a worker is missing or not a whole number)",
        ),
        (
            ",22,",
            ",1e300,",
            "line 3: expected numbers for workers and seconds (a worker is missing or not a whole number)",
        ),
    ],
)
def test_side_information_that_does_not_fit_is_reported_with_its_line(files, capsys, old, new, reported):
    text = (files / "side.csv").read_text()
    (files / "side.csv").write_text(text.replace(old, new))
    assert (
        run(files, "labels.csv", "--side-info", files / "side.csv", "--image-order", files / "order.npy") == 1
    )
    assert reported in capsys.readouterr().err


def test_labels_beyond_the_classes_are_reported_with_their_row(files, capsys):
    pd.DataFrame({**columns(), "random_label2": [1, 2, 10, 3]}).to_csv(files / "labels.csv", index=False)
    assert run(files) == 1
    assert "random_label2, row 2: 10 is not a class id from 0 to 9" in capsys.readouterr().err


def test_careless_workers_show_only_where_batches_belong_to_the_labels():
    rng = np.random.default_rng(0)
    batch = np.arange(20_000) // 10
    careless = rng.random((2_000, 3)) < 0.2
    errors = rng.random((20_000, 3)) < np.where(careless[batch], 0.7, 0.05)
    assert batch_excess(errors, batch) > 2
    assert abs(batch_excess(errors, rng.permutation(batch)) - 1) < 0.1


@pytest.mark.parametrize(
    ("arrays", "reported"),
    [
        ({"random_label1": np.zeros(1 << 21, np.int8)}, "random_label1 is int8 of shape (2097152,)"),
        ({"random_label2": np.zeros((4, 4), np.int64)}, "random_label2 is int64 of shape (4, 4)"),
        ({"random_label3": np.zeros(4, "U999")}, "random_label3 is <U999 of shape (4,)"),
        ({"clean_label": np.zeros(1 << 21, np.int8)}, "clean_label is int8 of shape (2097152,)"),
    ],
)
def test_an_array_that_unpacks_to_too_much_is_refused_by_its_header(files, capsys, arrays, reported):
    np.savez_compressed(files / "bomb.npz", **{**columns(), **arrays})
    assert run(files, "bomb.npz") == 1
    assert reported in capsys.readouterr().err


def test_the_values_are_those_of_the_member_whose_size_was_checked(files, capsys):
    np.savez_compressed(files / "two.npz", **columns())
    large = io.BytesIO()
    np.save(large, np.zeros(1 << 21, np.int8))
    with zipfile.ZipFile(files / "two.npz", "a") as archive:
        archive.writestr("random_label1", large.getvalue())  # np.load prefers it to random_label1.npy
    assert run(files, "two.npz") == 0
    assert read_choices(str(files / "two.npz"))[0][:, 0].tolist() == list(columns()["random_label1"])


def test_arrays_that_are_not_needed_are_not_read(files):
    np.savez_compressed(files / "more.npz", **columns(), other=np.zeros((1 << 22, 2), np.int8))
    assert run(files, "more.npz") == 0


@pytest.mark.parametrize("text", ["a," * 10_000 + "b\n1\n", "random_label1\n" + "1\n" * (1 << 24)])
def test_a_csv_of_too_many_columns_or_bytes_is_refused(files, capsys, text):
    (files / "bomb.csv").write_text(text)
    assert run(files, "bomb.csv") == 1
    assert "more than 33554432 bytes, or 4096 in the first line" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_csv_whose_short_lines_would_be_filled_with_columns_is_refused(files, capsys, end):
    (files / "bomb.csv").write_bytes(b"," * 2000 + b"\n" + f"1{end}".encode() * 3000)
    assert run(files, "bomb.csv") == 1
    assert "fewer values than the 2001 columns" in capsys.readouterr().err


def test_an_order_that_unpacks_to_too_much_is_refused(files, capsys):
    np.save(files / "order.npy", np.zeros(1 << 21, np.int8))
    assert run(files, "ordered.csv", "--tfds-order", "--image-order", files / "order.npy") == 1
    assert "expected a column of at most 1000000 labels" in capsys.readouterr().err
