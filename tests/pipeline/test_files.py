from pathlib import Path

import pytest

from pipeline import files
from schemas.errors import DataError


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
        files.remove(str(tmp_path / "folder"))
    assert not files.exists(str(tmp_path / "folder"))


def test_a_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert (
        files.sha256(str(tmp_path / "a"))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
