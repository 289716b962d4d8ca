import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError, UsageError
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.vote_validation import check_vote_rows
from pipeline.values import FORBIDDEN, normalize_name
from pipeline.vote.journal import COLUMNS, HEADER, JournalError, VoteJournal, repaired, vote_line

identifiers = (
    st.text(min_size=1, max_size=20)
    .map(lambda text: normalize_name(text.encode("utf-8", "ignore").decode()) or "x")
    .filter(lambda text: not __import__("re").search(FORBIDDEN, text))
)
votes = st.fixed_dictionaries(
    {
        "image_id": identifiers,
        "class_name": identifiers,
        "worker_id": identifiers,
        "answer": st.sampled_from(["yes", "no", "unsure"]),
        "seconds": st.sampled_from(["0.250", "12.000", None]),
        "time": st.just("2026-11-29T17:32:24.123Z"),
    }
)


def vote(image: str, answer: str = "yes", worker: str = "w") -> dict[str, str]:
    return {
        "image_id": image,
        "class_name": "ant",
        "worker_id": worker,
        "answer": answer,
        "time": "2026-11-29T17:32:24.123Z",
    }


def read(path: Path) -> list[tuple[str, str, str, str]]:
    """The votes as the build reads them; none may be malformed."""
    found = []
    for records in read_votes(str(path)):
        assert not records.malformed
        good, bad = check_vote_rows(records.rows)
        assert bad.num_rows == 0
        found += [
            tuple(row[name] for name in ("image_id", "class_name", "worker_id", "answer"))
            for row in good.to_pylist()
        ]
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(votes, min_size=1, max_size=6))
def test_the_build_reads_what_was_appended(
    tmp_path_factory: pytest.TempPathFactory, given_votes: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "votes.csv"
    journal = VoteJournal(str(path))
    for one in given_votes:
        journal.append(one)
    journal.close()
    assert read(path) == [
        (one["image_id"], one["class_name"], one["worker_id"], one["answer"]) for one in given_votes
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(votes, min_size=1, max_size=4), st.data())
def test_a_file_cut_anywhere_keeps_every_complete_vote(
    given_votes: list[dict[str, str]], data: st.DataObject
) -> None:
    lines = [vote_line(one) for one in given_votes]
    whole = HEADER + b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 37]))  # blocks that were never written are zeros
    restored = repaired(whole[:cut] + tail if cut > len(HEADER) else whole[:cut], "votes.csv")
    assert restored.startswith(HEADER)
    assert restored.endswith(b"\n")
    complete = [line for i, line in enumerate(lines) if cut >= len(HEADER) + sum(map(len, lines[: i + 1]))]
    assert restored.startswith(HEADER + b"".join(complete))
    # Where the last line was cut inside of its time, all of the vote is there, and it may stay.
    rows = list(csv.reader(restored.decode().splitlines()))[1:]
    assert len(rows) in (len(complete), len(complete) + 1)
    for row, one in zip(rows, given_votes, strict=False):
        assert len(row) == len(COLUMNS)
        assert row[COLUMNS.index("answer")] == one["answer"]


def test_an_undone_vote_is_gone_and_all_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    journal = VoteJournal(str(path))
    for i in range(5):
        journal.append(vote(f"i{i}"))
        journal.append(vote(f"i{i}", "no", "=w,2"))
    journal.remove(vote("i1", worker="=w,2"))
    journal.append(vote("i9"))
    journal.remove(vote("i4"))
    with pytest.raises(JournalError, match="not in the file"):
        journal.remove(vote("i4"))
    journal.close()
    names = [(image, worker) for image, _, worker, _ in read(path)]
    expected = [(f"i{i}", w) for i in range(5) for w in ("w", "=w,2")]
    assert names == [one for one in expected if one not in (("i1", "=w,2"), ("i4", "w"))] + [("i9", "w")]
    assert [file.name for file in tmp_path.iterdir()] == ["votes.csv"]


def test_a_vote_is_synced_before_it_counts_as_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "votes.csv"
    journal = VoteJournal(str(path))
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.fstat(file).st_size if path.exists() else -1)
    )
    journal.append(vote("a"))
    assert synced == [path.stat().st_size]
    synced.clear()
    journal.remove(vote("a"))
    assert len(HEADER) in synced[:1], "the new file is on disk before it gets the name"
    assert len(synced) == 2, "the folder, so that the new name is on disk"


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_stores_nothing_and_the_next_vote_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "votes.csv"
    journal = VoteJournal(str(path))
    journal.append(vote("a"))
    real_write, calls = os.write, []

    def half(file: int, data: bytes) -> int:
        calls.append(file)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(file, data[: len(data) // 2])

    def broken(file: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, half if fails == "write" else broken)
        with pytest.raises(JournalError, match="No space left"):
            journal.append(vote("b"))
    journal.append(vote("c"))
    journal.close()
    assert [image for image, *_ in read(path)] == ["a", "c"]


def test_only_one_process_writes_and_a_changed_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    journal = VoteJournal(str(path))
    with pytest.raises(UsageError, match="another `vote`"):
        VoteJournal(str(path))
    journal.append(vote("a"))
    journal.remove(vote("a"))  # the lock must move to the new file
    with pytest.raises(UsageError, match="another `vote`"):
        VoteJournal(str(path))
    path.write_bytes(HEADER)
    journal.append(vote("b"))  # the same content: nothing has changed
    edited = tmp_path / "edited"
    edited.write_bytes(path.read_bytes())
    edited.rename(path)
    for _ in range(2):
        with pytest.raises(JournalError, match="changed by another program"):
            journal.append(vote("c"))
    assert [image for image, *_ in read(path)] == ["b"]


def test_other_files_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("image_id,class_name,worker_id,answer\na,ant,w,yes\n")
    with pytest.raises(DataError, match="give --votes a new file"):
        VoteJournal(str(path))
    with pytest.raises(UsageError, match="choose a file in a folder"):
        VoteJournal(str(tmp_path / "none" / "votes.csv"))


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").symlink_to(tmp_path / "real.csv")
    journal = VoteJournal(str(tmp_path / "votes.csv"))
    journal.append(vote("a"))
    journal.append(vote("b"))
    journal.remove(vote("a"))
    assert (tmp_path / "votes.csv").is_symlink()
    assert [image for image, *_ in read(tmp_path / "real.csv")] == ["b"]


WRITER = """
import sys
from pipeline.vote.journal import VoteJournal
journal = VoteJournal(sys.argv[1])
for i in range(100_000):
    vote = {"image_id": f"{sys.argv[2]}-{i}", "class_name": "ant", "worker_id": "w", "answer": "no", "time": "2026-11-29T17:32:24Z"}
    journal.append(vote)
    print(f"+{vote['image_id']}", flush=True)
    if i % 7 == 3:
        journal.remove(vote)
        print(f"-{vote['image_id']}", flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path, expected = tmp_path / "votes.csv", set[str]()
    for run in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(run)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            first = writer.stdout.readline()
            time.sleep(0.05 * (run + 1))
            writer.send_signal(signal.SIGKILL)
            lines = [first, *writer.stdout]
        changes = [line.strip() for line in lines if line.endswith("\n")]
        for change in changes:
            (expected.add if change[0] == "+" else expected.discard)(change[1:])
        found = {image for image, *_ in read(path)}
        # The last step may have been finished without the time to say so.
        assert len(found ^ expected) <= 1, changes[-3:]
        expected = found
    assert len(expected) > 20
