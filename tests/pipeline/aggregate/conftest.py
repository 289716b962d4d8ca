import pyarrow as pa
from hypothesis import strategies as st

from pipeline.aggregate.vote_columns import VoteColumns, encode_votes
from schemas.vote import ANSWERS, VOTE

Vote = tuple[str, str, str, str, float | None]  # image_id, class_name, worker_id, answer, seconds

VOTES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["cat", "dog"]),
        st.sampled_from(["w1", "w2", "w3", "w4"]),
        st.sampled_from(ANSWERS),
        st.none() | st.integers(1, 9).map(float),
    ),
    max_size=30,
    unique_by=lambda vote: vote[:3],
)


def coded(votes: list[Vote]) -> VoteColumns:
    columns = ("image_id", "class_name", "worker_id", "answer", "seconds")
    rows = [dict(zip(columns, vote, strict=True)) for vote in votes]
    return encode_votes(pa.Table.from_pylist(rows, VOTE.schema))
