import pyarrow as pa

from pipeline.dedupe.cross_label import cross_labels, summary

RETRIEVALS = [
    ("a", "web", "cat"), ("b", "web", "dog"),  # the same picture
    ("c", "web", "cat"), ("c", "web", "dog"), ("c", "web", "cow"),  # one image, three classes
    ("d", "web", "cat"), ("e", "web", "cat"),  # the same picture, one class
    ("f", "clean", "cow"), ("g", "web", "cat"),  # the same picture
    ("h", "web", "dog"),
]  # fmt: skip
VERDICTS = [
    ("a", "cat", "yes"), ("b", "dog", "yes"), ("c", "cat", "no"), ("c", "dog", "undecided"), ("d", "cat", "yes"),
]  # fmt: skip


def tables():
    return (
        pa.table({"image_id": ["b", "e", "g"], "keeper_id": ["a", "d", "f"]}),
        pa.Table.from_pylist(
            [dict(zip(("image_id", "source", "class_name"), row, strict=True)) for row in RETRIEVALS]
        ),
        pa.Table.from_pylist(
            [dict(zip(("image_id", "class_name", "verdict"), row, strict=True)) for row in VERDICTS]
        ).append_column("confidence", pa.array([0.9] * len(VERDICTS), pa.float32())),
    )


def test_a_picture_under_two_classes_is_told_with_both_verdicts():
    rows = cross_labels(*tables()).to_pylist()
    assert [(r["picture_id"], r["class_name"], r["image_id"], r["verdict"]) for r in rows] == [
        ("a", "cat", "a", "yes"),
        ("a", "dog", "b", "yes"),
        ("c", "cat", "c", "no"),
        ("c", "cow", "c", "no votes"),
        ("c", "dog", "c", "undecided"),
        ("f", "cat", "g", "no votes"),
        ("f", "cow", "f", "given"),
    ]
    assert list(summary(cross_labels(*tables())).values()) == [3, 1, 1, 1]


def test_nothing_under_two_classes():
    duplicates, retrievals, verdicts = tables()
    none = cross_labels(duplicates.slice(0, 0), retrievals.slice(9), verdicts)
    assert none.num_rows == 0
    assert list(summary(none).values()) == [0, 0, 0, 0]
