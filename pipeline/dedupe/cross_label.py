"""The same picture under several classes: at most one of the labels is right, which is label noise in itself."""

import pandas as pd
import pyarrow as pa

from schemas.cross_label import CROSS_LABEL


def cross_labels(duplicates: pa.Table, retrievals: pa.Table, verdicts: pa.Table) -> pa.Table:
    """Every (image, class) of a picture that stands under more than one class, with what was voted on it.

    Near-duplicates are one picture, named by the image that stays for them. What the lists of clean and test images
    say has the verdict "given"; web rows without a verdict have "no votes".
    """
    rows = retrievals.select(["image_id", "source", "class_name"]).to_pandas().drop_duplicates()
    keeper = dict(zip(*(duplicates[name].to_pylist() for name in ("image_id", "keeper_id")), strict=True))
    # Twice, since what stays may itself be reported: a test image like another one, a clean leak that is kept.
    picture = rows["image_id"]
    for _ in range(2):
        picture = picture.map(lambda image: keeper.get(image, image))
    rows["picture_id"] = picture
    classes = rows.groupby("picture_id")["class_name"].nunique()
    rows = rows[rows["picture_id"].isin(classes.index[classes > 1])]
    judged = verdicts.select(["image_id", "class_name", "verdict", "confidence"]).to_pandas()
    rows = rows.merge(judged, on=["image_id", "class_name"], how="left")
    missing = rows["source"].map({"web": "no votes"}).fillna("given")
    rows["verdict"] = rows["verdict"].where(rows["verdict"].notna(), missing)
    rows = rows.sort_values(["picture_id", "class_name", "image_id"]).reset_index(drop=True)
    return pa.Table.from_pandas(rows[CROSS_LABEL.schema.names], CROSS_LABEL.schema, preserve_index=False)


def summary(table: pa.Table) -> dict[str, int]:
    """Counts of such pictures, by how many of their classes were found right."""
    rows: pd.DataFrame = table.to_pandas()
    rows["right"] = rows["class_name"].where(rows["verdict"].isin(["yes", "given"]))
    right = rows.groupby("picture_id")["right"].nunique()
    return {
        "pictures under several classes": len(right),
        "… of which one is right": int((right == 1).sum()),
        "… of which several are said to be right": int((right > 1).sum()),
        "… of which none is": int((right == 0).sum()),
    }
