"""The lease that replaces the lock in object stores, tested in a local folder, which has the same interface."""

import errno
import json
import threading
import time

import pytest

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.running import lease
from pipeline.running.lease import hold_lease


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "out")


def leases(output):
    from pathlib import Path

    return sorted(Path(output, ".lease").glob("[0-9]*.json"))


def age(output, **values):
    """Change the lease that is held."""
    (path,) = leases(output)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_second_owner_gets_the_name_of_the_first(output):
    with hold_lease(output):
        with (
            pytest.raises(
                UsageError,
                match=r"another build is running in this folder \('.*', process \d+ on .*expires at",
            ),
            hold_lease(output),
        ):
            pass
        assert len(leases(output)) == 1
    assert not leases(output)
    with hold_lease(output):
        pass


def test_the_error_names_the_command_and_the_flag(output):
    with hold_lease(output, "check-links", "--ledger"):
        message = "another check-links is running in this folder .* choose another --ledger"
        with pytest.raises(UsageError, match=message), hold_lease(output, "check-links", "--ledger"):
            pass


def test_a_block_that_fails_lets_go(output):
    with pytest.raises(KeyboardInterrupt), hold_lease(output):
        raise KeyboardInterrupt
    assert not leases(output)


def test_an_expired_lease_is_taken_over(output):
    with hold_lease(output):
        age(output, expires=time.time() - 1)
        with hold_lease(output):
            (path,) = leases(output)
            assert path.name == "00000002.json"


def test_a_damaged_lease_holds_nothing(output):
    with hold_lease(output):
        (path,) = leases(output)
        path.write_text("{")
        with hold_lease(output):
            pass


@pytest.mark.parametrize("expired", [False, True])
def test_of_many_that_start_at_once_at_most_one_gets_the_folder(output, expired):
    if expired:
        with hold_lease(output):
            age(output, expires=0)
            (path,) = leases(output)
            kept = path.read_text()
        path.write_text(kept)
    held, refused, barrier, done = [], [], threading.Barrier(8), threading.Event()

    def start():
        barrier.wait()
        try:
            with hold_lease(output):
                held.append(1)
                done.wait(10)
        except UsageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(held) + len(refused) < 8:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert len(held) <= 1  # two that see each other both give way
    with hold_lease(output):
        pass
    assert not leases(output)


def wait_until_extended(output):
    (path,) = leases(output)
    first = json.loads(path.read_text())["expires"]
    end = time.monotonic() + 10
    while json.loads(path.read_text())["expires"] == first:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_held_lease_is_extended(output, monkeypatch):
    monkeypatch.setattr(lease, "REFRESH_SECONDS", 0.01)
    with hold_lease(output):
        wait_until_extended(output)


@pytest.mark.parametrize("error", [DataError("no answer"), OSError(errno.EMFILE, "Too many open files")])
def test_a_renewal_that_fails_is_tried_again(output, monkeypatch, error):
    write_text, errors = files.write_text, [error, error]

    def fail_twice(path, text):
        if errors:
            raise errors.pop()
        write_text(path, text)

    monkeypatch.setattr(lease, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(files, "write_text", fail_twice)
    with hold_lease(output):
        wait_until_extended(output)
    assert not errors


@pytest.mark.parametrize("how", ["another token", "a higher number"])
def test_a_process_that_lost_the_lease_stops(output, monkeypatch, how):
    monkeypatch.setattr(lease, "REFRESH_SECONDS", 0.01)

    def lose():
        if how == "another token":
            age(output, token="other")
        else:
            (path,) = leases(output)
            path.with_name("00000002.json").write_text(path.read_text())
        time.sleep(10)

    with pytest.raises(UsageError, match="another build took over the folder"), hold_lease(output):
        lose()
    assert leases(output), "the other one's lease stays"
