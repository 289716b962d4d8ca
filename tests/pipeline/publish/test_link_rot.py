"""A publication shows the ledger of link rot of its build, and is the same without one."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.layout import Layout
from pipeline.links.ledger import Check, commit_check, lines_path
from tests.pipeline.publish.conftest import Publish


def add_check(build: Path, start: datetime, outcomes: list[str]) -> None:
    """Add a check to the ledger of a build; the URLs of its outcomes are numbered."""
    ledger = Path(Layout(str(build)).links)
    ledger.mkdir(exist_ok=True)
    check = Check(start, len(outcomes), "digest")
    rows: list[dict[str, Any]] = [
        {
            "url": f"http://a.example/{number}", "image_ids": [str(number)], "class_names": ["ant"],
            "checked_at": start.isoformat(), "outcome": outcome, "not_modified": False,
        }
        for number, outcome in enumerate(outcomes)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in (check.head, *rows))
    Path(lines_path(str(ledger), check, 0)).write_text(text)
    commit_check(str(ledger), check)


@pytest.fixture
def checked(built: Path, tmp_path: Path) -> Path:
    """A copy of the build, checked on two days."""
    copy = tmp_path / "checked"
    shutil.copytree(built, copy)
    add_check(copy, datetime(2026, 12, 1, 9, tzinfo=UTC), ["same"] * 20)
    add_check(copy, datetime(2027, 12, 1, 9, tzinfo=UTC), ["same"] * 15 + ["gone"] * 4 + ["changed"])
    return copy


def test_card_and_methods_have_the_share_of_each_outcome_by_date(
    publish: Publish, checked: Path, tmp_path: Path
) -> None:
    assert publish(build=checked) == 0
    card = (tmp_path / "published" / "README.md").read_text()
    section = card[card.index("### Link rot") : card.index("## Licenses of the images")]
    assert "| check (UTC) | URLs | same | changed | gone |" in section
    # Wilson's interval for 15 of 20, by statsmodels.stats.proportion.proportion_confint(15, 20, method="wilson")
    assert "| 2027-12-01 09:00 | 20 | 75.0 % (53.1 to 88.8) |" in section
    assert "on 2027-12-01, 75.0 % (53.1 to 88.8) of 20 URLs still gave the same bytes" in card
    for name in ("methods.md", "methods.tex"):
        assert "Link rot" in (tmp_path / "published" / name).read_text()


def test_without_a_ledger_there_is_no_such_section(published: Path) -> None:
    assert "Link rot" not in (published / "README.md").read_text()


def test_a_check_changes_no_shard(publish: Publish, checked: Path, published: Path, tmp_path: Path) -> None:
    assert publish(build=checked, to="again") == 0
    changed = {
        path.relative_to(published).as_posix()
        for path in published.rglob("*")
        if path.is_file()
        and path.read_bytes() != (tmp_path / "again" / path.relative_to(published)).read_bytes()
    }
    assert changed == {"README.md", "methods.md", "methods.tex", "_manifest.json", "croissant.json"}
