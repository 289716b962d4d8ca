import hashlib
import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.rows import check_rows, distinct_images, resolve_rows
from schemas.rejection import CODES, REJECTION
from schemas.retrieval import RETRIEVAL

CLASSES = ["cat", "dog"]
GOOD = {
    "image_id": "a",
    "class_name": "cat",
    "path": "a.jpg",
    "method": "text",
    "rank": "3",
    "location": "web.csv:2",
}
AS_READ = pa.schema([(name, pa.string()) for name in RETRIEVAL.schema.names])


def checked(*rows: dict[str, str | None]) -> tuple[pa.Table, pa.Table]:
    return check_rows(pa.Table.from_pylist(list(rows), schema=AS_READ), CLASSES, "web")


def test_a_good_row_becomes_a_retrieval_of_its_source() -> None:
    owed = {
        "license": "CC BY 4.0",
        "license_url": "https://l",
        "creator": "Ann, Bo",
        "landing_url": "https://p",
        "title": "A cat",
    }
    good, bad = checked(GOOD | owed)
    assert good.schema == RETRIEVAL.schema
    assert good.to_pylist() == [GOOD | owed | {"url": None, "rank": 3, "sha256": None, "source": "web"}]
    assert bad.num_rows == 0


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("missing_value", {"image_id": None}),  # no id can be made from a path
        ("bad_sha256", {"sha256": "f" * 63}),
        ("bad_sha256", {"sha256": "g" * 64}),
        ("missing_value", {"class_name": None}),
        ("missing_value", {"path": None}),
        ("bad_id", {"image_id": "a/b"}),
        ("bad_id", {"image_id": "a\\b"}),
        ("bad_id", {"image_id": "a\nb"}),
        ("bad_id", {"image_id": "a\x00"}),
        ("bad_id", {"image_id": "a\x7f"}),
        ("bad_id", {"image_id": "."}),
        ("bad_id", {"image_id": ".."}),
        ("bad_id", {"image_id": "é" * 101}),
        ("unknown_class", {"class_name": "catt"}),
        ("bad_id", {"image_id": "a\u200bb"}),
        ("unknown_class", {"class_name": "cat "}),
        ("bad_method", {"method": "video"}),
        ("bad_location", {"path": "é" * 2048 + "a"}),
        ("bad_rank", {"rank": "-1"}),
        ("bad_rank", {"rank": "1.5"}),
        ("bad_rank", {"rank": "first"}),
        ("bad_rank", {"rank": "3\n"}),
        ("bad_rank", {"rank": "9999999999"}),
    ],
)
def test_each_rule_has_its_code(code: str, values: dict[str, str | None]) -> None:
    good, bad = checked(GOOD | {"location": "web.csv:1"}, GOOD | values)
    assert good["location"].to_pylist() == ["web.csv:1"]
    assert bad.schema == REJECTION.schema
    assert bad.select(["location", "code"]).to_pylist() == [{"location": "web.csv:2", "code": code}]


@pytest.mark.parametrize(
    "values",
    [
        {"image_id": "é" * 100},
        {"path": "é" * 2048},
        {"image_id": "..a"},
        {"image_id": ".hidden"},
        {"rank": "0"},
        {"rank": None, "method": None},
        {"method": "image"},
        {"method": "Text"},
        {"class_name": "CAT"},
        {"path": None, "url": "http://x"},
        {"sha256": "0" * 64},
    ],
)
def test_unusual_but_valid_rows_are_good(values: dict[str, str | None]) -> None:
    good, bad = checked(GOOD | values)
    assert (good.num_rows, bad.num_rows) == (1, 0)


def test_the_first_rule_that_a_row_breaks_gives_the_code() -> None:
    wrong: list[tuple[str, dict[str, str | None]]] = [
        ("missing_value", {"path": None}),
        ("bad_id", {"image_id": "a/b"}),
        ("unknown_class", {"class_name": "cow"}),
        ("bad_method", {"method": "video"}),
        ("bad_rank", {"rank": "x"}),
        ("bad_sha256", {"sha256": "x"}),
    ]
    for first in range(len(wrong)):
        values = {key: value for _, some in wrong[first:] for key, value in some.items()}
        _, bad = checked(GOOD | values)
        assert bad["code"].to_pylist() == [wrong[first][0]]


def test_a_missing_id_is_made_from_the_url() -> None:
    rows = [
        {"class_name": "cat", "url": url, "location": "w:2"}
        for url in ("http://x/1", "http://x/2", "http://x/1")
    ]
    good, _ = checked(*rows, GOOD)
    digest = hashlib.sha256(b"http://x/1").hexdigest()
    ids = good["image_id"].to_pylist()
    assert (ids[0], ids[2], ids[3], ids[0] != ids[1]) == (digest[:16], digest[:16], "a", True)


def test_digests_are_converted_to_lower_case() -> None:
    good, _ = checked(GOOD | {"sha256": "AB" * 32})
    assert good["sha256"].to_pylist() == ["ab" * 32]


def test_the_detail_quotes_the_value_and_the_remedy() -> None:
    _, bad = checked(GOOD | {"rank": "first\n"}, GOOD | {"method": "video"}, GOOD | {"class_name": "cow"})
    rank, method, class_name = bad["detail"].to_pylist()
    assert rank == "rank 'first�': give a whole number from 0, or nothing"
    assert method == "method 'video': give one of text, image, or nothing"
    assert class_name.startswith("class_name 'cow'")


def test_an_unknown_class_suggests_the_nearest() -> None:
    _, bad = checked(GOOD | {"class_name": "catt"})
    assert bad["detail"].to_pylist() == [
        "class_name 'catt' (did you mean \"cat\"?): add it to 'classes', or fix the row"
    ]


def test_the_detail_names_missing_values_and_bad_ids() -> None:
    wrong: list[dict[str, str | None]] = [
        {"image_id": None},
        {"path": None},
        {"image_id": "a/b"},
        {"image_id": "x" * 300},
    ]
    _, bad = checked(*(GOOD | values for values in wrong))
    assert bad["detail"].to_pylist() == [
        "give class_name, and image_id or a url to make it from",
        "give a path or a url",
        "image_id 'a/b': give an id without / and \\, and not . or ..",
        f"image_id '{'x' * 80}': give an id of at most 200 bytes without control and invisible characters",
    ]


def test_an_empty_table_gives_empty_tables() -> None:
    good, bad = checked()
    assert (good.num_rows, bad.num_rows) == (0, 0)
    kept, rejected = resolve_rows(good)
    assert (kept.num_rows, rejected.num_rows, distinct_images(kept).num_rows) == (0, 0, 0)


def test_rejections_are_printable_even_if_the_row_is_not() -> None:
    _, bad = checked(GOOD | {"image_id": "a\nb\x1b[31m" + "x" * 500})
    shown = bad["image_id"].to_pylist()[0]
    assert shown.startswith("a�b�[31m")
    assert len(shown) == 200


VALUES = st.none() | st.sampled_from(["", "a", "a/b", "cat", "dog", "text", "7", "-1", "é\n"])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(RETRIEVAL.schema.names, VALUES)), max_size=8))
def test_every_row_is_good_or_rejected(rows: list[dict[str, str | None]]) -> None:
    rows = [row | {"location": f"web.csv:{i}"} for i, row in enumerate(rows)]
    good, bad = checked(*rows)
    assert sorted(good["location"].to_pylist() + bad["location"].to_pylist()) == sorted(
        row["location"] for row in rows
    )  # type: ignore[type-var]
    assert set(bad["code"].to_pylist()) <= set(CODES)


# Resolving rows about the same image


@pytest.fixture
def retrieval() -> Callable[..., dict[str, object]]:
    def row(place: str, image_id: str = "a", class_name: str = "cat", **values: object) -> dict[str, object]:
        given = {"image_id": image_id, "class_name": class_name, "path": f"{image_id}.jpg", "source": "web"}
        return given | {"location": place} | values

    return row


Row = Callable[..., dict[str, object]]


def resolved(*rows: dict[str, object]) -> tuple[list[str], dict[str, str]]:
    """Return (locations kept, location → rejection code)."""
    kept, bad = resolve_rows(RETRIEVAL.from_rows(rows))
    return kept["location"].to_pylist(), dict(
        zip(bad["location"].to_pylist(), bad["code"].to_pylist(), strict=True)
    )


def test_a_web_image_may_have_several_classes_once_each(retrieval: Row) -> None:
    rows = [retrieval("w:2"), retrieval("w:3", class_name="dog"), retrieval("w:4"), retrieval("w:5", "b")]
    assert resolved(*rows) == (["w:2", "w:3", "w:5"], {"w:4": "duplicate_row"})


def test_a_clean_image_has_one_class(retrieval: Row) -> None:
    rows = [retrieval("c:2", source="clean"), retrieval("c:3", class_name="dog", source="clean")]
    assert resolved(*rows) == (["c:2"], {"c:3": "duplicate_row"})


def test_rows_with_the_same_id_and_another_origin_conflict(retrieval: Row) -> None:
    rows = [
        retrieval("w:2"),
        retrieval("w:3", path="other.jpg"),
        retrieval("w:4", class_name="dog", path=None, url="http://x"),
    ]
    assert resolved(*rows) == (["w:2"], {"w:3": "conflicting_id", "w:4": "conflicting_id"})


def test_test_rows_win_over_clean_rows_and_these_over_web_rows(retrieval: Row) -> None:
    rows = [retrieval("a:2"), retrieval("b:2", source="clean"), retrieval("c:2", source="test")]
    assert resolved(*rows) == (["c:2"], {"b:2": "conflicting_id", "a:2": "conflicting_id"})


def test_lines_are_ordered_numerically(retrieval: Row) -> None:
    assert resolved(retrieval("w:10"), retrieval("w:9")) == (["w:9"], {"w:10": "duplicate_row"})


def test_a_rejected_row_does_not_make_a_later_one_a_duplicate(retrieval: Row) -> None:
    rows = [
        retrieval("w:2"),
        retrieval("w:3", class_name="dog", path="x.jpg"),
        retrieval("w:4", class_name="dog"),
    ]
    assert resolved(*rows) == (["w:2", "w:4"], {"w:3": "conflicting_id"})


def test_the_rejection_names_the_first_row_of_the_id(retrieval: Row) -> None:
    _, bad = resolve_rows(RETRIEVAL.from_rows([retrieval("w:2"), retrieval("w:3")]))
    assert bad["detail"].to_pylist() == ["the id was first given in w:2"]


RETRIEVALS = st.lists(
    st.fixed_dictionaries(
        {
            "image_id": st.sampled_from("abc"),
            "class_name": st.sampled_from(CLASSES),
            "path": st.sampled_from(["x", "y"]),
            "url": st.sampled_from([None, "http://x"]),
            "source": st.sampled_from(["web", "web", "clean", "test"]),
        }
    ),
    max_size=12,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(RETRIEVALS, st.randoms(use_true_random=False))
def test_settling_is_independent_of_the_order_and_loses_nothing(
    rows: list[dict[str, object]], dice: random.Random
) -> None:
    rows = [row | {"location": f"{row['source']}.csv:{i + 2}"} for i, row in enumerate(rows)]
    kept, bad = resolved(*rows)
    assert resolved(*dice.sample(rows, len(rows))) == (kept, bad)
    assert sorted([*kept, *bad]) == sorted(str(row["location"]) for row in rows)

    by_place = {str(row["location"]): row for row in rows}
    locations = {
        (by_place[p]["image_id"], by_place[p]["path"], by_place[p]["url"], by_place[p]["source"])
        for p in kept
    }
    assert (
        len(locations)
        == len({image_id for image_id, *_ in locations})
        == len({row["image_id"] for row in rows})
    )
    pairs = [(by_place[p]["image_id"], by_place[p]["class_name"]) for p in kept]
    assert len(pairs) == len(set(pairs))


def test_distinct_images_have_one_row_each_with_null_for_missing_values(retrieval: Row) -> None:
    rows = RETRIEVAL.from_rows([retrieval("w:2"), retrieval("w:3", class_name="dog"), retrieval("w:4", "b")])
    lines = distinct_images(rows).to_pylist()
    assert lines == [
        {"image_id": name, "source": "web", "path": f"{name}.jpg", "url": None, "sha256": None}
        for name in ("a", "b")
    ]
    assert not any(value is np.nan for line in lines for value in line.values())
