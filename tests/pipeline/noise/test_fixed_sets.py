import pandas as pd
import pyarrow as pa
import pytest

from common.errors import DataError
from pipeline.noise.fixed_sets import fixed_sets
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

NAMES = ("ant", "bee", "cow")
RETRIEVALS = RETRIEVAL.from_rows(
    [
        {"image_id": "c0", "class_name": "ant", "path": "c0", "source": "clean"},
        {"image_id": "c1", "class_name": "bee", "path": "c1", "source": "clean"},
        {"image_id": "t0", "class_name": "ant", "path": "t0", "source": "test"},
        {"image_id": "w0", "class_name": "ant", "url": "https://x/w0", "source": "web"},
        {"image_id": "w0", "class_name": "cow", "url": "https://x/w0", "source": "web"},
        {"image_id": "w1", "class_name": "ant", "url": "https://x/w1", "source": "web", "license": "CC0"},
    ]
)
VERDICTS = VERDICT.from_rows(
    [
        {"image_id": "w0", "class_name": "ant", "verdict": "no", "yes": 1, "no": 2, "unsure": 0, "confidence": 0.6},
        {"image_id": "w0", "class_name": "cow", "verdict": "yes", "yes": 3, "no": 0, "unsure": 0, "confidence": 1},
    ]
)  # fmt: skip


def rows(*pairs, name="mine", color=None, level=None):
    frame = pd.DataFrame(pairs, columns=["image_id", "class_name"], dtype=object).assign(
        set_name=name,
        color=color,
        noise_level=level,
        location=[f"l.csv:{i}" for i in range(2, len(pairs) + 2)],
    )
    schema = pa.schema(
        [(n, pa.string()) for n in ("set_name", "image_id", "class_name", "color", "noise_level", "location")]
    )
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


def made(*pairs, **more):
    (split,) = fixed_sets(rows(*pairs, **more), RETRIEVALS, VERDICTS, NAMES)
    return split


def facts(split):
    return {
        r["image_id"]: (r["label"], r["is_clean"], r["true_label"], r["source"], r["votes_no"])
        for r in split.examples.to_pylist()
    }


def test_is_clean_follows_from_the_clean_list_and_the_verdicts():
    assert facts(made(("c0", "ant"), ("c1", "cow"), ("w0", "ant"), ("w1", "ant"))) == {
        "c0": (0, True, 0, "clean", None),
        "c1": (2, False, 1, "clean", None),
        "w0": (0, False, 2, "web", 2),
        "w1": (0, False, None, "web", None),  # without a verdict
    }
    assert facts(made(("w0", "cow"))) == {"w0": (2, True, 2, "web", 0)}


def test_a_wrong_label_is_closed_where_the_image_is_known_to_show_another_class():
    found = made(("c0", "ant"), ("c1", "cow"), ("w0", "ant"), ("w1", "ant"))
    types = dict(
        zip(found.examples["image_id"].to_pylist(), found.examples["noise_type"].to_pylist(), strict=True)
    )
    assert types == {"c0": None, "c1": "closed", "w0": "closed", "w1": "open"}
    assert made(("w0", "bee")).examples["noise_type"].to_pylist() == ["closed"]  # no search found it as a bee
    assert made(("w0", "cow")).examples["noise_type"].to_pylist() == [None]


def test_measured_noise_and_missing_images_are_reported():
    split = made(("c0", "ant"), ("w0", "ant"), ("w1", "ant"), ("gone", "bee"), color="red", level="0.5")
    assert (split.name, split.color, split.noise_level) == ("mine", "red", 0.5)
    assert split.measured == {
        "noise": "measured", "realized_noise": 0.666667, "claimed_noise": 0.5, "rows_in_list": 4,
        "not_ingested": 1, "not_ingested_first": ["gone"], "without_verdict": 1,
    }  # fmt: skip


def test_without_a_claimed_level_the_level_is_measured():
    split = made(("c0", "ant"), ("c1", "ant"))
    assert (split.color, split.noise_level) == ("fixed", 0.5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(("c0", "dog")), "l.csv:2 .*class is not in 'classes'"),
        (rows(("c0", "ant"), ("c0", "bee")), "l.csv:3 .*earlier row"),
        (rows(("c0", "ant"), ("t0", "ant")), "l.csv:3: 't0' is a test image"),
        (rows(("c0", "ant"), name="../x"), "not a valid folder name"),
        (rows(("c0", "ant"), name="test"), "reserved"),
        (rows(("c0", "ant"), name="README.md"), "reserved"),
        (rows(("c0", "ant"), name="_manifest.json"), "reserved"),
        (rows(("c0", None)), "is missing"),
        (rows(("c0", "ant"), level="40"), "share from 0 to 1"),
    ],
)
def test_rows_that_break_a_rule_are_named(table, message):
    with pytest.raises(DataError, match=message):
        list(fixed_sets(table, RETRIEVALS, VERDICTS, NAMES))


def test_a_set_has_one_color_and_level():
    both = pa.concat_tables([rows(("c0", "ant"), level="0.1"), rows(("c1", "ant"), level="0.2")])
    with pytest.raises(DataError, match="more than one noise_level"):
        list(fixed_sets(both, RETRIEVALS, VERDICTS, NAMES))


@pytest.mark.parametrize(
    ("class_name", "seen", "expected"),
    [
        ("ant", ("bee", "cow"), (1, "closed")),
        ("bee", ("bee", "cow"), (2, "closed")),  # not bee, which workers saw when they were asked for an ant
        ("cow", ("bee", "cow"), (None, "open")),  # no question; the answers to the others differ
        ("bee", ("cow", None), (2, "closed")),  # nobody named a class when asked for a bee
        ("bee", ("bee", None), (None, "open")),  # a bee it is not
        ("cow", ("bee", None), (1, "closed")),
    ],
)
def test_a_wrong_image_of_two_classes_shows_what_its_own_question_found(class_name, seen, expected):
    retrievals = RETRIEVAL.from_rows(
        {"image_id": "w", "class_name": name, "url": "https://x/w", "source": "web"} for name in NAMES[:2]
    )
    verdicts = VERDICT.from_rows(
        {
            "image_id": "w", "class_name": name, "verdict": "no", "yes": 0, "no": 3, "unsure": 0,
            "confidence": 1.0, "seen_class": shown,
        }
        for name, shown in zip(NAMES, seen, strict=False)
    )  # fmt: skip
    (found,) = fixed_sets(rows(("w", class_name)), retrievals, verdicts, NAMES)
    (row,) = found.examples.to_pylist()
    assert (row["true_label"], row["noise_type"], row["is_clean"]) == (*expected, False)
