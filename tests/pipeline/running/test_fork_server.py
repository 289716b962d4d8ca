import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.running import fork_server

# A worker with this environment waits for a runner that is not there.
WAITING = {**os.environ, "WORKER_ID": "w", "PIPELINE_OPTIONS": "{}",
           "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "localhost:1"'}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with fork_server.standing_by() as running:
        yield running


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_hangs_is_killed_and_the_others_go_on(server):
    first, second = server.start("first", WAITING), server.start("second", WAITING)
    server.kill("first")
    assert first.result(30) == -signal.SIGKILL
    assert not second.done()
    server.kill("second")
    assert second.result(30) == -signal.SIGKILL


def test_a_worker_that_cannot_begin_ends_with_an_exit_code(server):
    assert server.start("nowhere", dict(os.environ)).result(30) == 1


def test_who_needs_one_inside_finds_the_one_that_stands_by(server):
    with fork_server.standing_by() as inner:
        assert inner is server
    assert server._server.is_alive()


def test_a_process_with_threads_is_not_forked(server):
    assert not fork_server.can_fork(), "the thread that reads what the server tells"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes as Linux tells them")
def test_a_killed_server_takes_its_workers_along_and_nobody_waits_for_ever():
    own = fork_server.ForkServer()
    end = own.start("waiting", WAITING)
    while not children(own._server.pid):
        time.sleep(0.01)
    own._server.kill()
    assert end.result(30) == -signal.SIGKILL
    assert own.start("late", WAITING).result(30) == -signal.SIGKILL
    own.close()
