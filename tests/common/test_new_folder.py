"""A new folder belongs to one command until it is filled."""

from pathlib import Path

import pytest

from common.errors import UsageError
from common.new_folder import UNFINISHED, new_folder


def fill_half(folder: Path, content: dict[str, str]) -> None:
    with new_folder(folder, content):
        (folder / "half").touch()
        raise KeyboardInterrupt


def test_a_filled_folder_has_no_trace_and_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with new_folder(folder, {"name": "x"}):
        (folder / "file").touch()
    assert [path.name for path in folder.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="the folder is not empty"), new_folder(folder, {"name": "x"}):
        pytest.fail("must not be filled")


def test_a_folder_that_was_not_filled_is_taken_by_the_same_content_alone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(KeyboardInterrupt):
        fill_half(folder, {"name": "x"})
    with pytest.raises(UsageError, match="the folder is not empty"), new_folder(folder, {"name": "y"}):
        pytest.fail("must not be filled")
    with new_folder(folder, {"name": "x"}):
        assert {path.name for path in folder.iterdir()} == {"half", UNFINISHED}
    assert [path.name for path in folder.iterdir()] == ["half"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_command_that_fails_before_it_writes_leaves_what_was_there(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "folder"
    if exists:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt), new_folder(folder, {}):
        raise KeyboardInterrupt
    assert folder.exists() == exists
    assert not exists or not list(folder.iterdir())


def test_two_commands_do_not_fill_one_folder_at_once(tmp_path: Path) -> None:
    with new_folder(tmp_path / "folder", {"name": "x"}):
        (tmp_path / "folder" / "half").touch()
        with (
            pytest.raises(UsageError, match="another command is writing to this folder"),
            new_folder(tmp_path / "folder", {"name": "x"}),
        ):
            pytest.fail("must not be filled")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot create the folder"), new_folder(tmp_path / "file", {}):
        pytest.fail("must not be filled")
