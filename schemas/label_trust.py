"""label_trust: how far a training run trusts each label of its training set, and which class it predicts."""

import pyarrow as pa

from schemas.table import Table, column

FILE = "label_trust.parquet"
"""Name of the table in the folder of a run."""

LABEL_TRUST = Table(
    "label_trust",
    pa.schema(
        [
            column("set_name", pa.string(), "name of the training set"),
            column("image_id", pa.string(), "id of the image; held-out images have no row"),
            column("label", pa.int64(), "class id of the given label"),
            column("label_name", pa.string(), "class of the given label"),
            column(
                "trust",
                pa.float32(),
                "from 0 to 1: mean of p/(p + q) over the evaluated epochs, where p is the predicted probability of the "
                "given label and q that of the most probable other class; a label with trust below 0.5 is distrusted",
            ),
            column("guess", pa.int64(), "class id that the network predicts after the last epoch"),
            column("guess_name", pa.string(), "class that the network predicts after the last epoch"),
            column(
                "guess_probability",
                pa.float32(),
                "predicted probability of the class `guess`, after the last epoch",
            ),
            column(
                "label_probability",
                pa.float32(),
                "predicted probability of the given label, after the last epoch",
            ),
            column(
                "loss",
                pa.float32(),
                "cross-entropy against the given label, mean over the evaluated epochs of the second half of training",
            ),
            column(
                "weight",
                pa.float32(),
                "mean weight of the label in the last quarter of training; null for methods without weights",
                required=False,
            ),
        ]
    ),
    key=("set_name", "image_id"),
)
