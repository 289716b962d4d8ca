"""The peers of benchmarks/reader.py, each in its own process, which reads all rows on request.

    PYTHON benchmarks/reader_peers.py NAME FOLDER COUNT    # then one line on standard input per round

FOLDER has `shards` (Parquet), `tars` and `folders` with the same COUNT images. Libraries that keep images in a format
of their own write it before the first round. Where a library leaves decoding to its user, simplejpeg (libjpeg-turbo)
decodes, as in our reader; where it brings a decoder, its own does. Nothing of this project is imported.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE, BATCH = 84, 128
Read = Callable[[], int]


def _pixels(image: Any) -> bool:
    """Return whether an image of any kind is one of SIDE rows, once it has been decoded to an array."""
    return np.asarray(image).shape[0] == SIDE


def _decoded(data: bytes) -> bool:
    from simplejpeg import decode_jpeg

    return decode_jpeg(data, "RGB").shape[0] == SIDE


def _encoded(folder: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes and the label of each image of the Parquet shards."""
    import pyarrow.parquet as pq

    for file in sorted((folder / "shards").glob("*.parquet")):
        for row in pq.read_table(file, columns=["image", "label"]).to_pylist():
            yield row["image"]["bytes"], row["label"]


def datasets_streaming(folder: Path, _: int) -> Read:
    data = _hugging_face(folder, streaming=True).shuffle(seed=0, buffer_size=1000)
    return lambda: sum(_pixels(row["image"]) for row in data)


def datasets_map_style(folder: Path, _: int) -> Read:
    data = _hugging_face(folder, streaming=False).shuffle(seed=0)
    return lambda: sum(_pixels(row["image"]) for row in data)


def _hugging_face(folder: Path, streaming: bool) -> Any:
    import datasets

    datasets.disable_progress_bars()
    files = sorted(str(path) for path in (folder / "shards").glob("*.parquet"))
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=streaming, cache_dir=str(folder / "cache")
    )
    return data.select_columns(["image", "label"])


def web_dataset(folder: Path, _: int) -> Read:
    import webdataset

    paths = sorted(str(path) for path in (folder / "tars").glob("*.tar"))
    data = webdataset.WebDataset(paths, shardshuffle=len(paths), seed=0).shuffle(1000).decode("rgb8")
    data = data.to_tuple("jpg", "cls")
    return lambda: sum(_pixels(image) for image, _ in data)


def image_folder(folder: Path, count: int) -> Read:
    from torchvision.datasets import ImageFolder

    data = ImageFolder(str(folder / "folders"), transform=np.asarray)
    order = np.random.default_rng(0).permutation(count).tolist()
    return lambda: sum(_pixels(data[row][0]) for row in order)


def spdl(folder: Path, count: int) -> Read:
    """Files in one thread, in batches, as in SPDL's example of image loading."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    paths = np.array(sorted(str(path) for path in (folder / "folders").rglob("*.jpg")))
    spdl.io.load_image(paths[0])  # fails here, not later, where FFmpeg's libraries are missing
    order = np.random.default_rng(0).permutation(count)

    def decode(batch: list[str]) -> np.ndarray:
        array = spdl.io.to_numpy(spdl.io.load_image_batch(batch, width=None, height=None))
        return np.asarray(array)

    def read() -> int:
        pipeline = (
            PipelineBuilder()
            .add_source(paths[order].tolist())
            .aggregate(BATCH)
            .pipe(decode, concurrency=1)
            .add_sink(2)
            .build(num_threads=1)
        )
        with pipeline.auto_stop():
            return sum(len(batch) for batch in pipeline if batch.shape[1] == SIDE)

    return read


def grain(folder: Path, _: int) -> Read:
    """ArrayRecord with one record a group, as Grain recommends for random access."""
    import grain as library
    from array_record.python.array_record_module import ArrayRecordWriter

    file = str(folder / "images.array_record")
    writer = ArrayRecordWriter(file, "group_size:1")
    for data, _label in _encoded(folder):
        writer.write(data)
    writer.close()
    source = library.sources.ArrayRecordDataSource([file])
    data = library.MapDataset.source(source).shuffle(seed=0).map(_decoded)
    options = library.ReadOptions(num_threads=1, prefetch_buffer_size=BATCH)
    return lambda: sum(data.to_iter_dataset(options))


def lance(folder: Path, count: int) -> Read:
    import lance as library
    import pyarrow as pa

    images, labels = zip(*_encoded(folder), strict=True)
    table = pa.table({"image": pa.array(images, pa.large_binary()), "label": labels})
    data = library.write_dataset(table, str(folder / "images.lance"))
    order = np.random.default_rng(0).permutation(count)

    def read() -> int:
        rows = 0
        for start in range(0, count, BATCH):
            batch = data.take(order[start : start + BATCH].tolist(), columns=["image", "label"])
            rows += sum(_decoded(one.as_py()) for one in batch["image"])
        return rows

    return read


def mosaic_streaming(folder: Path, _: int) -> Read:
    from streaming import MDSWriter, StreamingDataset

    shards = str(folder / "mds")
    with MDSWriter(out=shards, columns={"image": "bytes", "label": "int"}) as writer:
        for data, label in _encoded(folder):
            writer.write({"image": data, "label": label})
    data = StreamingDataset(local=shards, shuffle=True, shuffle_seed=0, batch_size=BATCH)
    return lambda: sum(_decoded(row["image"]) for row in data)


PEERS: dict[str, Callable[[Path, int], Read]] = {
    "datasets, streaming": datasets_streaming,
    "datasets, map-style": datasets_map_style,
    "WebDataset": web_dataset,
    "ImageFolder": image_folder,
    "SPDL": spdl,
    "Grain": grain,
    "Lance": lance,
    "MosaicML Streaming": mosaic_streaming,
}


def main() -> None:
    """Print a line when ready, and for each line of standard input the rows read and the CPU seconds they took."""
    name, folder, count = sys.argv[1:]
    read = PEERS[name](Path(folder), int(count))
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.process_time()
        rows = read()
        print(json.dumps({"rows": rows, "seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
