"""The listed class that an image shows instead of the class that was asked about."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.vote_columns import codes_of
from schemas.vote import ANSWERS

YES = ANSWERS.index("yes")


def drop_unusable_seen_classes(votes: pa.Table, classes: Sequence[str]) -> tuple[pa.Table, int]:
    """Set `seen_class` to null where it cannot be used; return the votes and the number of dropped values.

    A value can be used if the answer is no, and it is one of `classes` other than the class asked about. The vote itself
    stays valid, since its answer does not depend on the value. With the answer yes, the class asked about itself is
    redundant, and is not counted as dropped.
    """
    seen = votes["seen_class"]
    if seen.null_count == len(seen):
        return votes, 0
    same = pc.fill_null(pc.equal(seen, votes["class_name"]), False)
    is_no = pc.equal(votes["answer"], "no")
    is_usable = pc.and_(pc.and_not(is_no, same), pc.is_in(seen, pa.array(classes, pa.string())))
    is_redundant = pc.and_(pc.equal(votes["answer"], "yes"), same)
    dropped = pc.and_(pc.is_valid(seen), pc.invert(pc.or_(is_usable, is_redundant)))
    index = votes.column_names.index("seen_class")
    usable = pc.if_else(is_usable, seen, None)
    return votes.set_column(index, votes.schema.field(index), usable), pc.sum(dropped).as_py() or 0


def add_seen_class(table: pa.Table, named: pa.ChunkedArray) -> pa.Table:
    """Fill the column `seen_class` of a verdict table that has all questions about its images.

    A question with the verdict no gets the class for which the same image has the verdict yes; of several, the one with
    the highest posterior, then the first in alphabetical order. Without one, it gets `named`, the class that most workers
    named (`most_named_class`).
    """
    images, _ = codes_of(table["image_id"])
    classes, names = codes_of(table["class_name"])
    verdict = table["verdict"].to_numpy()
    yes = np.flatnonzero(verdict == "yes")
    rounded = np.rint(table["posterior"].to_numpy()[yes].astype(np.float64) * 1e6)
    order = yes[np.lexsort((classes[yes], -rounded, images[yes]))]
    shown = np.full(images.max(initial=-1) + 1, -1)
    shown[images[order][::-1]] = classes[order][
        ::-1
    ]  # of several assignments the last remains: the first of `order`
    of_image = shown[images]
    is_no = verdict == "no"
    by_verdict = names.cast(pa.string()).take(pa.array(of_image, mask=(of_image < 0) | ~is_no))
    by_workers = pc.if_else(pa.array(is_no), named.combine_chunks(), None)
    index = table.column_names.index("seen_class")
    return table.set_column(index, table.schema.field(index), pc.coalesce(by_verdict, by_workers))
