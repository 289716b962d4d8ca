import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.neighbours import Pairs


def images(*rows):
    """Images as (id, source, side, bytes, sha256)."""
    columns = ["image_id", "source", "width", "bytes_in", "sha256"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(height=frame["width"])


def pairs(*found):
    columns = np.array(found, np.int64).reshape(-1, 3)
    return Pairs(columns[:, 0], columns[:, 1], np.zeros(len(columns), np.int64), columns[:, 2])


def result(frame, found):
    rows = find_duplicates(frame, found).to_pylist()
    return {row["image_id"]: (row["keeper_id"], row["reason"], row["removed"]) for row in rows}


def test_the_keeper_is_clean_before_web_then_larger_then_heavier_then_first_by_id():
    frame = images(("w", "web", 99, 9, "1"), ("c", "clean", 10, 1, "2"))
    assert result(frame, pairs((0, 1, 5))) == {"w": ("c", "near", True)}
    frame = images(("a", "web", 10, 9, "1"), ("b", "web", 20, 1, "2"))
    assert result(frame, pairs((0, 1, 5))) == {"a": ("b", "near", True)}
    frame = images(("a", "web", 10, 1, "1"), ("b", "web", 10, 2, "2"))
    assert result(frame, pairs((0, 1, 5))) == {"a": ("b", "near", True)}
    frame = images(("b", "web", 10, 1, "1"), ("a", "web", 10, 1, "1"))
    assert result(frame, pairs((0, 1, 0))) == {"b": ("a", "exact", True)}


def test_everything_near_a_test_image_goes_whatever_else_it_is_near():
    frame = images(("t", "test", 9, 1, "1"), ("c", "clean", 9, 1, "2"), ("w", "web", 9, 1, "3"))
    found = result(frame, pairs((0, 1, 5), (0, 2, 5), (1, 2, 1)))
    assert found == {"c": ("t", "leak", True), "w": ("t", "leak", True)}


def test_a_leak_is_shown_beside_the_nearest_test_image():
    frame = images(("s", "test", 9, 1, "1"), ("t", "test", 9, 1, "2"), ("w", "web", 9, 1, "3"))
    assert result(frame, pairs((0, 2, 9), (1, 2, 3)))["w"] == ("t", "leak", True)


def test_test_images_are_reported_and_kept():
    frame = images(("s", "test", 9, 1, "1"), ("t", "test", 9, 1, "2"))
    assert result(frame, pairs((0, 1, 5))) == {"t": ("s", "near", False)}


def test_a_chain_does_not_pull_unlike_pictures_together():
    # a ~ b ~ c, but a and c are unlike: b goes for a, and c stays.
    frame = images(("a", "web", 30, 1, "1"), ("b", "web", 20, 1, "2"), ("c", "web", 10, 1, "3"))
    assert result(frame, pairs((0, 1, 5), (1, 2, 5))) == {"b": ("a", "near", True)}


EDGES = st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda e: e[0] < e[1]), max_size=25)
SOURCES = st.lists(st.sampled_from(["test", "clean", "web"]), min_size=12, max_size=12)


@settings(deadline=None)
@given(EDGES, SOURCES, st.randoms())
def test_the_order_of_images_and_pairs_does_not_matter_and_nothing_near_is_left(edges, sources, random):
    frame = images(*[(f"i{i}", source, 5 + i % 3, i % 2, str(i)) for i, source in enumerate(sources)])
    found = result(frame, pairs(*[(a, b, a + b) for a, b in sorted(edges)]))

    order = list(range(12))
    random.shuffle(order)
    moved = [(order.index(a), order.index(b), a + b) for a, b in edges]
    random.shuffle(moved)
    again = result(
        frame.iloc[order].reset_index(drop=True), pairs(*[(min(a, b), max(a, b), d) for a, b, d in moved])
    )
    assert again == found

    gone = {image for image, (_, _, removed) in found.items() if removed}
    near = {frozenset((f"i{a}", f"i{b}")) for a, b in edges}
    for a, b in edges:
        if "test" in (sources[a], sources[b]) and sources[a] == sources[b]:
            continue  # two test images
        assert {f"i{a}", f"i{b}"} & gone, "two near images are never both left"
    for image, (keeper, _, _) in found.items():
        assert frozenset((image, keeper)) in near, "whatever goes is near what stays for it"
        assert keeper not in gone
