"""A local Flink cluster: a job manager, two task managers, and their pool of Python workers."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
JARS = Path(os.environ.get("FLINK_JARS", ROOT / ".venv-engines" / "flink"))
PACKAGES = ("java.util", "java.lang", "java.nio", "java.net", "java.util.concurrent", "java.time")
OPEN = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in PACKAGES]
# Sizes that Flink's start script would work out. A job of two tasks uses both task managers, and finds room on one.
# A lost task manager is noticed within seconds, not a minute.
CONFIGURATION = """
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.numberOfTaskSlots: 2
cluster.evenly-spread-out-slots: true
taskmanager.cpu.cores: 1
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 256m
taskmanager.memory.task.off-heap.size: 0
taskmanager.memory.managed.size: 256m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 128m
taskmanager.memory.jvm-overhead.max: 128m
heartbeat.interval: 1000
heartbeat.timeout: 10000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 1 s
"""


class Cluster:
    """Starts with two task managers; `flags` send a job of ours to it."""

    def __init__(self, folder: Path, ports: Sequence[int], environment: Mapping[str, str]) -> None:
        rpc, self._rest, pool = ports
        (folder / "flink-conf.yaml").write_text(CONFIGURATION.format(rpc=rpc, rest=self._rest))
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        # The pool starts `python`, by that name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        workers = {**os.environ, **environment, "PATH": path}
        self._start("pool", sys.executable, "-m", "tests.engines.worker_pool", str(pool), env=workers)
        self._java("manager", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        self.task_managers = [
            self._java(f"tasks{i}", "org.apache.flink.runtime.taskexecutor.TaskManagerRunner") for i in (1, 2)
        ]
        self.wait_for(task_managers=2)
        self.flags = [
            "--runner=FlinkRunner", f"--flink_master=localhost:{self._rest}", "--parallelism=2",
            f"--flink_job_server_jar={_job_server(folder)}",
            "--environment_type=EXTERNAL", f"--environment_config=localhost:{pool}",
        ]  # fmt: skip

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def overview(self) -> dict[str, int]:
        """What the job manager knows: task managers, slots, jobs."""
        with urllib.request.urlopen(f"http://localhost:{self._rest}/overview") as answer:
            return dict(json.load(answer))

    def wait_for(self, task_managers: int) -> None:
        """Wait until the job manager knows of so many: a lost one is only missed after a while."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with suppress(OSError):
                if self.overview()["taskmanagers"] == task_managers:
                    return
            time.sleep(0.2)
        self.close()
        raise RuntimeError(f"there are no {task_managers} task managers; see {self._folder}/*.log")

    def _java(self, name: str, main: str) -> subprocess.Popen[bytes]:
        return self._start(
            name, "java", "-Xmx384m", *OPEN, "-cp", f"{JARS}/*", main, "--configDir", str(self._folder)
        )

    def _start(self, name: str, *command: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        self._processes.append(process)
        return process


@contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    """A cluster at ports that are free, for as long as the context lasts; its logs are in `folder`.

    `environment` is for the workers.
    """
    sockets = [socket.create_server(("localhost", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    running = Cluster(folder, ports, environment)
    try:
        yield running
    finally:
        running.close()


def _job_server(folder: Path) -> Path:
    """A jar that holds nothing but what to start, and with which jars."""
    path = folder / "job-server.jar"
    lines = [
        "Manifest-Version: 1.0",
        "Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver",
        "Class-Path: " + " ".join(jar.as_uri() for jar in sorted(JARS.glob("*.jar"))),
    ]
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "".join(f"{_folded(line)}\r\n" for line in lines))
    return path


def _folded(line: str) -> str:
    """A manifest's lines have at most 72 bytes; the next one goes on after a blank."""
    return "\r\n ".join([line[:70], *(line[i : i + 69] for i in range(70, len(line), 69))])
