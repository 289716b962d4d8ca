"""Readers of the files of CIFAR-10N and CIFAR-100N (github.com/UCSC-REAL/cifar-10-100n) other than pickles.

The labels are released as pickles, which are never opened; a CSV file, as for the TFDS builder `cifar10_n`, or an .npz of
plain arrays has the same columns. The side information has a line per batch of ten (CIFAR-100N: five) images in the order
of TFDS; `image_order_c10.npy` maps it to the order of torchvision.
"""

import io
import re
import zipfile
from typing import IO

import numpy as np
import pandas as pd

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.published.pickles import CONVERT
from pipeline.rejections import printable

LABELS = {10: ("random_label1", "random_label2", "random_label3"), 100: ("noise_label", "noisy_label")}
TRUTH = "clean_label"
MAX_IMAGES = 1_000_000  # CIFAR has 50,000
MAX_ITEM_BYTES = 64
MAX_ARRAYS = 1000
MAX_CSV_BYTES = 1 << 25
MAX_HEADER_BYTES = 1 << 12
_BATCH = re.compile(r"([0-9]{1,9})--([0-9]{1,9})")


def read_choices(path: str) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Return the workers' choices, int64 (images, workers), the true classes (images,) if given, and the class count.

    Raises UsageError with instructions for pickles, and DataError for other files without labels.
    """
    ending = path.rsplit(".", 1)[-1].lower()
    if ending in ("npy", "pt", "pth", "pkl"):
        raise UsageError(f"{path}: {CONVERT}")
    try:
        with files.open_read(path) as file:
            if ending == "npz":
                columns, names_found = _npz_columns(file)
            else:
                frame = _read_csv(file)
                columns = {str(name).strip(): frame[name].to_numpy() for name in frame}
                names_found = list(columns)
    except Exception as error:  # of NumPy, pandas, zipfile and each compression
        raise DataError(f"{path}: cannot be read ({error}).\n{CONVERT}") from error
    for classes, names in LABELS.items():
        found = [_classes(columns[name], classes, f"{path}: {name}") for name in names if name in columns]
        if len(found) == len(names) or (classes == 100 and found):
            truth = columns.get(TRUTH)
            known = None if truth is None else _classes(truth, classes, f"{path}: {TRUTH}")
            if len({len(one) for one in [*found, *([] if known is None else [known])]}) > 1:
                raise DataError(f"{path}: the columns have different lengths; convert the release again")
            return np.stack(found, axis=1), known, classes
    shown = ", ".join(printable(name)[:40] for name in names_found[:10])
    raise DataError(f"{path}: no columns of labels; it has the columns {shown}.\n{CONVERT}")


def _npz_columns(file: IO[bytes]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the label arrays of an .npz file, and the names of all arrays. Raises ValueError for an oversized array."""
    wanted = [name for names in (*LABELS.values(), (TRUTH,)) for name in names]
    columns = {}
    with zipfile.ZipFile(file) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()[:MAX_ARRAYS]]
        for name in set(wanted) & set(names):
            with archive.open(f"{name}.npy") as member:
                columns[name] = _read_array(member, name)
    return columns, names


def _read_array(file: IO[bytes], name: str) -> np.ndarray:
    """Read an array. Raises ValueError unless it is a plain array of one axis and at most `MAX_IMAGES`.

    The size is checked in the header first, because an array of zeros is compressed a thousandfold. Header and values are
    read from one open file: np.load may choose another member of an archive, such as one named without .npy.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if len(shape) != 1 or shape[0] > MAX_IMAGES or dtype.itemsize > MAX_ITEM_BYTES or dtype.hasobject:
        raise ValueError(
            f"{name} is {dtype} of shape {shape}, expected a column of at most {MAX_IMAGES} labels"
        )
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_csv(file: IO[bytes]) -> pd.DataFrame:
    """Read a CSV file of limited size. Raises ValueError for a larger one, and for lines that lack most of the columns.

    pandas fills the missing columns of short lines, which may take a thousand times the size of the file.
    """
    data = file.read(MAX_CSV_BYTES + 1)
    header = data.partition(b"\n")[0]
    if len(data) > MAX_CSV_BYTES or len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"more than {MAX_CSV_BYTES} bytes, or {MAX_HEADER_BYTES} in the first line")
    lines, columns = data.count(b"\n") + data.count(b"\r"), header.count(b",") + 1
    # A whole line has a delimiter or a line end behind each value, and may end in two bytes, \r\n.
    if lines * columns > 2 * len(data) + MAX_HEADER_BYTES:
        raise ValueError(f"lines have fewer values than the {columns} columns of the first line")
    return pd.read_csv(io.BytesIO(data))


def read_side_info(path: str, images: int, workers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return worker ids and seconds per image, both (images, workers), and batch indices (images,), in the order of TFDS.

    Raises DataError unless the batches cover each image once.
    """
    with files.open_read(path) as file:
        try:
            frame = _read_csv(file)
        except ValueError as error:
            raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    numbers = [str(n + 1) for n in range(workers)]
    if workers == 1:
        names, times = ["Worker-id"], ["Work-time-in-seconds"]
    else:
        names, times = [f"Worker{n}-id" for n in numbers], [f"Work-time-in-seconds-{n}" for n in numbers]
    missing = {"Image-batch", *names, *times} - set(frame.columns)
    if missing:
        raise DataError(
            f"{path}: missing column {', '.join(sorted(missing))}; it has {', '.join(map(str, frame))}"
        )
    who = np.full((images, workers), -1, np.int64)
    seconds = np.full((images, workers), np.nan)
    batch = np.full(images, -1, np.int64)
    batches = ["" if pd.isna(text) else str(text) for text in frame["Image-batch"]]
    rows = zip(batches, frame[names].to_numpy(), frame[times].to_numpy(), strict=True)
    for line, (text, worker, time) in enumerate(rows, 2):
        parts = _BATCH.fullmatch(text.strip())
        first, last = (int(parts[1]), int(parts[2])) if parts else (0, -1)
        if not first <= last < images or (batch[first : last + 1] >= 0).any():
            raise DataError(
                f"{path}, line {line}: batch {text!r} is not a new range of the {images} images; download the file again"
            )
        try:
            ids = worker.astype(float)
            if not ((np.abs(ids) < 2**53) & (ids == np.floor(ids))).all():
                raise ValueError("a worker is missing or not a whole number")
            who[first : last + 1] = ids.astype(np.int64)
            seconds[first : last + 1] = time.astype(float) / (last + 1 - first)
        except ValueError as error:
            raise DataError(
                f"{path}, line {line}: expected numbers for workers and seconds ({error})"
            ) from error
        batch[first : last + 1] = line
    if (batch < 0).any():
        raise DataError(
            f"{path}: no batch contains image {int(np.argmax(batch < 0))}; download the file again"
        )
    return who, seconds, batch


def read_order(path: str, images: int) -> np.ndarray:
    """Return for each image in the order of TFDS its index in the order of torchvision, int64 (images,)."""
    try:
        with files.open_read(path) as file:
            order = _read_array(file, "the order")
    except Exception as error:  # a damaged file can make NumPy raise any
        raise DataError(f"{path}: not a plain array ({error}); download image_order_c10.npy again") from error
    if order.shape != (images,) or not np.array_equal(np.sort(order), np.arange(images)):
        raise DataError(
            f"{path}: expected each number from 0 to {images - 1} once; use the file of the same dataset"
        )
    return order.astype(np.int64)


def _classes(values: np.ndarray, classes: int, where: str) -> np.ndarray:
    numbers = pd.to_numeric(pd.Series(np.ravel(values)), errors="coerce").to_numpy(float)
    bad = ~((numbers >= 0) & (numbers < classes) & (numbers == np.floor(numbers)))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}, row {row}: {np.ravel(values)[row]} is not a class id from 0 to {classes - 1}; convert the release again"
        )
    return numbers.astype(np.int64)
