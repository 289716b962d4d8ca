"""From the tables of the earlier stages to the three pools that training sets are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.noise.supply import Supply
from schemas.retrieval import ATTRIBUTION

_WEB_COLUMNS = [
    "image_id",
    "label",
    "true_label",
    "url",
    *(field.name for field in ATTRIBUTION),
    "method",
    "rank",
    "votes_yes",
    "votes_no",
    "votes_unsure",
]
_TEXT = ["url", *(field.name for field in ATTRIBUTION)]


@dataclass(frozen=True)
class Pools:
    """Clean, test and wrong web images, how many rows each step has left (`funnel`, in order), and why (`supply`)."""

    clean: pd.DataFrame
    test: pd.DataFrame
    wrong: pd.DataFrame
    funnel: dict[str, int]
    supply: Supply


def make_pools(
    retrievals: pa.Table,
    verdicts: pa.Table,
    duplicates: pa.Table,
    class_names: Sequence[str],
    min_confidence: float = 0.0,
    min_votes: int = 1,
) -> Pools:
    """Join the tables.

    A clean or web image that dedupe has removed is in no pool. A web image is wrong for a class where the verdict
    is no with at least `min_confidence`; its true label is known where exactly one class has the verdict yes.
    """
    rows = _with_labels(retrievals, class_names)
    removed = set(duplicates.filter(pc.field("removed"))["image_id"].to_pylist())
    kept = ~rows["image_id"].isin(removed)
    of = {
        source: rows[(rows["source"] == source) & kept].reset_index(drop=True)
        for source in ("clean", "test", "web")
    }

    all_judged = _judge(rows[rows["source"] == "web"], verdicts, class_names)
    is_removed = all_judged["image_id"].isin(removed)
    judged = all_judged[~is_removed].reset_index(drop=True)
    wrong = judged[(judged["verdict"] == "no") & (judged["confidence"] >= min_confidence)]
    wrong = wrong[[*_WEB_COLUMNS, "confidence"]].sort_values(["image_id", "label"]).reset_index(drop=True)

    in_web = int((rows["source"] == "web").sum())
    funnel = {
        "clean_images": int((rows["source"] == "clean").sum()),
        "clean_images_kept": len(of["clean"]),
        "test_images": len(of["test"]),
        "web_pairs": in_web,
        "web_pairs_kept": len(of["web"]),
        **{f"web_pairs_{v.replace(' ', '_')}": int((judged["verdict"] == v).sum())
           for v in ("yes", "no", "undecided", "no votes")},
        "wrong_images": int(wrong["image_id"].nunique()),
    }  # fmt: skip
    votes = all_judged[["votes_yes", "votes_no", "votes_unsure"]].sum(axis=1).astype("int64")
    questions = all_judged[["label", "method", "verdict", "confidence"]].assign(
        votes=votes, removed=is_removed
    )
    return Pools(of["clean"], of["test"], wrong, funnel, Supply(questions, min_votes, min_confidence))


def judge(retrievals: pa.Table, verdicts: pa.Table, class_names: Sequence[str]) -> pd.DataFrame:
    """All rows of the lists with their label, and of web rows what is known of them by the verdicts."""
    rows = _with_labels(retrievals, class_names)
    is_web = rows["source"] == "web"
    return pd.concat([rows[~is_web], _judge(rows[is_web], verdicts, class_names)], ignore_index=True)


def _with_labels(retrievals: pa.Table, class_names: Sequence[str]) -> pd.DataFrame:
    labels = pc.index_in(retrievals["class_name"], pa.array(class_names, pa.string()))
    if labels.null_count:
        strange = pc.min(retrievals["class_name"].filter(pc.is_null(labels)))
        raise DataError(
            f"{strange} is not among the classes, but was when ingest ran; run ingest and label again, or build"
        )
    rows = retrievals.drop_columns(["location", "path", "sha256", "class_name", *_TEXT]).to_pandas()
    for name in _TEXT:  # which nothing here looks at: as Arrow has it, it takes a third of the memory
        rows[name] = pd.Series(pd.array(retrievals[name], pd.ArrowDtype(pa.string())), index=rows.index)
    rows["label"] = labels.to_numpy().astype("int64")
    return rows


def _judge(web: pd.DataFrame, verdicts: pa.Table, class_names: Sequence[str]) -> pd.DataFrame:
    """Add verdict, votes, confidence, and the true label where exactly one class has the verdict yes."""
    labels = pc.index_in(verdicts["class_name"], pa.array(class_names, pa.string()))
    known = verdicts.drop_columns(["class_name", "posterior"]).append_column("label", labels.cast(pa.int64()))
    judged = web.merge(known.filter(pc.is_valid(labels)).to_pandas(), on=["image_id", "label"], how="left")
    judged["verdict"] = judged["verdict"].fillna("no votes")
    right = judged[judged["verdict"] == "yes"].groupby("image_id")["label"].agg(["min", "size"])
    judged["true_label"] = judged["image_id"].map(right["min"].where(right["size"] == 1)).astype("Int64")
    return judged.rename(columns={"yes": "votes_yes", "no": "votes_no", "unsure": "votes_unsure"})
