"""Fixed sets: training sets whose examples are given by a list, such as released ones. Their noise is measured."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.keyed_hash import shard_key
from pipeline.noise.examples import LIST_SCHEMA
from pipeline.noise.pools import class_ids, join_verdicts
from pipeline.values import match_names
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.manifest import CARD, CROISSANT, MANIFEST
from schemas.retrieval import ATTRIBUTION

_SET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
RESERVED = [TEST_SET, SHARED_IMAGES, MANIFEST, CARD, CROISSANT]  # other names in the folder of a dataset
COLOR = "fixed"  # of a set without one
_OF_IMAGE = ["url", *(field.name for field in ATTRIBUTION)]
_OF_PAIR = ["method", "rank", "votes_yes", "votes_no", "votes_unsure", "confidence", "p_wrong", "noise_type"]


@dataclass(frozen=True)
class FixedSet:
    """A set given by a list: its examples, a table of LIST_SCHEMA, with their shard keys, uint64 (n,), ascending.

    measured: its noise and its missing images, for its manifest.
    """

    name: str
    color: str
    noise_level: float
    examples: pa.Table
    shard_keys: np.ndarray
    measured: dict[str, Any]

    def __len__(self) -> int:
        return self.examples.num_rows


def fixed_sets(
    rows: pa.Table, retrievals: pa.Table, verdicts: pa.Table, class_names: Sequence[str]
) -> Iterator[FixedSet]:
    """Make all sets of a list.

    rows: the list as strings, each with its `location`, as `read_records` returns them. retrievals, verdicts: at least the
    rows of the images in the list. Images that dedupe has removed are used; images that were not ingested are left out
    and counted. A clean image is a right example if its label is the class of the clean list; a web image if its verdict
    for the label is yes. Web images without a verdict count as wrong, and are counted separately. Raises DataError, naming
    the row, for a set name that cannot be a folder, an unknown class, a test image, and a repeated image of a set.
    """
    frame = rows.to_pandas()
    frame["class_name"] = match_names(rows["class_name"], class_names).to_pandas()
    _check(frame, class_names)
    label = {name: i for i, name in enumerate(class_names)}
    frame["label"] = frame["class_name"].map(label)
    retrievals = retrievals.combine_chunks()
    labels = class_ids(retrievals["class_name"], class_names)
    is_web = np.asarray(pc.equal(retrievals["source"], "web").to_numpy(), bool)
    given = retrievals.select(["image_id", "source", *_OF_IMAGE]).to_pandas().assign(label=labels)
    web_rows = retrievals.filter(pa.array(is_web)).drop_columns(["class_name", "source", *_OF_IMAGE])
    web = join_verdicts(web_rows, labels[is_web], verdicts, class_names)
    web = web.to_pandas()
    web["true_label"] = web["true_label"].astype("Int64")
    frame["source"] = frame["image_id"].map(given.drop_duplicates("image_id").set_index("image_id")["source"])
    tests = frame[frame["source"] == "test"]
    if len(tests):
        raise DataError(
            f"{tests['location'].iloc[0]}: {tests['image_id'].iloc[0]!r} is a test image; remove it from the set"
        )
    clean = given[given["source"] == "clean"].set_index("image_id")
    frame["clean_label"] = frame["image_id"].map(clean["label"])
    frame = frame.merge(
        web[["image_id", "label", "verdict", "true_label", *_OF_PAIR]], on=["image_id", "label"], how="left"
    )
    of_image = given.drop_duplicates("image_id").set_index("image_id")
    for name in _OF_IMAGE:
        frame[name] = frame["image_id"].map(of_image[name])
    is_web = frame["source"] == "web"
    frame["is_clean"] = (frame["clean_label"] == frame["label"]).where(~is_web, frame["verdict"] == "yes")
    frame["true_label"] = _true_labels(frame, web)
    frame["noise_type"] = (
        frame["noise_type"]
        .fillna("open")
        .where(frame["true_label"].isna(), "closed")
        .where(~frame["is_clean"], None)
    )
    codes, ids = pd.factorize(frame["image_id"])
    frame["shard_key"] = shard_key(ids)[codes]
    for name, of_set in frame.groupby("set_name", sort=True):
        yield _fixed_set(str(name), of_set)


def _true_labels(frame: pd.DataFrame, web: pd.DataFrame) -> pd.Series:
    """Return the class that each image shows, Int64, null where it is unknown.

    frame: the list with source, label, clean_label, is_clean, and the true_label of the pairs of image and class that have
    a verdict. web: all such pairs. An image that is listed with another class shows what its pairs agree on, if they do;
    never the class of a wrong example.
    """
    known = web.dropna(subset=["true_label"]).drop_duplicates(["image_id", "true_label"])
    of_image = known.drop_duplicates("image_id", keep=False).set_index("image_id")["true_label"]
    of_web = frame["true_label"].fillna(frame["image_id"].map(of_image))
    true = frame["clean_label"].astype("Int64").where(frame["source"] != "web", of_web)
    true = true.where(frame["is_clean"] | (true != frame["label"]).fillna(True))
    return true.where(~frame["is_clean"], frame["label"]).astype("Int64")


def _check(frame: pd.DataFrame, class_names: Sequence[str]) -> None:
    """Raise DataError for the first row that breaks a rule."""
    missing = frame[["set_name", "image_id", "class_name"]].isna().any(axis=1)
    bad_name = ~frame["set_name"].fillna("").str.fullmatch(_SET_NAME) | frame["set_name"].isin(RESERVED)
    level = pd.to_numeric(frame["noise_level"], errors="coerce")
    rules = {
        "a value of set_name, image_id or class_name is missing; fill it in": missing,
        "the set name is reserved, or not a valid folder name; use up to 100 letters, digits, _ . -": bad_name,
        "the class is not in 'classes'; correct it": ~frame["class_name"].isin(class_names),
        "an earlier row of the set has the same image; remove one of them": frame.duplicated(
            ["set_name", "image_id"]
        ),
        "noise_level must be a share from 0 to 1": frame["noise_level"].notna() & ~level.between(0, 1),
    }
    for rule, broken in rules.items():
        if broken.any():
            row = frame[broken].iloc[0]
            raise DataError(
                f"{row['location']} (set {row['set_name']!r}, image {row['image_id']!r}, class {row['class_name']!r}): {rule} "
                f"({int(broken.sum())} such rows)"
            )


def _fixed_set(name: str, rows: pd.DataFrame) -> FixedSet:
    for column in ("color", "noise_level"):
        if rows[column].nunique(dropna=False) > 1:
            raise DataError(
                f"set {name!r}: its rows have more than one {column}; give all rows the same value"
            )
    ingested = rows[rows["source"].notna()].sort_values("shard_key", kind="stable")
    color, level = rows["color"].iloc[0], rows["noise_level"].iloc[0]
    wrong = int((~ingested["is_clean"].astype(bool)).sum())
    realized = wrong / len(ingested) if len(ingested) else 0.0
    without_verdict = (ingested["source"] == "web") & ~ingested["verdict"].isin(["yes", "no"])
    absent = rows[rows["source"].isna()]["image_id"].sort_values()
    measured: dict[str, Any] = {
        "noise": "measured",
        "realized_noise": round(realized, 6),
        "claimed_noise": None if pd.isna(level) else float(level),
        "rows_in_list": len(rows),
        "not_ingested": len(absent),
        "not_ingested_first": absent.head(10).to_list(),
        "without_verdict": int(without_verdict.sum()),
    }
    columns = [
        pa.array(ingested[field.name], field.type, from_pandas=True)
        if field.name in ingested
        else pa.nulls(len(ingested), field.type)
        for field in LIST_SCHEMA
    ]
    return FixedSet(
        name,
        COLOR if pd.isna(color) else str(color),
        round(realized, 6) if pd.isna(level) else float(level),
        pa.table(columns, schema=LIST_SCHEMA),
        ingested["shard_key"].to_numpy(),
        measured,
    )
