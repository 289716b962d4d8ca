"""Reading files below the base folder."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.errors import DataError
from pipeline.ingest.source_folder import SourceFolder, check_path
from pipeline.rejections import Rejected

LIMIT = 1000


@dataclass
class Get:
    """A function that reads a file below `base`."""

    base: Path

    def __call__(self, path: str) -> bytes | Rejected:
        try:
            return SourceFolder(str(self.base), LIMIT).read(path)
        except Rejected as rejected:
            return rejected


@pytest.fixture
def get(tmp_path: Path) -> Get:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    return Get(tmp_path / "source")


def body(result: bytes | Rejected) -> bytes:
    assert isinstance(result, bytes), result
    return result


def refused(result: bytes | Rejected) -> Rejected:
    assert isinstance(result, Rejected), result
    return result


def test_a_file_below_the_base_folder_is_read(get: Get) -> None:
    (get.base / "sub" / "a.jpg").write_bytes(b"picture")
    assert body(get(path="sub/a.jpg")) == b"picture"


def test_the_base_folder_may_be_the_root(get: Get) -> None:
    (get.base / "a.jpg").write_bytes(b"picture")
    assert body(Get(Path("/"))(path=str(get.base / "a.jpg")[1:])) == b"picture"


@pytest.mark.parametrize("path", ["missing.jpg", "a.txt/b.jpg"])
def test_missing_files_are_not_found(get: Get, path: str) -> None:
    (get.base / "a.txt").write_bytes(b"x")
    assert refused(get(path=path)).code == "not_found"


def test_an_empty_file_and_a_large_one_are_rejected(get: Get) -> None:
    (get.base / "empty").write_bytes(b"")
    (get.base / "just").write_bytes(b"x" * LIMIT)
    (get.base / "large").write_bytes(b"x" * (LIMIT + 1))
    assert refused(get(path="empty")).code == "empty"
    assert len(body(get(path="just"))) == LIMIT
    assert refused(get(path="large")).code == "too_large"


def test_folders_pipes_devices_and_sockets_are_rejected(get: Get) -> None:
    os.mkfifo(get.base / "pipe")  # opening it for reading would wait for a writer
    for name in ("zero", "tty"):
        os.symlink(f"/dev/{name}", get.base / name)
    assert refused(get(path="sub")).code == "unreadable_file"
    assert refused(get(path="pipe")).code == "unreadable_file"
    assert refused(get(path="zero")).code == "bad_location"  # it also leads out of the folder


def test_a_rejected_file_is_closed(get: Get) -> None:
    os.mkfifo(get.base / "pipe")
    source, free = SourceFolder(str(get.base), LIMIT), next_descriptor()
    for path in ("sub", "pipe", "missing"):
        with pytest.raises(Rejected) as caught:
            source.read(path)
        assert caught.value.code == ("not_found" if path == "missing" else "unreadable_file")
        assert next_descriptor() == free


def test_a_machine_without_open_files_is_an_error_not_a_rejection(get: Get) -> None:
    (get.base / "a").write_bytes(b"x")
    source, limits = SourceFolder(str(get.base), LIMIT), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_descriptor(), limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            source.read("a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert source.read("a") == b"x"


def next_descriptor() -> int:
    """Return the lowest descriptor that is free."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_the_folder_is_rejected(get: Get) -> None:
    try:
        os.mknod(get.base / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("not even this root")
    assert refused(get(path="zero")).code == "unreadable_file"


def test_a_path_too_long_for_the_system_is_rejected(get: Get) -> None:
    assert refused(get(path="x" * 5000)).code == "unreadable_file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_rejected(get: Get) -> None:
    (get.base / "a").write_bytes(b"x")
    (get.base / "a").chmod(0)
    assert refused(get(path="a")).code == "unreadable_file"


def test_links_out_of_the_base_folder_are_rejected(get: Get) -> None:
    secret = get.base.parent / "secret"
    secret.write_bytes(b"secret")
    (get.base / "real").write_bytes(b"picture")
    (get.base / "within").symlink_to(get.base / "real")
    (get.base / "out").symlink_to(secret)
    (get.base / "folder-out").symlink_to(get.base.parent)
    (get.base / "loop").symlink_to(get.base / "loop")
    assert body(get(path="within")) == b"picture"
    assert refused(get(path="out")).code == "bad_location"
    assert refused(get(path="folder-out/secret")).code == "bad_location"
    assert refused(get(path="loop")).code == "unreadable_file"


def test_a_folder_with_the_base_as_name_prefix_is_outside_it(get: Get) -> None:
    (get.base.parent / "source-secret").mkdir()
    (get.base.parent / "source-secret" / "a").write_bytes(b"secret")
    (get.base / "out").symlink_to(get.base.parent / "source-secret")
    assert refused(get(path="out/a")).code == "bad_location"


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "a/../../secret", "a/..", "..", "/etc/passwd", "//etc/passwd", "a\\b", "..\\secret",
        "C:/windows", "c:secret", "file:///etc/passwd", "gs://bucket/a", "a\x00.jpg",
    ],
)  # fmt: skip
def test_paths_out_of_the_base_folder_are_rejected(path: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_path(path)
    assert caught.value.code == "bad_location"
    assert "below the source folder" in caught.value.detail


@pytest.mark.parametrize("path", ["a.jpg", "sub/a b.jpg", "sub/.hidden/é.jpg", "a..b/c...jpg", "x/12:30.jpg"])
def test_paths_below_the_base_folder_are_split(path: str) -> None:
    assert check_path(path) == path.split("/")


def test_an_unreachable_store_is_an_error_not_a_rejection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: str) -> None:
        raise DataError(f"{path}: cannot reach the file system") from ConnectionError("no network")

    monkeypatch.setattr("pipeline.files.open_read", fail)
    with pytest.raises(DataError, match="cannot reach the file system"):
        SourceFolder("gs://bucket/set", LIMIT).read("a.jpg")
