import duckdb
import pytest

from pipeline.report.tables import VIEWS

RETRIEVALS = [
    ("a", "web", "cat"), ("b", "web", "dog"),  # the same image
    ("c", "web", "cat"), ("c", "web", "dog"), ("c", "web", "cow"),  # one image, three classes
    ("d", "web", "cat"), ("e", "web", "cat"),  # the same image, one class
    ("f", "clean", "cow"), ("g", "web", "cat"),  # the same image
    ("h", "web", "dog"), ("i", "web", "cat"), ("j", "web", "dog"),  # j is like i, which is reported as like h
]  # fmt: skip
VERDICTS = [
    ("a", "cat", "yes"), ("b", "dog", "yes"), ("c", "cat", "no"), ("c", "dog", "undecided"), ("d", "cat", "yes"),
]  # fmt: skip
KEEPERS = [("b", "a"), ("e", "d"), ("g", "f"), ("i", "h"), ("j", "i")]


@pytest.fixture
def asked() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for name, columns, rows in (
        ("retrievals", "image_id, source, class_name", RETRIEVALS),
        ("verdicts", "image_id, class_name, verdict", VERDICTS),
        ("duplicates", "image_id, keeper_id", KEEPERS),
    ):
        connection.execute(f"CREATE TABLE {name} ({columns.replace(',', ' VARCHAR,')} VARCHAR)")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
    connection.execute(f"CREATE VIEW several_classes AS {VIEWS['several_classes']}")
    return connection


def test_an_image_listed_under_two_classes_has_both_verdicts(asked: duckdb.DuckDBPyConnection) -> None:
    rows = asked.execute("SELECT group_id, class_name, image_id, verdict FROM several_classes ORDER BY ALL")
    assert rows.fetchall() == [
        ("a", "cat", "a", "yes"),
        ("a", "dog", "b", "yes"),
        ("c", "cat", "c", "no"),
        ("c", "cow", "c", "no votes"),
        ("c", "dog", "c", "undecided"),
        ("f", "cat", "g", "no votes"),
        ("f", "cow", "f", "given"),
        ("h", "cat", "i", "no votes"),
        ("h", "dog", "h", "no votes"),
        ("h", "dog", "j", "no votes"),
    ]


def test_without_images_listed_under_two_classes_the_view_is_empty(asked: duckdb.DuckDBPyConnection) -> None:
    asked.execute("DELETE FROM retrievals WHERE image_id NOT IN ('d', 'e', 'h')")
    assert asked.execute("SELECT * FROM several_classes").fetchall() == []
