"""Archives, arrays and lists of released datasets are read (pipeline/published, training/methods/mentornet_pd.py).

The first byte chooses the reader; the rest is the file. Of a zip file, the input is the bytes, or the texts of its members,
from which an archive is made. A file gives a result or a `DataError` that names it. Results keep what readers promise:
class ids below the number of classes, ids without separators, each image once in a split, an order that is a permutation.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from pyarrow import parquet

from common.errors import DataError
from pipeline.published.census import known_labels, usable
from pipeline.published.cifar_n import import_cifar_n
from pipeline.published.cifar_n_files import read_choices, read_order, read_side_info
from pipeline.published.problems import Problems
from pipeline.published.release import ReleasedSplit, read_release
from tests.fuzz.inputs import SEPARATOR, check_error, choice, folder, parts, written
from training.methods.mentornet_pd import SHAPES, MentorNetPD

SET_NAME = "mini-imagenet"
MEMBERS = (
    f"{SET_NAME}-annotations.json", f"{SET_NAME}/class_names.txt", f"{SET_NAME}/split/red_noise_nl_0.2",
    f"{SET_NAME}/split/blue_noise_nl_0.0", f"{SET_NAME}/split/clean_validation",
)  # fmt: skip
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
IMAGES = 4
WORDS = (
    *(name.encode() for name in MEMBERS),
    *(
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\x93NUMPY\x01\x00",
        b"{'descr': '<i8', ",
    ),
    *(
        b"'fortran_order': False, 'shape': (4,), }",
        b"'|O'",
        b'"image/id"',
        b'"image/uri"',
        b'"image/class/label"',
        b'"data"',
    ),
    *(
        b"random_label1",
        b"noisy_label",
        b"clean_label",
        b"Image-batch",
        b"Worker1-id",
        b"Work-time-in-seconds-1",
        b"0--3",
    ),
)


def archive(members: dict[str, bytes], compression: int) -> bytes:
    """Return a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def arrays(columns: dict[str, np.ndarray]) -> bytes:
    """Return an .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **columns)
    return file.getvalue()


def seeds() -> Iterator[bytes]:
    """Yield a file for each reader; zip files in each compression, whole and damaged."""
    entry = '{"image/uri": "https://x.test/w.jpg", "image/id": "w", "image/class/label": 1, "image/class/label/is_clean": 0}'
    texts = [
        f'{{"data": [[{entry}], [], [3]]}}',
        "ant\nbee\n",
        "w.jpg 1\na.jpg 0\nw.jpg 1\nx\n",
        "a.jpg 0\nb 1",
        "t.jpg 1\n",
    ]
    files = [text.encode() for text in texts]
    yield b"\x00" + SEPARATOR.join(files)
    for compression in COMPRESSIONS:
        made = archive(dict(zip(MEMBERS, files, strict=True)), compression)
        middle = made.index(b"mini-imagenet-annotations.json") + 60
        yield b"\x01" + made
        yield b"\x01" + made[:middle] + b"\xff\x00\xff" + made[middle + 3 :]
    labels = {f"random_label{n}": np.arange(IMAGES) for n in (1, 2, 3)} | {"clean_label": np.arange(IMAGES)}
    for data in (
        arrays(labels),
        arrays({"noisy_label": np.array([1.0, np.nan])}),
        arrays({"noisy_label": np.array(["1"])}),
    ):
        yield b"\x02" + data
    yield b"\x03" + b"random_label1,random_label2,random_label3,clean_label\n0,1,2,3\n4,5,6,\n"
    order = io.BytesIO()
    np.save(order, np.arange(IMAGES)[::-1])
    yield b"\x04" + order.getvalue()
    yield b"\x05Image-batch,Worker1-id,Worker2-id,Work-time-in-seconds-1,Work-time-in-seconds-2\n0--1,5,6,7,8.5\n2--3,5,7,,1\n"
    yield b"\x05Image-batch,Worker1-id,Worker2-id,Work-time-in-seconds-1,Work-time-in-seconds-2\n,5,6,7,8.5\n"
    yield b"\x07image_id,class_name\n00000,cat\n00001,dog\n00001,dog\nx,cat\n"
    yield b"\x07class_name;image_id\ncat\n"
    yield b"\x06" + arrays({name: np.zeros(shape, "float32") for name, shape in SHAPES.items()})


def check(data: bytes) -> None:
    """Read a file."""
    number, data = choice(data, 8)
    if number == 0:
        data = archive(dict(zip(MEMBERS, parts(data, len(MEMBERS)), strict=True)), zipfile.ZIP_STORED)
    ending = ("zip", "zip", "npz", "csv", "npy", "csv", "npz", "csv")[number]
    path = written(f"file.{ending}", data)
    readers = (
        check_release,
        check_release,
        check_choices,
        check_choices,
        check_order,
        check_side_info,
        check_mentor,
        check_pairs,
    )
    try:
        readers[number](path)
    except DataError as error:
        check_error(error, path)


def check_release(path: str) -> None:
    problems = Problems()
    release = read_release(path, SET_NAME, problems)
    classes = len(release.class_names)
    assert classes >= 2
    assert all(0 <= annotation.label < classes for annotation in release.annotations)
    known = known_labels(release, problems)
    for split in [*release.splits, release.validation]:
        check_split(split, classes)
        pairs, census = usable(split, known, problems)
        assert len(pairs) + census.unknown == census.lines == len(split.ids)
        assert 0 <= census.realized <= 1
    assert sum(problems.counts().values()) == len(problems.listed)


def check_split(split: ReleasedSplit, classes: int) -> None:
    assert len(set(split.ids)) == len(split.ids) == len(split.labels)
    assert all(0 <= label < classes for label in split.labels)
    assert all(os.sep not in image_id and image_id not in (".", "..") for image_id in split.ids)


def check_choices(path: str) -> None:
    choices, truth, classes = read_choices(path)
    for values in (choices, choices[:, 0] if truth is None else truth):
        assert values.dtype == np.int64
        assert ((values >= 0) & (values < classes)).all()
        assert len(values) == len(choices)


def check_order(path: str) -> None:
    assert sorted(read_order(path, IMAGES).tolist()) == list(range(IMAGES))


def check_side_info(path: str) -> None:
    who, _, batch = read_side_info(path, IMAGES, 2)
    assert who.shape == (IMAGES, 2)
    assert (batch >= 2).all()


def check_pairs(path: str) -> None:
    labels = written("labels.csv", b"random_label1,random_label2,random_label3\n0,1,2\n3,3,3\n")
    counts = import_cifar_n(labels, str(folder("votes")), pairs=path)
    votes = parquet.read_table(folder("votes") / "votes.parquet")
    assert votes.num_rows == counts["votes"] == 3 * counts["pairs"]
    assert set(votes["image_id"].to_pylist()) <= {"00000", "00001"}


def check_mentor(path: str) -> None:
    variables = MentorNetPD.load(Path(path), torch.device("cpu")).variables
    assert {name: tuple(tensor.shape) for name, tensor in variables.items()} == SHAPES
