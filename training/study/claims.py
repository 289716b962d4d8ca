"""Who trains which run: any number of processes and machines share a study through its folder, without a server.

The n-th claim on a run is the file `claims/RUN/n.json`, created exclusively, so one process alone can make it; the
highest number holds. Its owner rewrites it every few seconds. Who has looked at a claim several times, and found it
the same, may make the next; a process of this machine that is gone is found out at once. No clock is compared with
that of another machine.

A claim works in a folder of its own, `claims/RUN/n/`, which becomes `runs/RUN` by one rename when the run has finished.
So a process that was paused and wakes up when its claim is no longer the highest can harm nobody: it sees that before
it renames, and a rename onto a finished run fails. The files stay, as the log of who did what.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from common.errors import DataError
from common.json_records import parse_stored
from training import checkpoint, metrics
from training.run_directory import CONFIG, is_usable, read_result
from training.state_files import write_json

HEARTBEAT = 10.0  # seconds between two rewrites of a claim, and at least between two looks at it
LOOKS = 6  # that find a claim unchanged before it counts as abandoned
TRAINING, STOPPED, FAILED, FINISHED, LOST = "training", "stopped", "failed", "finished", "lost"
_NUMBERED = re.compile(r"[0-9]+\.json")
Process = tuple[int, int | None]  # its id, and when it was started


def finished_folder(output: Path, name: str) -> Path:
    """Where a run is when it has finished."""
    return output / "runs" / name


def is_finished(output: Path, name: str) -> bool:
    """Tell whether a run has its result. One whose result is damaged has not: it is taken again, and makes it again."""
    return read_result(finished_folder(output, name)) is not None


def latest(output: Path, name: str) -> tuple[int, dict[str, Any]]:
    """Return number and content of the claim that holds; 0 if there is none, empty if it is being written."""
    folder = output / "claims" / name
    with contextlib.suppress(FileNotFoundError):
        numbers = [int(file[:-5]) for file in os.listdir(folder) if _NUMBERED.fullmatch(file)]
        if numbers:
            return max(numbers), _read(_file(folder, max(numbers)))
    return 0, {}


def failures(output: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the claims that ended in a failure, by run; given to `Claims`, these are tried again."""
    found = {name: latest(output, name) for name in names if not is_finished(output, name)}
    return {name: number for name, (number, claim) in found.items() if claim.get("state") == FAILED}


def read_failure(output: Path, name: str) -> str | None:
    """Return why the last to claim a run failed, or None if that did not happen."""
    _, claim = latest(output, name)
    error: str | None = claim.get("error") if claim.get("state") == FAILED else None
    return error


@dataclass(frozen=True, kw_only=True)
class ClaimFile:
    """What the file of a claim holds."""

    state: Literal["training", "stopped", "failed", "finished", "lost"]
    beats: int
    since: str
    host: str
    machine: str
    owner: tuple[int | None, ...]
    study: tuple[int | None, ...]
    error: str | None = None
    traceback: str | None = None

    def __post_init__(self) -> None:
        if len(self.owner) != 2 or len(self.study) != 2:
            raise ValueError("owner and study are a process id and a time each")


class Claim:
    """This process's right to train one run, while no higher number exists."""

    def __init__(self, output: Path, name: str, number: int, study: Process | None) -> None:
        self.output, self.name, self.number = output, name, number
        self.folder = output / "claims" / name
        self.work = self.folder / f"{number:06d}"
        self.lost = False
        self.content: dict[str, Any] = {"state": TRAINING, "beats": 0}
        self.content["since"] = datetime.now(UTC).isoformat(timespec="seconds")  # for people
        self.content |= {"host": socket.gethostname(), "machine": _machine()}
        self.content |= {"owner": process(os.getpid()), "study": study or process(os.getpid())}

    @classmethod
    def make(cls, output: Path, name: str, number: int, study: Process | None = None) -> Self | None:
        """Claim a run under a number; None if somebody else has just done so."""
        claim = cls(output, name, number, study)
        claim.folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(_file(claim.folder, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            json.dump(claim.content, stream)
        return claim

    def inherit(self) -> None:
        """Make the folder to work in, with the most advanced checkpoint of those who had the run before.

        Its rows of metrics are there before it is, so that being killed in between loses nothing.
        """
        stray = finished_folder(self.output, self.name)  # begun there by `train`, without claims
        if stray.is_dir():
            os.rename(stray, self.work)
            return
        self.work.mkdir()
        while found := max(
            self.folder.glob(f"*/{checkpoint.FILE_PATTERN}"), key=lambda p: p.name, default=None
        ):
            with contextlib.suppress(FileNotFoundError):  # its owner is alive after all, and has a newer one
                if not is_usable(found):
                    continue
                for name in (CONFIG, metrics.METRICS_FILE):
                    if (found.parent / name).exists():
                        shutil.copyfile(found.parent / name, self.work / name)
                os.rename(found, self.work / found.name)
                return

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Inside the block, rewrite the claim again and again; `lost` tells when it is another's."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT):
                self.lost = self.lost or self._is_lost()
                with contextlib.suppress(OSError):  # a file system that is away may come back
                    self._write(beats=int(self.content["beats"]) + 1)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def end(self, state: str, **more: str) -> None:
        """Write how it ended."""
        self._write(state=state, **more)

    def publish(self) -> bool:
        """Make the folder the run's; tell whether it was still this claim's to do so."""
        target = finished_folder(self.output, self.name)
        try:
            if not self._is_lost():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(self.work, target)
                self.end(FINISHED)
                for left in self.folder.glob("*/"):
                    shutil.rmtree(left, ignore_errors=True)
                return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        self.end(LOST)
        return False

    def _is_lost(self) -> bool:
        return latest(self.output, self.name)[0] > self.number or is_finished(self.output, self.name)

    def _write(self, **changes: Any) -> None:
        self.content = {**self.content, **changes}
        write_json(_file(self.folder, self.number), self.content)


class Claims:
    """What one process knows of all claims: what it may take, and what there is nothing left to do about."""

    def __init__(self, output: Path, retried: Mapping[str, int], study: Process | None = None) -> None:
        """`retried`: the failures there were when the study was started; `study`: the process that looks after this."""
        self.output, self.retried, self.study = output, retried, study
        self._looks: dict[str, tuple[object, int, float]] = {}  # the claim, how often seen so, when last

    def settled(self, name: str) -> bool:
        """Tell whether a run has finished, or has failed since the study was started."""
        if is_finished(self.output, name):
            return True
        number, claim = latest(self.output, name)
        return claim.get("state") == FAILED and number > self.retried.get(name, 0)

    def take(self, name: str) -> Claim | None:
        """Claim a run that nobody holds; None if somebody does, or has just finished it."""
        number, claim = latest(self.output, name)
        held = number and claim.get("state", TRAINING) == TRAINING
        if held and not (is_gone(claim) or self._is_abandoned(name, number, claim)):
            return None
        made = Claim.make(self.output, name, number + 1, self.study)
        if made and self.settled(name):  # since we looked first
            made.end(LOST)
            return None
        return made

    def _is_abandoned(self, name: str, number: int, claim: dict[str, Any]) -> bool:
        seen, now = (number, claim.get("beats")), time.monotonic()
        before, looks, last = self._looks.get(name, (None, 0, -HEARTBEAT))
        if seen != before:
            self._looks[name] = (seen, 0, now)
        elif now - last >= HEARTBEAT:
            self._looks[name] = (seen, looks + 1, now)
        return self._looks[name][1] >= LOOKS


def fail_claims_of(pid: int, output: Path, names: Iterable[str], why: str) -> None:
    """Record a failure for what a process of this machine, now dead, was training."""
    for name in names:
        number, claim = latest(output, name)
        if (
            claim.get("state") == TRAINING
            and (claim["owner"][0], claim["machine"]) == (pid, _machine())
            and not is_finished(output, name)
        ):
            write_json(_file(output / "claims" / name, number), {**claim, "state": FAILED, "error": why})


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _read(path: Path) -> dict[str, Any]:
    """Return a claim; empty if it is being written, or damaged: then it counts as abandoned after a while."""
    try:
        return asdict(parse_stored(ClaimFile, path.read_bytes(), str(path), "it is taken again"))
    except (FileNotFoundError, DataError):
        return {}


def _machine() -> str:
    """Name this boot of this machine, and the container's own numbering of processes; empty where unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def process(pid: int) -> Process:
    """Name a process by its id and when it was started, in ticks since the boot; None if it is dead."""
    with contextlib.suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return pid, None if state in "ZX" else int(rest[18])
    return pid, None


def is_gone(claim: Mapping[str, Any]) -> bool:
    """Tell whether its owner was a process of this machine that is no more, and neither is who looks after it."""
    if not claim.get("machine") or claim["machine"] != _machine():
        return False
    return all(process(claim[who][0]) != tuple(claim[who]) for who in ("owner", "study"))
