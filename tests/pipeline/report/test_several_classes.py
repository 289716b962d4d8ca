from pathlib import Path

import duckdb
import pytest

from pipeline.report.near_duplicates import several_figures
from pipeline.report.tables import VIEWS, BuildTables

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


def test_images_of_several_classes_are_shown_contradictions_first(built: Path) -> None:
    tables = BuildTables(str(built))
    assert several_figures(tables) == []
    for row in [
        ("web-ant-9", "ant", "web-ant-9", "web", "no"), ("web-ant-9", "bee", "web-ant-9", "web", "yes"),
        ("web-bee-9", "bee", "web-bee-9", "web", "yes"), ("web-bee-9", "cow", "clean-cow-3", "clean", "given"),
        ("gone", "bee", "gone", "web", "yes"), ("gone", "cow", "gone", "web", "yes"),  # its image is not there
    ]:  # fmt: skip
        tables.connection.execute("INSERT INTO several_classes VALUES (?, ?, ?, ?, ?)", row)
    first, second = several_figures(tables)
    assert (first.name, first.beside_name, first.caption) == (
        "web-bee-9",
        "clean-cow-3",
        "bee: yes; cow: given",
    )
    assert first.facts == (("bee", "yes (web, web-bee-9)"), ("cow", "given (clean, clean-cow-3)"))
    assert first.beside
    assert (second.name, second.beside, second.caption) == ("web-ant-9", None, "ant: no; bee: yes")
