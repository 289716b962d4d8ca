"""Progress lines of long jobs."""

import re
import time

import pytest

from pipeline.running import progress


def test_lines_show_the_count_and_what_the_job_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    with progress.show_progress("fetch", "URLs", 10):
        time.sleep(0.4)  # no line while nothing is done or waited for
        progress.set_waiting_for(["slow.test (60 of 600 s)"])
        time.sleep(0.4)
        progress.advance(4)
        time.sleep(0.4)
        progress.set_waiting_for([])
        time.sleep(0.4)
    lines = list(
        dict.fromkeys(
            re.sub(r"[\d,]+/s, [\d,]+ s", "RATE", line) for line in capsys.readouterr().err.splitlines()
        )
    )
    assert lines == [
        "fetch     0 of 10 URLs, waiting for slow.test (60 of 600 s)",
        "fetch     4 of 10 URLs, RATE left, waiting for slow.test (60 of 600 s)",
        "fetch     4 of 10 URLs, RATE left",
    ]
