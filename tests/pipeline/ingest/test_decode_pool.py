"""The decode pool: a crash, a hang or a kill affects one image; nothing is decoded twice; no process is left."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from pipeline.ingest import decode_pool
from pipeline.ingest.decode_pool import DecodePool, acquire, release
from pipeline.ingest.process_image import ImageRejection, ImageRequest, ImageResult, ProcessedImage
from pipeline.ingest_config import IngestConfig
from tests.hostile.images import LARGE_INSIDE

COUNT = 40
# Python runs this at the start of every process that has it on its path. The width of an image decides what it does to
# its decoder; each opening of an image is recorded.
FAULT = """
import os, resource, signal, time
from PIL import Image

real = Image.open
FOLDER = os.path.dirname(__file__)

def open_and_obey(*args, **kwargs):
    image = real(*args, **kwargs)
    with open(os.path.join(FOLDER, "opened"), "a") as file:
        file.write(f"{image.size[1]}\\n")
    if image.size[0] == 57:
        os.kill(os.getpid(), signal.SIGSEGV)
    if image.size[0] == 58:
        os._exit(3)
    if image.size[0] == 59:
        time.sleep(600)
    if image.size[0] == 60 and not os.path.exists(os.path.join(FOLDER, "killed")):
        open(os.path.join(FOLDER, "killed"), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if image.size[0] == 61:
        os.kill(os.getpid(), signal.SIGKILL)
    if image.size[0] == 62:
        time.sleep(0.5)
    if image.size[0] == 63:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    return image

Image.open = open_and_obey
"""
CRASH, EXIT, HANG, KILLED_ONCE, KILLED, SLOW, NO_FILES = range(57, 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def draw(folder: Path, widths: dict[int, int]) -> list[tuple[int, ImageRequest]]:
    """Write COUNT images, each of another height; `widths` are those of faulty images, by number."""
    requests = []
    for number in range(COUNT):
        Image.new("RGB", (widths.get(number, 40), 100 + number)).save(folder / f"{number}.png")
        requests.append((number, ImageRequest(f"{number}.png")))
    return requests


def opened(folder: Path) -> Counter[int]:
    """Return how often each image was opened, by number."""
    return Counter(int(line) - 100 for line in (folder / "opened").read_text().split())


def make(folder: Path, requests: list[tuple[int, ImageRequest]], processes: int = 2, **values: float) -> dict:
    config = IngestConfig(size=16, format="png", **values)  # type: ignore[arg-type]
    with closing(DecodePool(str(folder), config, processes)) as pool:
        return dict(pool.process_all(requests))


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize(
    ("width", "code", "detail"),
    [
        (CRASH, "decoder_crashed", "the process that decoded it ended by SIGSEGV"),
        (EXIT, "decoder_crashed", "the process that decoded it ended by exit code 3"),
        (HANG, "decoder_timeout", "not decoded after 4 s"),
    ],
)
def test_a_faulty_image_is_rejected_and_no_other_is_decoded_twice(
    folder: Path, width: int, code: str, detail: str, processes: int
) -> None:
    faulty = [0, 7, 8, COUNT - 1] if width != HANG else [7]
    result = make(folder, draw(folder, dict.fromkeys(faulty, width)), processes, decode_seconds=4)
    assert result.keys() == set(range(COUNT))
    refused = {number: answer for number, answer in result.items() if isinstance(answer, ImageRejection)}
    assert refused == dict.fromkeys(faulty, ImageRejection(code, detail))
    assert opened(folder) == dict.fromkeys(range(COUNT), 1)


def test_the_image_of_a_killed_process_is_tried_again(folder: Path) -> None:
    result = make(folder, draw(folder, {9: KILLED_ONCE}))
    assert all(isinstance(answer, ProcessedImage) for answer in result.values())
    assert opened(folder)[9] == 2


def test_an_image_whose_process_is_killed_twice_is_rejected(folder: Path) -> None:
    result = make(folder, draw(folder, {9: KILLED}))
    assert result[9] == ImageRejection(
        "decoder_crashed", "the process that decoded it ended by SIGKILL, 2 times"
    )
    assert opened(folder) == dict.fromkeys(range(COUNT), 1) | {9: 2}


def test_a_machine_without_open_files_is_an_error_not_a_rejection(folder: Path) -> None:
    with pytest.raises(OSError, match="Too many open files") as caught:
        make(folder, draw(folder, {5: NO_FILES}))
    assert caught.value.errno == errno.EMFILE


def test_large_requests_and_large_results_do_not_wait_for_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_pool, "PIPE_BYTES", 4096)
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8).astype(np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    paths = ["a.png", "a.png", *["a" * 200_000] * 3, "a.png"]
    config = IngestConfig(resize="none", format="png")
    with closing(DecodePool(str(folder), config, 1)) as pool:
        # A pool that waits forever holds up this thread, not the tests: close() ends its process.
        result: dict[int, ImageResult] = {}
        requests = [(number, ImageRequest(path)) for number, path in enumerate(paths)]
        thread = threading.Thread(target=lambda: result.update(pool.process_all(requests)), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    assert [type(result[number]) for number in range(6)] == [
        *[ProcessedImage] * 2, *[ImageRejection] * 3, ProcessedImage,
    ]  # fmt: skip


def test_an_image_larger_than_its_header_is_rejected_by_the_memory_limit(folder: Path) -> None:
    requests = draw(folder, {})
    (folder / "7.png").write_bytes(LARGE_INSIDE)
    config = IngestConfig(size=16, format="png", max_pixels=300_000_000)  # more than its frame has
    with closing(DecodePool(str(folder), config, 1)) as pool:
        pool.start()
        (decoder,) = pool._decoders
        result = dict(pool.process_all(requests))
        assert pool._decoders == [decoder]  # one process decoded all of them
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{decoder.pid}/status").read_text())
    assert isinstance(result.pop(7), ImageRejection)
    assert len(result) == COUNT - 1
    assert all(isinstance(answer, ProcessedImage) for answer in result.values())
    assert int(peak) < 300_000


def test_the_memory_limit_grows_with_the_image_size() -> None:
    program = """
from pipeline.ingest.memory_limit import BASE_BYTES, BYTES_PER_PIXEL, limit_memory

def fits(count):
    try:
        return len(bytearray(count)) == count
    except MemoryError:
        return False

for pixels in (0, 10_000_000, 0):
    limit_memory(pixels, 0)
    allowed = BASE_BYTES + BYTES_PER_PIXEL * pixels
    assert fits(allowed * 9 // 10), pixels
    assert not fits(allowed * 11 // 10), pixels
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_hanging_image_times_out_while_other_processes_work(folder: Path) -> None:
    requests = draw(folder, {1: HANG})

    def endless() -> Iterator[tuple[int, ImageRequest]]:
        yield from requests
        number = COUNT
        while not stopped.is_set():
            yield number, ImageRequest("0.png")
            number += 1

    stopped, start = threading.Event(), time.monotonic()
    config = IngestConfig(size=16, format="png", decode_seconds=0.5)
    with closing(DecodePool(str(folder), config, 2)) as pool:
        for number, answer in pool.process_all(endless()):
            if number == 1:
                assert answer == ImageRejection("decoder_timeout", "not decoded after 0.5 s")
                stopped.set()
            assert time.monotonic() - start < 60
    assert stopped.is_set()


def test_threads_share_a_pool(folder: Path) -> None:
    requests, result = draw(folder, {5: CRASH}), list[dict]()
    config = IngestConfig(size=16, format="png")

    def work() -> None:
        pool = acquire(str(folder), config, 2)
        result.append(dict(pool.process_all(requests)))
        release(pool)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(result) == 4
    assert all(answers == result[0] and len(answers) == COUNT for answers in result)
    assert not decode_pool._shared


def test_the_pool_works_after_a_caller_stops_early(folder: Path) -> None:
    requests = draw(folder, {})
    with closing(DecodePool(str(folder), IngestConfig(size=16, format="png"), 2)) as pool:
        with closing(pool.process_all(requests)) as answers:  # type: ignore[type-var]
            next(answers)
        assert len(dict(pool.process_all(requests))) == COUNT


def test_a_process_that_cannot_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match=r"a decoding process did not start \(exit code 7\)"):
        make(tmp_path, [(0, ImageRequest("0.png"))])


def test_decoders_import_no_beam_and_end_with_their_parent(folder: Path) -> None:
    draw(folder, {0: HANG})
    program = (
        "from pipeline.ingest_config import IngestConfig\n"
        "from pipeline.ingest.decode_pool import DecodePool\n"
        "from pipeline.ingest.process_image import ImageRequest\n"
        f"pool = DecodePool({str(folder)!r}, IngestConfig(size=16, decode_seconds=1), 2)\n"
        "for number, _ in pool.process_all((i, ImageRequest(f'{i}.png')) for i in range(40)):\n"
        "    print(*(decoder.pid for decoder in pool._decoders), flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:  # fmt: skip
        assert parent.stdout
        decoders = [int(text) for text in parent.stdout.readline().split()]
        loaded = [
            Path(f"/proc/{pid}/maps").read_text() for pid in decoders if Path("/proc/self/maps").exists()
        ]
        assert not any("apache_beam" in text for text in loaded)
        parent.kill()
    wait_for(lambda: not any(map(is_running, decoders)), seconds=20)


def is_running(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_process_that_ends_behind_its_last_result_is_replaced(folder: Path) -> None:
    requests = draw(folder, {})[:3]
    with closing(DecodePool(str(folder), IngestConfig(size=16, format="png"), 1)) as pool:
        pool.start()
        (decoder,) = pool._decoders
        decoder.send(list(requests))
        decoder._requests.close()  # it ends with its input
        decoder._process.wait()
        result = dict(pool._results_of(decoder, deque()))
        assert list(result) == [0, 1, 2]
        assert all(isinstance(answer, ProcessedImage) for answer in result.values())
        assert pool._decoders != [decoder]
        assert len(dict(pool.process_all(requests))) == 3


@pytest.mark.parametrize("seconds", [2.0, 3.3], ids=["one deadline", "two deadlines"])
def test_a_job_that_is_stopped_and_continued_rejects_no_image(folder: Path, seconds: float) -> None:
    draw(folder, {0: SLOW})
    program = (
        "from pipeline.ingest_config import IngestConfig\n"
        "from pipeline.ingest import decode_pool\n"
        "from pipeline.ingest.process_image import ImageRequest\n"
        "decode_pool.STOPPED_SECONDS = 0.2\n"
        f"pool = decode_pool.DecodePool({str(folder)!r}, IngestConfig(size=16, decode_seconds=1.5), 1)\n"
        "pool.start()\n"
        "print(pool._decoders[0].pid, flush=True)\n"
        "print(dict(pool.process_all([(0, ImageRequest('0.png'))])), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:  # fmt: skip
        assert parent.stdout
        processes = [int(parent.stdout.readline()), parent.pid]
        wait_for((folder / "opened").exists, seconds=60)
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        assert "ProcessedImage" in parent.stdout.read()


def test_ctrl_c_reaches_only_the_parent(folder: Path) -> None:
    with closing(DecodePool(str(folder), IngestConfig(size=16, format="png"), 1)) as pool:
        requests = draw(folder, {})
        answers = pool.process_all(requests)
        next(answers)
        os.kill(pool._decoders[0].pid, signal.SIGINT)
        assert len(list(answers)) == COUNT - 1


def test_ctrl_c_received_by_another_thread_is_delayed_until_a_process_has_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.Popen

    def start(*args: object, **kwargs: object) -> subprocess.Popen:
        thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # inherited by the thread
        thread.start()
        thread.join()
        process = real(*args, **kwargs)  # type: ignore[call-overload]
        started.append(process)
        return process

    started: list[subprocess.Popen] = []
    monkeypatch.setattr(subprocess, "Popen", start)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with closing(DecodePool(str(folder), IngestConfig(size=16), 1)) as pool:
            with pytest.raises(KeyboardInterrupt):
                pool.start()
            assert [decoder.pid for decoder in pool._decoders] == [process.pid for process in started]
        assert len(started) == 1
        assert started[0].returncode is not None
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="threads are counted in /proc")
def test_a_decoding_process_has_no_threads_of_blas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in decode_pool.ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    Image.new("RGB", (400, 300)).save(folder / "a.jpg")
    config = IngestConfig(size=224)
    with closing(DecodePool(str(folder), config, 1)) as pool:
        ((_, result),) = pool.process_all([(0, ImageRequest("a.jpg"))])
        assert isinstance(result, ProcessedImage)
        status = Path(f"/proc/{pool._decoders[0].pid}/status").read_text()
    (threads,) = re.findall(r"Threads:\s+(\d+)", status)
    assert int(threads) <= 2  # its own and that of pyarrow, which waits
