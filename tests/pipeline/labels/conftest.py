import pandas as pd
from hypothesis import strategies as st

from schemas.vote import ANSWERS

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


def frame(votes: list[Vote]) -> pd.DataFrame:
    columns = ["image_id", "class_name", "worker_id", "answer"]
    made = pd.DataFrame([vote[:4] for vote in votes], columns=columns, dtype="str")
    return made.assign(seconds=pd.Series([vote[4] for vote in votes], dtype="float32"))
