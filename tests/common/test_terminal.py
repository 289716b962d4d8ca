"""Text of others cannot control the terminal on which it is shown."""

import re
import sys
import unicodedata
import warnings

import pytest

from common.command_line import run_verb
from common.errors import DataError, UsageError
from common.terminal import visible_line, visible_lines

EVIL = "\x1b[2J\x1b]0;title\x07\rok\b\t\x9b31m\u202e\u2028\udc80\x00"


@pytest.mark.parametrize("error", [DataError(EVIL), UsageError(EVIL)])
def test_errors_have_no_control_characters(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> int:
        print(warnings.formatwarning(EVIL, UserWarning, "file.py", 1), file=sys.stderr)
        raise error

    run_verb(verb, {})
    printed = capsys.readouterr().err
    assert printed.count(r"\x1b[2J") == 2
    assert printed.replace("\n", "").isprintable()


def test_every_character_is_printable_and_other_text_is_unchanged() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = visible_line(every)
    assert re.sub("[\u200c\u200d]", "", "".join(shown.split())).isprintable()
    assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} for character in shown)
    plain = "Über 9 – 10 %: “straße” \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🔬 10\u00a0% 猫\u3000犬"
    assert visible_line(plain) == plain
    assert visible_line("one\ntwo") == r"one\ntwo"
    assert visible_lines("one\ntwo\r\n") == "one\ntwo\\r\n"
