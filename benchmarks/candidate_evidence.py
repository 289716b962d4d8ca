"""Whether better supported verdicts no are right more often, on the rater votes of google-research/reassessed-imagenet.

    python -m benchmarks.candidate_evidence --votes votes.parquet

Three of the five raters of each question, chosen by a hash, give the verdict and its evidence; the other two check it.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.aggregate.error_estimates import fit_error_model, p_wrong_of_votes, sample_images
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.verdicts import majority_verdicts
from pipeline.aggregate.vote_columns import encode_votes
from pipeline.keyed_hash import keyed_hash
from pipeline.noise.candidates import EVIDENCE_STEPS, evidence_tiers
from schemas.vote import VOTE

RATERS, VOTING = 5, 3


def estimated_verdicts(votes: pa.Table, classes: Sequence[str]) -> pa.Table:
    """Return the verdicts by majority of three votes or more, with `p_wrong` by the error model."""
    columns = encode_votes(VOTE.conform(votes, "votes"))
    verdicts = majority_verdicts(columns, VOTING)
    unknown = np.full(verdicts.num_rows, UNKNOWN)
    model = fit_error_model([sample_images(columns, unknown, verdicts.num_rows)], classes)
    p_wrong = pa.array(p_wrong_of_votes(model, columns, unknown, classes), pa.float32())
    return verdicts.set_column(verdicts.column_names.index("p_wrong"), "p_wrong", p_wrong)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", required=True)
    table = pq.read_table(parser.parse_args().votes)
    votes = pa.table(
        {
            "image_id": table["image_id"].cast("string"),
            "class_name": table["class_id"].cast("string"),
            "worker_id": table["worker_id"].cast("string"),
            "answer": pc.replace_substring(table["answer"].cast("string"), "maybe", "unsure"),
        }
    )
    question = pc.binary_join_element_wise(votes["image_id"], votes["class_name"], "/")
    codes = pc.dictionary_encode(question).combine_chunks()
    numbers = codes.indices.to_numpy()
    hashes = keyed_hash(pc.binary_join_element_wise(question, votes["worker_id"], "/"), 0, "rater")
    order = np.lexsort((hashes, numbers))
    assert (np.bincount(numbers) == RATERS).all()
    voting = order.reshape(-1, RATERS)[:, :VOTING].ravel()
    checking = order.reshape(-1, RATERS)[:, VOTING:]
    classes = pc.unique(votes["class_name"]).to_pylist()
    verdicts = estimated_verdicts(votes.take(pa.array(np.sort(voting))), classes)
    names = pc.binary_join_element_wise(verdicts["image_id"], verdicts["class_name"], "/")
    rows = pc.index_in(names, codes.dictionary).to_numpy()
    is_no = np.asarray(pc.equal(verdicts["verdict"], "no").to_numpy(), bool)
    answers = votes["answer"].to_numpy()[checking[rows]]
    agrees, contradicts = (answers == "no").mean(axis=1), (answers == "yes").mean(axis=1)
    tiers = evidence_tiers(verdicts["p_wrong"].to_numpy())
    print("| P(wrong), rounded | verdicts no | other raters: no | other raters: yes |")
    print("|---:|---:|---:|---:|")
    for tier in np.unique(tiers[is_no])[::-1].tolist():
        own = is_no & (tiers == tier)
        shares = f"{agrees[own].mean():.1%} | {contradicts[own].mean():.1%}"
        print(f"| {tier / EVIDENCE_STEPS:.2f} | {own.sum():,} | {shares} |")


if __name__ == "__main__":
    main()
