import hashlib
import itertools
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import DataError, UsageError
from pipeline import files, remote


def test_a_replaced_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    files.write_text(str(path), "old")
    files.write_text(str(path), "née")
    assert files.read_text(str(path)) == "née"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_the_mark_that_editors_put_first_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee", encoding="utf-8-sig")
    assert files.read_text(str(tmp_path / "names.txt")) == "ant\nbee"


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with files.replace(str(path)) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_is_full_is_reported(tmp_path: Path) -> None:
    old, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))  # bytes of a file
    try:
        with pytest.raises(
            DataError, match=r"a\.txt: cannot write the file \(File too large\); free disk space"
        ):
            files.write_text(str(tmp_path / "a.txt"), "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (old, most))
    assert not list(tmp_path.iterdir())


def test_text_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(DataError, match=r"a\.yaml: not UTF-8 text"):
        files.read_text(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("path", ["missing.csv", ".", "a.txt/b.csv"])
def test_what_is_no_file_is_reported(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no such file; check the path"):
        files.open_read(str(tmp_path / path))


@pytest.mark.parametrize("path", ["a.txt", "a.txt/folder"])
def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"cannot create the folder .* choose another --output"):
        files.make_folder(str(tmp_path / path))


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("x")
    for _ in range(2):
        files.remove(str(tmp_path / "folder" / "a"))
        files.remove_temporaries(str(tmp_path / "folder"))
        files.remove_folder(str(tmp_path / "folder"))
    assert not files.exists(str(tmp_path / "folder"))
    (tmp_path / "file").write_text("x")
    files.remove(str(tmp_path / "file" / "a"))
    files.remove_folder(str(tmp_path / "file" / "folder"))
    assert files.names(str(tmp_path / "file"), "*") == []


@pytest.mark.parametrize("name", ["out*", "out[12]", "out?"])
def test_the_name_of_a_folder_is_no_pattern(tmp_path: Path, name: str) -> None:
    for folder in ("out1", name):
        files.write_text(str(tmp_path / folder / "sub" / f"{files.TEMPORARY_PREFIX}1"), "x")
    files.remove_temporaries(str(tmp_path / name / "sub"))
    assert files.entries(str(tmp_path / name / "sub")) == {}
    files.remove_folder(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["out1"]
    assert files.entries(str(tmp_path / "out1" / "sub")) == {f"{files.TEMPORARY_PREFIX}1": 1}
    with pytest.raises(UsageError, match="choose another name"):
        files.check_output(f"gs://bucket/{name}")


def test_importing_files_is_cheap_and_imports_no_beam() -> None:
    code = "import sys, pipeline.files; print(sorted({'apache_beam', 'fsspec', 'gcsfs', 's3fs'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    seen = set()
    for nanoseconds, text in enumerate(("abc", "abd", "abcd")):
        path.write_text(text)
        os.utime(path, ns=(0, nanoseconds))
        first, second = files.versions(str(tmp_path), ["a", "a"])
        assert first == second is not None
        seen.add(first)
    assert len(seen) == 3


def test_versions_of_many_files_are_a_stream_in_the_given_order(tmp_path: Path) -> None:
    for name in ("a b*?[1]#.jpg", "sub/b.jpg"):
        files.write_text(str(tmp_path / name), name)
    paths = iter(["sub/b.jpg", "missing", "sub", "a\0b", "sub/b.jpg/c", "a b*?[1]#.jpg", "never asked"])
    result = list(itertools.islice(files.versions(str(tmp_path), paths), 6))
    assert [version is not None for version in result] == [True, False, False, False, False, True]
    assert result[0] != result[5]
    assert next(paths) == "never asked"


def test_ranges_are_read_and_what_is_short_or_missing_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "b").write_bytes(b"abc")
    a, b, missing = (str(tmp_path / name) for name in ("a", "b", "missing"))
    ranges = [
        (a, 2, 3),
        (b, 0, 3),
        (missing, 0, 1),
        (a, 8, 3),
        (a, 0, 1),
        (b, 3, 0),
        (str(tmp_path), 0, 1),
        (a, 20, 1),
    ]
    assert files.read_ranges(ranges) == [b"234", b"abc", None, None, b"0", b"", None, None]
    assert files.read_ranges([]) == []


def test_appended_writes_are_visible_at_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "log"
    with files.open_append(str(path)) as file:
        file.write(b"line\n")
        assert path.read_bytes() == b"line\n"


def test_links_that_lead_nowhere_are_files_without_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    assert files.entries(str(tmp_path)) == {"file": 3, "folder": None, "broken": 0, "itself": 0}


def test_an_appended_write_is_complete_or_an_error_with_the_path(tmp_path: Path) -> None:
    """The limit of the file size lets the kernel write a part of the bytes first."""
    path = str(tmp_path / "log")
    program = f"""
import resource, signal
from pipeline import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 200))
file = files.open_append({path!r})
assert file.write(bytes(60)) == 60
for size in (60, 1):
    try:
        file.write(bytes(size))
    except OSError as error:
        print(error.strerror, error.filename)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"File too large {path}\n" * 2
    assert os.path.getsize(path) == 100


def test_an_unknown_scheme_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="http://host/a: unknown scheme 'http'; use a local path, gs://"):
        files.open_read("http://host/a")


@pytest.mark.parametrize(
    ("library", "url", "package"), [("s3fs", "s3://b/a", "s3fs"), ("gcsfs", "gs://b/a", "gcsfs")]
)
def test_a_missing_library_is_a_usage_error_that_names_what_to_install(
    library: str, url: str, package: str
) -> None:
    code = f"import sys; sys.modules['{library}'] = None; from pipeline import files; files.exists('{url}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"common.errors.UsageError: {url}: ")
    assert re.search(rf"; pip install .*'{package}>=", last)


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_only_a_file_that_does_not_exist_is_read_as_none(tmp_path: Path, bucket: str, place: str) -> None:
    folder = str(tmp_path / "folder") if place == "disk" else f"{bucket}/folder"
    assert files.read_existing(files.join(folder, "a")) is None
    files.write_text(files.join(folder, "a"), "text")
    assert files.read_existing(files.join(folder, "a")) == b"text"
    if place == "disk":
        assert files.read_existing(files.join(folder, "a", "b")) is None
        with pytest.raises(DataError):
            files.read_existing(folder)


@pytest.mark.parametrize("pattern", ["*", "*.json", ".w*"])
@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_files_that_are_being_written_are_not_listed(
    tmp_path: Path, bucket: str, place: str, pattern: str
) -> None:
    """Or that a killed command has left: they may be incomplete."""
    folder = str(tmp_path) if place == "disk" else f"{bucket}/folder"
    files.write_text(files.join(folder, "a.json"), "{}")
    with files.replace(files.join(folder, "b.json")) as file:
        file.write(b"half")
        files.write_text(files.join(folder, f"{files.TEMPORARY_PREFIX}0-c.json"), "half")
        assert files.names(folder, pattern) == ([] if pattern == ".w*" else ["a.json"])


def test_a_folder_in_a_bucket_goes_with_all_in_it(bucket: str) -> None:
    out = f"{bucket}/out [1]*"
    for path in (f"{out}/part-0", f"{out}/sub/part-1", f"{out}/.writing-2", f"{out}-2/part-0", f"{out}er"):
        files.write_text(path, "x")
    files.remove_temporaries(out)
    assert sorted(files.entries(out)) == ["part-0", "sub"]
    assert files.folders_with(bucket, "part-0") == ["out [1]*", "out [1]*-2"]
    for _ in range(2):
        files.remove_folder(out)
        assert not files.exists(f"{out}/part-0")
        assert not files.exists(f"{out}/sub/part-1")
    assert files.read_text(f"{out}-2/part-0") == files.read_text(f"{out}er") == "x"
    files.remove_folder(f"{out}er")  # a file is no folder
    assert files.exists(f"{out}er")


def test_files_in_a_bucket_are_read_written_and_removed(bucket: str) -> None:
    path = files.join(bucket, "a b", "/née?#.txt")
    assert path == "memory://bucket/a b/née?#.txt"
    files.write_text(path, "first\nsecond")
    with files.open_read(path) as file:
        assert [file.readline(), file.seek(-3, 2), file.read(), file.tell()] == [b"first\n", 9, b"ond", 12]
    assert files.sha256(path) == hashlib.sha256(b"first\nsecond").hexdigest()
    with files.open_append(path) as file:
        file.write(b"third")
    assert files.read_text(path) == "third"
    for _ in range(2):
        files.remove(path)
        assert not files.exists(path)
    with pytest.raises(DataError, match=r"née\?#\.txt: no such file or bucket; check the path"):
        files.open_read(path)


@pytest.mark.parametrize("renames", [False, True])
def test_a_failed_write_in_a_bucket_leaves_the_old_file(
    bucket: str, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    """By an upload, which is atomic on object stores, and by a rename, as on HDFS."""
    monkeypatch.setattr(remote, "RENAMING", {"memory"} if renames else set())
    path = f"{bucket}/folder/a.txt"
    files.write_text(path, "old")
    files.write_text(path, "new")

    def fail() -> None:
        with files.replace(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files.read_text(path) == "new"
    assert [*files.entries(f"{bucket}/folder")] == ["a.txt"]
    files.remove_folder(f"{bucket}/folder")
    assert not files.exists(path)


@pytest.mark.parametrize("refusal", ["error", "silent", "second"])
def test_a_failed_rename_leaves_the_old_file(
    bucket: str, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    """As on HDFS, where a rename may fail with an error, or (webhdfs) only in a reply that fsspec ignores."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(remote, "RENAMING", {"memory"})
    path, other = f"{bucket}/folder/a.txt", f"{bucket}/folder/b.txt"
    files.write_text(path, "old")
    files.write_text(other, "new")
    move, moves = MemoryFileSystem.mv, []

    def mv(self: MemoryFileSystem, source: str, target: str) -> None:
        moves.append(source)
        if len(moves) == (2 if refusal == "second" else 1):
            if refusal == "silent":
                return
            raise RuntimeError("safe mode")
        move(self, source, target)

    monkeypatch.setattr(MemoryFileSystem, "mv", mv)
    with pytest.raises(DataError, match="was not renamed" if refusal == "silent" else "safe mode"):
        files.write_text(path, "new")
    assert files.read_text(path) == "old"
    moves.clear()
    with pytest.raises(DataError):
        files.move([(other, path)])
    assert (files.read_text(path), files.read_text(other)) == ("old", "new")
    assert sorted(files.names(f"{bucket}/folder", "*")) == ["a.txt", "b.txt"]


def test_versions_in_a_bucket_take_one_listing_a_folder(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["x/a", "y/b", "x/c", "d"]
    for name in names:
        files.write_text(f"{bucket}/{name}", name)
    listed = []
    entries = remote.entries
    monkeypatch.setattr(remote, "entries", lambda folder: listed.append(folder) or entries(folder))
    result = list(files.versions(bucket, [*names, "x", "x/missing", "none/e"]))
    assert result[:4] == [next(files.versions(bucket, [name])) for name in names]
    assert None not in result[:4]
    assert result[4:] == [None, None, None]
    assert listed[:4] == [f"{bucket}/x", f"{bucket}/y", bucket, f"{bucket}/none"]


def test_ranges_in_a_bucket_and_on_a_disk_are_read_together(bucket: str, tmp_path: Path) -> None:
    files.write_text(f"{bucket}/a", "0123456789")
    (tmp_path / "b").write_bytes(b"abc")
    ranges = [
        (f"{bucket}/a", 2, 3),
        (str(tmp_path / "b"), 1, 2),
        (f"{bucket}/a", 8, 3),
        (f"{bucket}/c", 0, 1),
    ]
    assert files.read_ranges(ranges) == [b"234", b"bc", None, None]


def test_a_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert (
        files.sha256(str(tmp_path / "a"))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
