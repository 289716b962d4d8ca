"""Files below the base folder."""

import os
from pathlib import Path

import pytest

from schemas.errors import DataError
from tests.pipeline.ingest.conftest import FETCHING, Get, body, refused

LIMIT = int(str(FETCHING["max_bytes"]))


def test_a_file_below_the_base_folder_is_read(get: Get) -> None:
    (get.base / "sub" / "a.jpg").write_bytes(b"picture")
    assert body(get(path="sub/a.jpg")) == b"picture"


def test_the_base_folder_may_be_the_root(get: Get) -> None:
    (get.base / "a.jpg").write_bytes(b"picture")
    assert body(Get(Path("/"), get.folder)(path=str(get.base / "a.jpg")[1:])) == b"picture"


@pytest.mark.parametrize("path", ["missing.jpg", "a.txt/b.jpg"])
def test_what_is_not_there_is_not_found(get: Get, path: str) -> None:
    (get.base / "a.txt").write_bytes(b"x")
    assert refused(get(path=path)).code == "not_found"


def test_an_empty_file_and_a_large_one_are_rejected(get: Get) -> None:
    (get.base / "empty").write_bytes(b"")
    (get.base / "just").write_bytes(b"x" * LIMIT)
    (get.base / "large").write_bytes(b"x" * (LIMIT + 1))
    assert refused(get(path="empty")).code == "empty"
    assert len(body(get(path="just"))) == LIMIT
    assert refused(get(path="large")).code == "too_large"


def test_folders_pipes_devices_and_sockets_are_no_files(get: Get) -> None:
    os.mkfifo(get.base / "pipe")  # to open it for reading would wait for a writer
    for name in ("zero", "tty"):
        os.symlink(f"/dev/{name}", get.base / name)
    assert refused(get(path="sub")).code == "unreadable_file"
    assert refused(get(path="pipe")).code == "unreadable_file"
    assert refused(get(path="zero")).code == "bad_location"  # it leads out of the folder, too


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_within_the_folder_is_no_file(get: Get) -> None:
    try:
        os.mknod(get.base / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("not even this root")
    assert refused(get(path="zero")).code == "unreadable_file"


def test_a_path_that_is_too_long_for_the_system_is_a_rejection(get: Get) -> None:
    assert refused(get(path="x" * 5000)).code == "unreadable_file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_rejection(get: Get) -> None:
    (get.base / "a").write_bytes(b"x")
    (get.base / "a").chmod(0)
    assert refused(get(path="a")).code == "unreadable_file"


def test_links_out_of_the_base_folder_are_refused_and_links_within_are_not(get: Get) -> None:
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


def test_a_folder_whose_name_begins_like_the_base_is_not_below_it(get: Get) -> None:
    (get.base.parent / "source-secret").mkdir()
    (get.base.parent / "source-secret" / "a").write_bytes(b"secret")
    (get.base / "out").symlink_to(get.base.parent / "source-secret")
    assert refused(get(path="out/a")).code == "bad_location"


def test_the_path_goes_before_the_url(get: Get) -> None:
    from pipeline.config import IngestConfig
    from pipeline.ingest.fetch import Fetcher
    from pipeline.ingest.store import Store

    (get.base / "a.jpg").write_bytes(b"picture")
    config = IngestConfig()
    line = {"image_id": "a", "path": "a.jpg", "url": "http://127.0.0.1:1/never-asked", "sha256": None}
    store = Store(str(get.folder), 1, [], config)
    ((_, found),) = Fetcher(str(get.base), config).fetch_all([line], store)
    assert body(found) == b"picture"


def test_files_that_have_to_be_waited_for_are_read_in_the_background(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on gs:// and s3://; here the local file system is behind the scheme far://."""
    from pipeline import files

    real = files.open_read
    monkeypatch.setattr(files, "open_read", lambda path: real(path.replace("far://", "/")))
    monkeypatch.setattr(files, "join", lambda base, *names: "/".join([base, *names]))
    for i in range(20):
        (get.base / f"{i}").write_bytes(b"%d" % i)
    far = Get(Path("far:/"), get.folder)
    far.base = f"far://{get.base}"  # type: ignore[assignment]
    names = [f"{i}" for i in range(20)]
    found = far.all([], [*names, "missing", "../secret"])
    assert [body(result) for result in found[:20]] == [name.encode() for name in names]
    assert [refused(result).code for result in found[20:]] == ["not_found", "bad_location"]


def test_a_store_that_cannot_be_reached_is_not_the_fault_of_an_image(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise DataError(f"{path}: cannot reach the file system") from ConnectionError("no network")

    monkeypatch.setattr("pipeline.files.open_read", fail)
    far = Get(Path("far:/"), get.folder)
    far.base = f"far://{get.base}"  # type: ignore[assignment]
    with pytest.raises(DataError, match="cannot reach the file system"):
        far.all([], ["a.jpg"])
