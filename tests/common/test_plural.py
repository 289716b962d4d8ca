import re
from pathlib import Path

import pytest

from common.plural import counted
from tests.test_conventions import ROOT


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 copies"), (1, "1 copy"), (2, "2 copies"), (12_345, "12,345 copies")]
)
def test_a_number_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "copy", "copies") == text


@pytest.mark.parametrize("folder", ["pipeline", "training"])
def test_no_plural_is_made_by_hand(folder: str) -> None:
    """A hand-made one said "a run of 0 step"."""
    by_hand = re.compile(r"""['"](s|y|ies)?['"] (\*|if [^{}]*== 1 else)""")
    for path in Path(ROOT, folder).rglob("*.py"):
        assert not [line for line in path.read_text().split("\n") if "{" in line and by_hand.search(line)], (
            path
        )
