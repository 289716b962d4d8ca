"""Commits: readers see the old table or the new one, and nothing is removed that no build has written."""

import errno
import io
import os

import pyarrow as pa
import pytest

from common.errors import DataError
from pipeline import files
from pipeline.shards import commit, directory
from pipeline.shards.parquet import STAGED, write_shard
from schemas.manifest import MANIFEST

NUMBERS = pa.schema([("number", pa.int64())])


def stage(folder, *numbers, index=0, count=1):
    rows = pa.table({"number": list(numbers)}, NUMBERS)
    return write_shard(str(folder), directory.shard_stem("part", index, count), NUMBERS, [rows])


def numbers(folder):
    return [
        n
        for part in directory.read_shards(str(folder), check_digests=True)
        for n in part["number"].to_pylist()
    ]


def listing(folder):
    return sorted(path.name for path in folder.rglob("*"))


class Killed(BaseException):
    """What no handler catches."""


def test_an_attempt_that_does_not_count_changes_nothing(tmp_path):
    first = stage(tmp_path, 1, 2, 3)
    stage(tmp_path, 1, 2)  # another attempt of the same task, which saw fewer rows
    commit.commit(str(tmp_path), "numbers", [first], {})
    stage(tmp_path, 1)  # and one that ends after the commit
    assert numbers(tmp_path) == [1, 2, 3]
    commit.prepare(str(tmp_path))
    assert listing(tmp_path) == sorted([MANIFEST, first.shard.file])


def test_a_manifest_that_cannot_be_read_is_an_error_and_costs_no_shard(tmp_path, monkeypatch):
    first = stage(tmp_path, 1, 2, 3)
    commit.commit(str(tmp_path), "numbers", [first], {})
    open_read = files.open_read

    def refuse(path):
        if path.endswith(MANIFEST):
            raise DataError(f"{path}: permission denied")
        return open_read(path)

    monkeypatch.setattr(files, "open_read", refuse)
    for step in (commit.prepare, commit.remove_table, directory.valid_manifest):
        with pytest.raises(DataError, match="permission denied"):
            step(str(tmp_path))
    monkeypatch.undo()
    assert numbers(tmp_path) == [1, 2, 3]

    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "open_read", lambda _: Failing())
    with pytest.raises(
        DataError, match=r"_manifest.json: cannot be read .*Input/output error.*; check the disk"
    ):
        commit.prepare(str(tmp_path))
    monkeypatch.undo()
    assert numbers(tmp_path) == [1, 2, 3]
    for damaged in (b"{", b"\xff", b"[]"):
        (tmp_path / MANIFEST).write_bytes(damaged)
        assert directory.valid_manifest(str(tmp_path)) is None


def test_a_commit_may_run_twice(tmp_path):
    staged = [stage(tmp_path, 1, index=0, count=2), stage(tmp_path, 2, index=1, count=2)]
    first = commit.commit(str(tmp_path), "numbers", staged, {"a": 1})
    assert commit.commit(str(tmp_path), "numbers", staged, {"a": 1}) == first
    assert numbers(tmp_path) == [1, 2]


def test_a_commit_without_its_shards_fails_and_leaves_the_old_table(tmp_path):
    commit.commit(str(tmp_path), "numbers", [stage(tmp_path, 1)], {})
    lost = stage(tmp_path, 2)
    os.remove(tmp_path / STAGED / lost.file)
    with pytest.raises(DataError):
        commit.commit(str(tmp_path), "numbers", [lost], {})
    assert numbers(tmp_path) == [1]


def test_a_commit_that_is_interrupted_anywhere_leaves_a_whole_table_and_can_be_run_again(
    tmp_path, monkeypatch
):
    """Kill a commit before each of its changes to the file system in turn."""
    changes = [0]

    def counted(name):
        change = getattr(os, name)

        def count_and_change(*args, **kwargs):
            if changes[0] == 0:
                raise Killed
            changes[0] -= 1
            return change(*args, **kwargs)

        monkeypatch.setattr(files.os, name, count_and_change)

    survived = 0
    for number in range(40):
        folder = tmp_path / str(number)
        changes[0] = 10_000
        for name in ("replace", "remove", "rmdir"):
            counted(name)
        commit.commit(str(folder), "numbers", [stage(folder, 1, index=i, count=3) for i in range(3)], {})
        staged = [stage(folder, 2, 3, index=i, count=3) for i in range(3)]
        changes[0] = number
        try:
            commit.commit(str(folder), "numbers", staged, {})
        except Killed:
            assert numbers(folder) in ([1, 1, 1], [2, 3] * 3)
        else:
            survived += 1
        changes[0] = 10_000
        commit.prepare(
            str(folder)
        )  # what the next build does; a commit that is retried still finds its shards
        assert numbers(folder) in ([1, 1, 1], [2, 3] * 3)
        commit.commit(str(folder), "numbers", [stage(folder, 2, 3, index=i, count=3) for i in range(3)], {})
        assert numbers(folder) == [2, 3] * 3
        assert listing(folder) == sorted([MANIFEST, *(each.shard.file for each in staged)])
        monkeypatch.undo()
    assert 0 < survived < 40


CALLS = {
    "disk": ("replace", "remove", "rmdir", "listdir", "scandir", "stat"),
    "bucket": ("info", "ls", "put_file", "cp_file", "rm_file", "open"),
}


@pytest.fixture
def calls(monkeypatch):
    """A function that counts the calls of a file system from now on, and acts before one of them."""
    from fsspec.implementations.memory import MemoryFileSystem

    left, act = [0], [lambda: None]

    def counted(call):
        def count_and_call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                act[0]()
            return call(*args, **kwargs)

        return count_and_call

    for place, of in (("disk", files.os), ("bucket", MemoryFileSystem)):
        for name in CALLS[place]:
            monkeypatch.setattr(of, name, counted(getattr(of, name)))

    def start(number, action):
        """Call `action` before the call with this number; return a function that tells whether there were fewer calls."""
        left[0], act[0] = number, action
        return lambda: left[0] > 0

    return start


@pytest.mark.parametrize("place", CALLS)
def test_two_attempts_of_a_commit_at_the_same_time_both_end(tmp_path, bucket, calls, place):
    """Before each call of the file system of one attempt in turn, another one begins and ends.

    The other removes temporary files. On a disk, where the first has just written one, it may fail; the engine repeats it.
    """
    for number in range(1, 1000):
        folder = str(tmp_path / str(number)) if place == "disk" else f"{bucket}/{number}"
        commit.commit(folder, "numbers", [stage(folder, 1, index=i, count=3) for i in range(3)], {})
        mine, others = ([stage(folder, 2, 3, index=i, count=3) for i in range(3)] for _ in range(2))
        has_ended = calls(number, lambda: commit.commit(folder, "numbers", others, {}))  # noqa: B023
        try:
            commit.commit(folder, "numbers", mine, {})
        except (DataError, FileNotFoundError):
            assert place == "disk"
            assert numbers(folder) == [2, 3] * 3
            commit.commit(folder, "numbers", mine, {})
        if has_ended():
            break
        assert numbers(folder) == [2, 3] * 3
        assert files.entries(folder).keys() - {STAGED} == {MANIFEST, *(each.shard.file for each in mine)}
        assert not files.entries(files.join(folder, STAGED))
    assert number > 15


@pytest.mark.parametrize("place", CALLS)
def test_two_attempts_of_removing_a_table_at_the_same_time_both_end(tmp_path, bucket, calls, place):
    """The commit of a dataset removes the sets that it no longer has."""
    for number in range(1, 1000):
        folder = str(tmp_path / str(number)) if place == "disk" else f"{bucket}/{number}"
        commit.commit(folder, "numbers", [stage(folder, 1, index=i, count=3) for i in range(3)], {})
        stage(folder, 2)
        has_ended = calls(number, lambda: commit.remove_table(folder))  # noqa: B023
        commit.remove_table(folder)
        if has_ended():
            break
        assert {*files.entries(folder).values()} <= {None}
    assert number > 9


def test_what_no_build_has_written_is_refused_and_kept(tmp_path):
    commit.commit(str(tmp_path), "numbers", [stage(tmp_path, 1)], {})
    for name in ("photo.png", "part-00000-of-00001.parquet", "part-00000-of-00001-zzzz.parquet"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(DataError, match=f"holds '{name}', which no build has written; move it"):
            commit.prepare(str(tmp_path))
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()
    (tmp_path / ".DS_Store").write_bytes(b"a desktop wrote this")
    (tmp_path / STAGED).mkdir()
    (tmp_path / STAGED / "photo.png").write_bytes(b"mine")
    foreign = tmp_path / "part-00000-of-00001-0123456789abcdef.parquet"
    foreign.write_bytes(b"its name is not its digest")
    commit.prepare(str(tmp_path))
    commit.commit(str(tmp_path), "numbers", [stage(tmp_path, 2)], {})
    commit.remove_table(str(tmp_path))
    assert foreign.exists()
    assert (tmp_path / STAGED / "photo.png").exists()
    assert (tmp_path / ".DS_Store").exists()


def test_a_linked_folder_is_one_like_any_other(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "table"
    link.symlink_to(tmp_path / "elsewhere")
    for value in (1, 2):
        commit.prepare(str(link))
        commit.commit(str(link), "numbers", [stage(link, value)], {})
        assert numbers(link) == [value]
    assert link.is_symlink()


def test_a_damaged_manifest_is_a_table_that_is_not_there(tmp_path):
    commit.commit(str(tmp_path), "numbers", [stage(tmp_path, 1)], {})
    for damage in ("", "{", "[]", "\0" * 100):
        (tmp_path / MANIFEST).write_text(damage)
        with pytest.raises(DataError, match="run the stage that writes it again"):
            directory.read_manifest(str(tmp_path))
        commit.prepare(str(tmp_path))
        commit.commit(str(tmp_path), "numbers", [stage(tmp_path, 2)], {})
        assert numbers(tmp_path) == [2]


def test_files_of_earlier_versions_are_replaced_if_their_manifest_names_them(tmp_path):
    staged = stage(tmp_path, 1)
    manifest = commit.publish(str(tmp_path), "numbers", [staged], {})
    old = tmp_path / "part-00000-of-00001.parquet"
    (tmp_path / staged.shard.file).rename(old)
    text = manifest.to_json().replace(staged.shard.file, old.name)
    (tmp_path / MANIFEST).write_text(text)
    assert numbers(tmp_path) == [1]
    new = stage(tmp_path, 2)
    commit.commit(str(tmp_path), "numbers", [new], {})
    assert listing(tmp_path) == sorted([MANIFEST, new.shard.file])
