"""Sets that are made exactly as they are listed, such as released ones: their noise is measured, not promised."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from common.errors import DataError
from pipeline.keyed_hash import shard_key
from pipeline.noise.examples import all_of
from pipeline.noise.pools import judge
from pipeline.noise.training_sets import TrainingSet
from pipeline.values import match_names
from schemas.example import PICTURES, TEST_SPLIT
from schemas.manifest import CARD, CROISSANT, MANIFEST
from schemas.retrieval import ATTRIBUTION

_SET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
RESERVED = [TEST_SPLIT, PICTURES, MANIFEST, CARD, CROISSANT]  # what a dataset has besides its training sets
COLOR = "listed"  # where the list names none
_OF_IMAGE = ["url", *(field.name for field in ATTRIBUTION)]
_OF_PAIR = ["method", "rank", "votes_yes", "votes_no", "votes_unsure", "confidence"]


def listed_sets(
    rows: pa.Table, retrievals: pa.Table, verdicts: pa.Table, class_names: Sequence[str]
) -> Iterator[TrainingSet]:
    """Make every set of the list `rows`: strings, with the `row` of each, as `read_records` gives them.

    Images that dedupe has removed are used all the same, since the list asks for them; images that were not ingested
    cannot be, and are counted. `is_clean` is whether the label is the class of the clean list, or whether the verdict
    on the web image and this class is yes; where there is none, it is false, and counted. Raises DataError, naming the
    row, for names of sets that cannot be folders, unknown classes, test images, and images listed twice in a set.
    """
    frame = rows.to_pandas()
    frame["class_name"] = match_names(rows["class_name"], class_names).to_pandas()
    _check(frame, class_names)
    label = {name: i for i, name in enumerate(class_names)}
    frame["label"] = frame["class_name"].map(label)
    judged = judge(retrievals, verdicts, class_names)
    sources = dict(zip(retrievals["image_id"].to_pylist(), retrievals["source"].to_pylist(), strict=True))
    frame["source"] = frame["image_id"].map(sources)
    tests = frame[frame["source"] == "test"]
    if len(tests):
        raise DataError(
            f"{tests['location'].iloc[0]}: {tests['image_id'].iloc[0]} is a test image; take it out of the set"
        )
    clean = judged[judged["source"] == "clean"].set_index("image_id")
    frame["clean_label"] = frame["image_id"].map(clean["label"])
    web = judged[judged["source"] == "web"]
    frame = frame.merge(
        web[["image_id", "label", "verdict", *_OF_PAIR]], on=["image_id", "label"], how="left"
    )
    first = judged.drop_duplicates("image_id").set_index("image_id")
    true = web.dropna(subset=["true_label"]).drop_duplicates("image_id").set_index("image_id")["true_label"]
    for name in _OF_IMAGE:
        frame[name] = frame["image_id"].map(first[name])
    is_web = frame["source"] == "web"
    frame["true_label"] = frame["clean_label"].where(~is_web, frame["image_id"].map(true)).astype("Int64")
    frame["is_clean"] = (frame["clean_label"] == frame["label"]).where(~is_web, frame["verdict"] == "yes")
    frame["true_label"] = frame["true_label"].where(~frame["is_clean"], frame["label"])
    codes, ids = pd.factorize(frame["image_id"])
    frame["place"] = shard_key(ids)[codes]
    for name, listed in frame.groupby("set", sort=True):
        yield _split(str(name), listed)


def _check(frame: pd.DataFrame, class_names: Sequence[str]) -> None:
    """Raise DataError for the first row that breaks a rule."""
    missing = frame[["set", "image_id", "class_name"]].isna().any(axis=1)
    bad_name = ~frame["set"].fillna("").str.fullmatch(_SET_NAME) | frame["set"].isin(RESERVED)
    level = pd.to_numeric(frame["noise_level"], errors="coerce")
    rules = {
        "set, image_id and class_name are needed": missing,
        "the set's name is taken, or no name of a folder; use letters, digits, _ . -": bad_name,
        "the class is not among the classes of the configuration": ~frame["class_name"].isin(class_names),
        "the image stands in an earlier row of the set; take one out": frame.duplicated(["set", "image_id"]),
        "noise_level is a share from 0 to 1": frame["noise_level"].notna() & ~level.between(0, 1),
    }
    for rule, broken in rules.items():
        if broken.any():
            row = frame[broken].iloc[0]
            raise DataError(
                f"{row['location']} ({row['set']}, {row['image_id']}, {row['class_name']}): {rule} "
                f"({int(broken.sum())} such rows)"
            )


def _split(name: str, listed: pd.DataFrame) -> TrainingSet:
    for column in ("color", "noise_level"):
        if listed[column].nunique(dropna=False) > 1:
            raise DataError(f"{name}: its rows have more than one {column}; give all the same")
    there = listed[listed["source"].notna()]
    color, level = listed["color"].iloc[0], listed["noise_level"].iloc[0]
    wrong = int((~there["is_clean"].astype(bool)).sum())
    realized = wrong / len(there) if len(there) else 0.0
    unjudged = (there["source"] == "web") & ~there["verdict"].isin(["yes", "no"])
    absent = listed[listed["source"].isna()]["image_id"].sort_values()
    facts: dict[str, Any] = {
        "noise": "measured",
        "realized_noise": round(realized, 6),
        "claimed_noise": None if pd.isna(level) else float(level),
        "rows_listed": len(listed),
        "not_ingested": len(absent),
        "not_ingested_first": absent.head(10).to_list(),
        "not_judged": int(unjudged.sum()),
    }
    return TrainingSet(
        COLOR if pd.isna(color) else str(color),
        round(realized, 6) if pd.isna(level) else float(level),
        0,
        all_of(there),
        title=name,
        measured=facts,
    )
