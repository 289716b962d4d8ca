"""The round trip through a real Label Studio: export, import there, answer by its API, export there, read.

Runs only where LABEL_STUDIO names the program; it takes a minute, most of which the server needs to start:

    uv venv /tmp/label-studio && uv pip install --python /tmp/label-studio label-studio==1.23.2
    LABEL_STUDIO=/tmp/label-studio/bin/label-studio python -m pytest tests/pipeline/aggregate/test_label_studio_server.py
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest

from pipeline.aggregate.exports import EXPORTS
from pipeline.aggregate.next_questions import next_questions
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.vote_validation import check_vote_rows
from schemas.verdict import VERDICT

PROGRAM = os.environ.get("LABEL_STUDIO")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="LABEL_STUDIO names no installed Label Studio")

OWNER = "owner@example.org"
PASSWORD = "Right-1234"
START_SECONDS = 180
HARD_NAME = "images/ü & #1+2 100%.png"  # every character here means something in an address
QUESTIONS = pd.DataFrame(
    {
        "image_id": ["a,1", 'q"ü'],
        "class_name": ["cat", "dog & wolf <small>"],
        "path": ["images/a.png", HARD_NAME],
        "url": [None, None],
    }
)
ANSWERS = {"a,1": ["yes", "no", "unsure"], 'q"ü': ["no", "no", None]}  # None: skipped


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, folder of local files) of a Label Studio with an empty database."""
    folder = tmp_path_factory.mktemp("label-studio")
    files = folder / "files"
    for path in QUESTIONS["path"]:
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_bytes(b"picture " + path.encode())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_USERNAME": OWNER,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
    }
    address = f"http://127.0.0.1:{port}"
    command = [str(PROGRAM), "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            end = time.monotonic() + START_SECONDS
            while not _is_up(address):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                assert time.monotonic() < end, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
            yield address, files
        finally:
            process.terminate()
            process.wait(30)


def _is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def enter(server: tuple[str, Path]) -> Iterator[Callable[[str], httpx.Client]]:
    """Log in as somebody, who is signed up first unless they own the server."""
    clients = []

    def enter(email: str) -> httpx.Client:
        client = httpx.Client(base_url=server[0], follow_redirects=True, timeout=60)
        clients.append(client)
        page = "/user/login/" if email == OWNER else "/user/signup/"
        client.get(page)
        client.headers["Referer"] = server[0] + page
        form = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        client.post(page, data=form)
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        assert client.get("/api/current-user/whoami").json()["email"] == email
        return client

    yield enter
    for client in clients:
        client.close()


def test_the_round_trip(
    server: tuple[str, Path], enter: Callable[[str], httpx.Client], tmp_path: Path
) -> None:
    written = EXPORTS["label-studio"](
        next_questions([(QUESTIONS, VERDICT.schema.empty_table().to_pandas())], 100, 3, 5),
        sorted(set(QUESTIONS["class_name"])),
    )
    owner = enter(OWNER)
    project = {"title": "round one", "label_config": written[".label-studio.xml"], "maximum_annotations": 3}
    made = owner.post("/api/projects/", json=project)
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    storage = {"project": number, "path": str(server[1] / "images"), "use_blob_urls": True}
    made = owner.post("/api/storages/localfiles/", json=storage)
    assert made.status_code == 201, made.text
    tasks = json.loads(written[".label-studio.json"])
    made = owner.post(f"/api/projects/{number}/import", json=tasks)
    assert made.json()["task_count"] == 2

    shown = owner.get("/api/tasks/", params={"project": number, "fields": "all"}).json()["tasks"]
    for task in shown:
        picture = owner.get(task["data"]["image"])
        path = QUESTIONS.set_index("image_id")["path"][task["data"]["image_id"]]
        assert picture.content == b"picture " + path.encode()

    workers = []
    for k in range(3):
        worker = enter(f"worker{k}@example.org")
        workers.append(str(worker.get("/api/current-user/whoami").json()["id"]))
        for task in shown:
            answer = ANSWERS[task["data"]["image_id"]][k]
            choice = {"from_name": "answer", "to_name": "image", "type": "choices"}
            result = [choice | {"value": {"choices": [answer]}}] if answer else []
            annotation = {"result": result, "was_cancelled": not answer, "lead_time": 2.5 + k}
            made = worker.post(f"/api/tasks/{task['id']}/annotations/", json=annotation)
            assert made.status_code == 201, made.text

    path = tmp_path / "export.json"
    path.write_bytes(owner.get(f"/api/projects/{number}/export", params={"exportType": "JSON"}).content)
    (records,) = read_votes(str(path))
    ((_, skipped),) = records.skipped
    assert skipped.endswith(f": skipped by worker {workers[2]}")
    votes, bad = check_vote_rows(records.rows)
    assert bad.num_rows == 0
    classes = dict(zip(QUESTIONS["image_id"], QUESTIONS["class_name"], strict=True))
    actual = sorted(tuple(row.values())[:5] for row in votes.to_pylist())
    assert actual == sorted(
        (image, classes[image], workers[k], answer, 2.5 + k)
        for image, answers in ANSWERS.items()
        for k, answer in enumerate(answers)
        if answer
    )
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=10) < at <= now for at in votes["time"].to_pylist())
