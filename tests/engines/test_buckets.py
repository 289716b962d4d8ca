"""The files module with gs:// and s3://, against local emulators of both stores."""

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from common.errors import DataError, UsageError
from pipeline import files, remote
from pipeline.running.lock import build_lock
from tests.engines.conftest import run
from tests.engines.emulators import Store

NAMES = ("a", "with space", "née", "x[1]*?#%.txt", "q?generation=1#2", "a::b", "sub/b")
LARGE = remote._PART_BYTES * 2 + 12345  # three parts


@pytest.fixture
def store(emulator) -> Store:
    files.remove_folder(emulator.bucket)
    assert not emulator.all()
    return emulator


def test_names_are_taken_literally(store):
    for name in NAMES:
        files.write_text(files.join(store.bucket, "folder", name), name)
    assert store.all() == {f"folder/{name}" for name in NAMES}
    folder = files.join(store.bucket, "folder")
    assert sorted(files.names(folder, "*")) == sorted(set(NAMES) - {"sub/b"})
    assert sorted(files.names(folder, "*[[]1]*")) == ["x[1]*?#%.txt"]
    for name in NAMES:
        path = files.join(folder, name)
        assert files.read_text(path) == name
        files.remove(path)
        assert not files.exists(path)
        files.remove(path)


@pytest.mark.parametrize(
    "size", [0, 10, remote._PART_BYTES, LARGE], ids=["empty", "small", "a part", "parts"]
)
def test_a_file_is_replaced_whole(store, size):
    data = os.urandom(size)
    path = f"{store.bucket}/folder/a.bin"
    store.put("folder/a.bin", b"old")
    with files.replace(path) as file:
        file.write(data)
        assert files.read_text(path) == "old"
    assert store.all() == {"folder/a.bin"}
    assert files.sha256(path) == hashlib.sha256(data).hexdigest()
    with files.open_read(path) as file:
        assert file.read() == data


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_while_writing_leaves_the_old_file_and_nothing_else(store, size, error):
    path = f"{store.bucket}/folder/a.bin"
    store.put("folder/a.bin", b"old")

    def write() -> None:
        with files.replace(path) as file:
            file.write(bytes(size))
            raise error

    with pytest.raises(error):
        write()
    assert store.all() == {"folder/a.bin"}
    assert files.read_text(path) == "old"


def test_an_upload_that_fails_half_way_leaves_the_old_file_and_nothing_else(store, monkeypatch):
    path = f"{store.bucket}/folder/a.bin"
    store.put("folder/a.bin", b"old")
    name = "_call_s3" if store.bucket.startswith("s3") else "_call"
    call = getattr(store.kind, name)
    parts = []

    async def fail(self, *arguments, **options):
        if "upload_part" in arguments or "Content-Range" in (options.get("headers") or {}):
            parts.append(arguments)
            if len(parts) == 2:
                raise PermissionError("the token has expired")
        return await call(self, *arguments, **options)

    monkeypatch.setattr(store.kind, name, fail)

    # The emulator of Cloud Storage knows no way to give up an upload; the store itself answers 499.
    async def give_up(self, method, *arguments, **options):
        return ({}, b"") if method == "DELETE" else await fail(self, method, *arguments, **options)

    if name == "_call":
        monkeypatch.setattr(store.kind, name, give_up)

    with pytest.raises(
        DataError, match=r"a\.bin: permission denied \(the token has expired\); check the cred"
    ):
        files.write_text(path, "x" * LARGE)
    monkeypatch.undo()
    assert len(parts) >= 2
    assert store.all() == {"folder/a.bin"}
    assert files.read_text(path) == "old"
    if name == "_call_s3":
        assert not store.other().list_multipart_uploads("bucket")


def test_what_others_write_is_seen_at_once(store):
    folder = f"{store.bucket}/folder"
    for number in range(3):
        assert len(files.names(folder, "*")) == number
        assert not files.exists(f"{folder}/{number}")
        store.put(f"folder/{number}", b"x")
        assert files.exists(f"{folder}/{number}")
        assert files.exists(folder)
        assert len(list(filter(None, files.versions(folder, ["0", "1", "2"])))) == number + 1


def test_a_new_file_is_created_only_if_there_is_none(store):
    path = f"{store.bucket}/folder/a.json"
    assert files.create(path, "first")
    if path.startswith("gs://"):
        pytest.skip(
            "the emulator of gs:// does not know the condition that gcsfs sends (ifGenerationMatch=0)"
        )
    assert not files.create(path, "second")
    assert files.read_text(path) == "first"


def test_a_folder_in_a_bucket_is_held_by_a_lease(store):
    output = f"{store.bucket}/out"
    with build_lock(output):
        (name,) = store.all()
        assert name == "out/.lease/00000001.json"
        with pytest.raises(UsageError, match="another build is running in this folder"), build_lock(output):
            pass
        held_by = json.loads(files.read_text(f"{store.bucket}/{name}"))
        store.put(name, json.dumps({**held_by, "expires": 0}).encode())
        with build_lock(output):
            assert store.all() == {"out/.lease/00000002.json"}
    assert not store.all()


def test_a_folder_goes_without_its_neighbors(store):
    for name in ("out/part-0", "out/sub/part-1", "out/*", "out/", "out-2/part-0", "outer", "ou"):
        store.put(name, b"" if name.endswith("/") else b"x")
    assert sorted(files.names(f"{store.bucket}/out", "*")) == ["*", "part-0"]
    assert files.folders_with(store.bucket, "part-0") == ["out", "out-2"]
    for _ in range(2):
        files.remove_folder(f"{store.bucket}/out")
        assert store.all() == {"out-2/part-0", "outer", "ou"}
    files.remove_folder(f"{store.bucket}/outer")  # a file is no folder
    assert "outer" in store.all()
    assert files.names(f"{store.bucket}/outer", "*") == []


def test_a_folder_of_many_files_is_listed_and_removed_whole(store):
    if store.bucket.startswith("gs"):
        pytest.skip("the emulator of Cloud Storage answers a listing in one page")
    names = [f"{number:04d}" for number in range(1001)]  # more than a page
    other = store.other()
    other.pipe({f"bucket/many/{name}": b"x" for name in names})
    assert sorted(files.names(f"{store.bucket}/many", "*")) == names
    assert all(files.versions(f"{store.bucket}/many", names))
    files.remove_folder(f"{store.bucket}/many")
    assert not store.all()


def test_versions_change_with_the_content_and_cost_one_listing_a_folder(store, monkeypatch):
    paths = ["a", "sub/b", "sub/c d", "e"]
    for path in paths:
        store.put(f"folder/{path}", path.encode())
    folder = f"{store.bucket}/folder"
    listed = []
    entries = remote.entries
    monkeypatch.setattr(remote, "entries", lambda path: listed.append(path) or entries(path))
    before = list(files.versions(folder, [*paths, "sub", "missing", "none/f"]))
    assert listed == [folder, f"{folder}/sub", f"{folder}/none"]
    assert None not in before[:4]
    assert before[4:] == [None, None, None]
    store.put("folder/a", b"A")  # of the same size
    after = list(files.versions(folder, paths))
    assert after[0] != before[0]
    assert after[1:] == before[1:4]


def test_ranges_are_read_and_what_is_short_or_missing_is_none(store, tmp_path):
    store.put("a b", b"0123456789")
    store.put("c", b"abc")
    (tmp_path / "d").write_bytes(b"def")
    a, c, missing, d = (*(f"{store.bucket}/{name}" for name in ("a b", "c", "missing")), str(tmp_path / "d"))
    ranges = [(a, 2, 3), (c, 0, 3), (missing, 0, 1), (d, 1, 2), (a, 8, 3), (a, 10, 1), (a, 99, 1), (a, 0, 0)]
    assert files.read_ranges(ranges) == [b"234", b"abc", None, b"ef", None, None, None, b""]
    many = [(a, number % 10, 1) for number in range(40)]
    assert files.read_ranges(many) == [b"%d" % (number % 10) for number in range(40)]


def test_an_appended_file_appears_when_it_is_closed(store):
    path = f"{store.bucket}/log.jsonl"
    with files.open_append(path) as file:
        for number in range(1000):
            file.write(b"%d\n" % number)
        assert not files.exists(path)
    with files.open_read(path) as file:
        assert [int(line) for line in file] == list(range(1000))


def test_a_parquet_file_is_read_at_random(store):
    table = pa.table({"id": range(100_000), "data": pa.array(os.urandom(100) for _ in range(100_000))})
    path = f"{store.bucket}/part-0.parquet"
    with files.replace(path) as file:
        parquet.write_table(table, file, row_group_size=10_000)
    with files.open_read(path) as file:
        shard = parquet.ParquetFile(file)
        assert shard.metadata.num_row_groups == 10
        assert shard.read_row_group(7).equals(table.slice(70_000, 10_000))
        assert shard.read(columns=["id"]).equals(table.select(["id"]))
        assert shard.read().equals(table)


@pytest.mark.parametrize("path", ["bucket/missing", "bucket/folder", "no-such-bucket/a", "bucket"])
def test_a_path_that_is_no_file_is_reported(store, path):
    store.put("folder/a", b"x")
    url = f"{store.bucket.partition('://')[0]}://{path}"
    with pytest.raises(DataError, match=f"{url}: ") as caught:
        files.open_read(url)
    if path != "bucket":
        assert "no such file or bucket; check the path" in str(caught.value)


def test_a_bucket_that_does_not_exist_has_no_files_and_takes_none(store):
    url = f"{store.bucket.partition('://')[0]}://no-such-bucket/folder"
    assert not files.exists(url)
    assert files.names(url, "*") == files.folders_with(url, "*") == []
    files.remove(f"{url}/a")
    files.remove_folder(url)
    with pytest.raises(DataError, match="no such file or bucket"):
        files.write_text(f"{url}/a", "x")


def _read_in_child(path: str) -> None:
    files.write_text(f"{path}-child", files.read_text(path))


def test_a_forked_process_gets_a_client_of_its_own(store):
    path = f"{store.bucket}/a"
    files.write_text(path, "text")
    child = multiprocessing.get_context("fork").Process(target=_read_in_child, args=(path,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert files.read_text(f"{path}-child") == "text"


def test_a_process_keeps_one_client(store):
    assert remote.locate(f"{store.bucket}/a")[0] is remote.locate(f"{store.bucket}/b")[0]


def test_the_command_line_says_what_is_missing_without_a_traceback(store):
    done = run("verify", f"{store.bucket}/no-dataset", **store.environment)
    assert done.returncode == 1
    assert f"error: {store.bucket}/no-dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_connection_is_reported_without_a_traceback(tmp_path):
    pytest.importorskip("s3fs", reason="needs s3fs (make test-engines installs it)")
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    done = run("verify", "s3://bucket/dataset", **environment)
    assert done.returncode == 1
    assert "check network, endpoint and credentials" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_credentials_are_reported_without_a_traceback(tmp_path: Path):
    pytest.importorskip("s3fs", reason="needs s3fs (make test-engines installs it)")
    done = run("verify", "s3://bucket/dataset", AWS_PROFILE="none", AWS_CONFIG_FILE=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "profile (none) could not be found" in done.stderr
    assert "Traceback" not in done.stderr
