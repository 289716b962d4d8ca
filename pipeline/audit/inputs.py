"""Read what the audit needs of a build: features, classes, verdicts and near-duplicates, as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.audit.exact import on_grid
from pipeline.audit.probe import FOLDS, UNLABELED
from pipeline.embed.bucket import feature_matrix
from pipeline.embed.features import read_feature_shards
from pipeline.keyed_hash import keyed_hash
from pipeline.layout import Layout
from pipeline.shards import directory
from pipeline.shards.ingested_lists import read_ingested_lists
from schemas.duplicate import DUPLICATE
from schemas.retrieval import RETRIEVAL
from schemas.suspect import GIVEN, NO_VOTES
from schemas.verdict import VERDICT, VERDICTS

SOURCES = ("clean", "test", "web")
STATES = (*VERDICTS, NO_VOTES, GIVEN)
YES, NO, UNDECIDED, WITHOUT, AS_GIVEN = range(len(STATES))
_QUESTION = ("image_id", "class_name")


@dataclass(frozen=True)
class AuditInputs:
    """n images with features, in the order of their shard keys, and m questions, by image and class.

    image_ids: text (n,). order: uint64 (n,), keyed hashes of the ids. groups: int64 (n,), equal for near-duplicates.
    folds: int64 (n,), equal in a group. labels: int64 (n,), the class to learn from: the given label of a clean image, the
    one class to which the votes on a web image say yes, else UNLABELED; test images are not learned from.

    question_images: int64 (m,), indices of images, ascending. question_classes: int64 (m,). sources, states: int8 (m,),
    indices into SOURCES and STATES. counts: int64 (m, 3), yes, no and unsure votes. p_wrong: float64 (m,), by the votes, or
    NaN.
    """

    class_names: list[str]
    image_ids: pa.ChunkedArray
    order: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    labels: np.ndarray
    question_images: np.ndarray
    question_classes: np.ndarray
    sources: np.ndarray
    states: np.ndarray
    counts: np.ndarray
    p_wrong: np.ndarray


def input_folders(output: str) -> dict[str, str]:
    """Return the folders of the tables that the audit reads, by name."""
    layout = Layout(output)
    return {
        "images": layout.images, "retrievals": layout.retrievals, "features": layout.features,
        "verdicts": layout.verdicts, "duplicates": layout.duplicates,
    }  # fmt: skip


def feature_blocks(output: str) -> Iterable[np.ndarray]:
    """Yield the features of all images on the grid, shard by shard. Raises DataError if they are missing or not finite."""
    folder = Layout(output).features
    for shard in read_feature_shards(folder, check_digests=True):
        try:
            yield on_grid(feature_matrix(shard))
        except ValueError as error:
            raise DataError(
                f"{folder}: {error}; run the embed stage again with --force, with precision: float32 if it was another"
            ) from error


def read_inputs(output: str) -> AuditInputs:
    """Read the tables of a build. Raises DataError if one is missing, or if images have no features."""
    folders = input_folders(output)
    class_names = read_ingested_lists(folders["retrievals"]).classes
    ids = [shard["image_id"] for shard in read_feature_shards(folders["features"])]
    image_ids = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string())
    duplicates = directory.read_table(folders["duplicates"], DUPLICATE, ["image_id", "keeper_id", "removed"])
    groups = _groups(image_ids, duplicates)
    questions = _questions(folders, image_ids, class_names, duplicates)
    order = keyed_hash(image_ids, 0, "audit")
    labels = _labels(len(image_ids), questions)
    return AuditInputs(
        class_names,
        image_ids,
        order,
        groups,
        (order[groups] % np.uint64(FOLDS)).astype(np.int64),
        labels,
        **questions,
    )


def _groups(image_ids: pa.ChunkedArray, duplicates: pa.Table) -> np.ndarray:
    """Return for each image the index of its keeper, or its own."""
    groups = np.arange(len(image_ids))
    copies, keepers = (_index(duplicates[name], image_ids) for name in ("image_id", "keeper_id"))
    known = (copies >= 0) & (keepers >= 0)
    groups[copies[known]] = keepers[known]
    return groups[groups]  # a keeper may itself be reported as near a test image


def _index(values: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    """Return the index of each value, -1 for values that are not `among` the others."""
    found = pc.index_in(values, value_set=among.combine_chunks())
    result: np.ndarray = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return result


def _questions(
    folders: dict[str, str], image_ids: pa.ChunkedArray, class_names: list[str], duplicates: pa.Table
) -> dict[str, np.ndarray]:
    """Return the columns of AuditInputs that describe questions; removed images have none."""
    rows = directory.read_table(folders["retrievals"], RETRIEVAL, [*_QUESTION, "source"])
    removed = duplicates.filter(pc.field("removed"))["image_id"].combine_chunks()
    rows = rows.filter(pc.invert(pc.is_in(rows["image_id"], value_set=removed)))
    images, classes = _codes(rows, image_ids, class_names)
    if (images < 0).any():
        raise DataError(
            f"{folders['features']}: there are no features of image {rows['image_id'][int(images.argmin())].as_py()!r}; run the "
            "embed stage again"
        )
    sources = _index(rows["source"], pa.chunked_array([SOURCES]))
    order = np.lexsort((classes, images))
    images, classes, sources = images[order], classes[order], sources[order].astype(np.int8)
    states, counts, p_wrong = _votes(folders["verdicts"], image_ids, class_names, images, classes)
    is_web = sources == SOURCES.index("web")
    states[~is_web], p_wrong[~is_web] = AS_GIVEN, np.nan
    return {
        "question_images": images, "question_classes": classes, "sources": sources, "states": states,
        "counts": np.where(is_web[:, None], counts, 0), "p_wrong": p_wrong,
    }  # fmt: skip


def _codes(
    rows: pa.Table, image_ids: pa.ChunkedArray, class_names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    images = _index(rows["image_id"], image_ids)
    return images, _index(rows["class_name"], pa.chunked_array([class_names], pa.string()))


def _votes(
    folder: str,
    image_ids: pa.ChunkedArray,
    class_names: list[str],
    images: np.ndarray,
    classes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return state, counts and p_wrong of each question; those without a verdict have no votes."""
    columns = [*_QUESTION, "verdict", "yes", "no", "unsure", "p_wrong"]
    rows = directory.read_table(folder, VERDICT, columns)
    of_image, of_class = _codes(rows, image_ids, class_names)
    usable = np.flatnonzero((of_image >= 0) & (of_class >= 0))
    keys = of_image[usable] * len(class_names) + of_class[usable]
    order = np.argsort(keys, kind="stable")
    usable, keys = usable[order], keys[order]
    wanted = images * len(class_names) + classes
    found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    voted = keys[found] == wanted if len(keys) else np.zeros(len(wanted), bool)
    row = usable[found[voted]] if len(keys) else usable
    states = np.full(len(wanted), WITHOUT, np.int8)
    counts, p_wrong = np.zeros((len(wanted), 3), np.int64), np.full(len(wanted), np.nan)
    states[voted] = _index(rows["verdict"], pa.chunked_array([VERDICTS]))[row]
    counts[voted] = np.stack([rows[name].to_numpy() for name in ("yes", "no", "unsure")], axis=1)[row]
    p_wrong[voted] = rows["p_wrong"].to_numpy()[row]
    return states, counts, p_wrong


def _labels(images: int, questions: dict[str, np.ndarray]) -> np.ndarray:
    """Return the class that the probe learns for each image, or UNLABELED."""
    sources, states = questions["sources"], questions["states"]
    says = (sources == SOURCES.index("clean")) | (states == YES)
    of_image, of_class = questions["question_images"][says], questions["question_classes"][says]
    labels = np.full(images, UNLABELED)
    labels[of_image] = of_class
    labels[np.bincount(of_image, minlength=images) > 1] = UNLABELED
    return labels
