import resource
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from apache_beam.io.filesystem import FileMetadata, FileSystem

from pipeline import files
from schemas.errors import DataError, UsageError


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


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    old, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))  # bytes of a file
    try:
        with pytest.raises(DataError, match=r"a\.txt: cannot be written \(File too large\); make room"):
            files.write_text(str(tmp_path / "a.txt"), "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (old, most))
    assert not list(tmp_path.iterdir())


def test_text_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(DataError, match=r"a\.yaml: no UTF-8 text"):
        files.read_text(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("path", ["missing.csv", ".", "a.txt/b.csv"])
def test_what_is_no_file_is_told(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no such file; check the path"):
        files.open_read(str(tmp_path / path))


@pytest.mark.parametrize("path", ["a.txt", "a.txt/folder"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"the folder cannot be made .* give another --output"):
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
        files.write_text(str(tmp_path / folder / "sub" / f"{files.TEMPORARY}1"), "x")
    files.remove_temporaries(str(tmp_path / name / "sub"))
    assert files.names(str(tmp_path / name / "sub"), "*") == []
    files.remove_folder(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["out1"]
    assert files.names(str(tmp_path / "out1" / "sub"), "*") == [f"{files.TEMPORARY}1"]
    with pytest.raises(UsageError, match="give another name"):
        files.check_output(f"gs://bucket/{name}")


class _Bucket(FileSystem):
    """Objects by name, as in a bucket: there are no folders, and a prefix is nothing that exists."""

    objects: ClassVar[set[str]] = set()

    @classmethod
    def scheme(cls) -> str:
        return "bucket"

    def has_dirs(self) -> bool:
        return False

    def exists(self, path: str) -> bool:
        return path in self.objects

    def _list(self, prefix: str) -> Iterator[FileMetadata]:
        yield from [FileMetadata(name, 1) for name in sorted(self.objects) if name.startswith(prefix)]

    def delete(self, paths: list[str]) -> None:
        self.objects.difference_update(paths)

    def join(self, base: str, *names: str) -> str:
        return "/".join([base.rstrip("/"), *names])

    def split(self, path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        return folder, name

    def _unasked(self, *_: object, **__: object) -> None:
        raise NotImplementedError

    mkdirs = create = open = copy = rename = size = last_updated = checksum = metadata = _unasked


def test_a_folder_in_a_bucket_goes_with_all_in_it() -> None:
    here = {f"bucket://b/out/{name}" for name in ("part-0", "sub/part-1", f"{files.TEMPORARY}2")}
    beside = {"bucket://b/out-2/part-0", "bucket://b/outer"}
    _Bucket.objects = here | beside
    files.remove_temporaries("bucket://b/out")
    assert files.names("bucket://b/out", "*") == ["part-0"]
    for _ in range(2):
        files.remove_folder("bucket://b/out")
        assert _Bucket.objects == beside


def test_a_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert (
        files.sha256(str(tmp_path / "a"))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
