"""label_trust: what a training run made of each label of its training set."""

import pyarrow as pa

from schemas.table import Table, column

FILE = "label_trust.parquet"
"""Name of the table in the folder of a run."""

LABEL_TRUST = Table(
    "label_trust",
    pa.schema(
        [
            column("set", pa.string(), "the training set"),
            column("image_id", pa.string(), "the image; held-out images have no row"),
            column("label", pa.int64(), "class id of the given label"),
            column("label_name", pa.string(), "class of the given label"),
            column(
                "trust",
                pa.float32(),
                "in [0, 1]: mean over the measured epochs of p/(p + q), where p is the network's probability of the given "
                "label and q that of the likeliest other class; the label is distrusted below 0.5",
            ),
            column("guess", pa.int64(), "class id that the network predicts after the last epoch"),
            column("guess_name", pa.string(), "class that the network predicts after the last epoch"),
            column("guess_probability", pa.float32(), "the network's probability of the guess"),
            column("label_probability", pa.float32(), "the network's probability of the given label then"),
            column(
                "loss",
                pa.float32(),
                "cross-entropy against the given label, mean over the epochs measured in the second half of training",
            ),
            column(
                "weight",
                pa.float32(),
                "mean weight that the method gave the label in the last quarter of training; null: it gives none",
                required=False,
            ),
        ]
    ),
    key=("set", "image_id"),
)
