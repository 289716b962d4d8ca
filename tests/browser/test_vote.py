"""The voting page, in one browser and in two, with a server that is killed in the middle."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipeline.vote.journal import HEADER, vote_line
from tests.browser.conftest import Open, Watched
from tests.pipeline.small_world import CLASSES, WEB

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
NAMES = [*CLASSES, *(f"beetle_{i:03d}" for i in range(120)), "zebra crossing", HOSTILE]


class Server:
    """The command, as a user starts it; `kill` ends it as a power failure would."""

    def __init__(self, build: Path, votes: Path, *flags: str) -> None:
        self.command = [sys.executable, "-m", "pipeline", "vote", str(build), "--votes", str(votes), *flags]
        self.votes, self.port = votes, "0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.command, "--port", self.port], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.port = re.search(r":(\d+)/", self.url)[1]  # type: ignore[index]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> str:
        """Stop it as Ctrl-C does; return what it printed."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout
        said = self.process.stdout.read()
        assert self.process.wait(20) == 0
        return said

    def rows(self) -> list[dict[str, str]]:
        with self.votes.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def unvoted(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world after ingest, with many more classes, whose names may be hostile."""
    output = tmp_path_factory.mktemp("unvoted") / "out"
    shutil.copytree(built / "ingest", output / "ingest")
    manifest = output / "ingest" / "retrievals" / "_manifest.json"
    content = json.loads(manifest.read_text())
    assert content["about"]["config"]["classes"] == list(CLASSES)
    content["about"]["config"]["classes"] = NAMES
    manifest.write_text(json.dumps(content))
    return output


@pytest.fixture
def serve(unvoted: Path, tmp_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(Server(unvoted, tmp_path / "votes.csv", *flags))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def all_but(path: Path, left: int) -> None:
    """Write votes of another worker on all questions of the small world but the last few of the ants."""
    questions = [(name, i) for name in CLASSES for i in range(WEB)]
    lines = [
        vote_line({"image_id": f"web-{name}-{i}", "class_name": name, "worker_id": "w0", "answer": "yes"})
        for name, i in questions
        if name != "ant" or i < WEB - left
    ]
    path.write_bytes(HEADER + b"".join(lines))


def join(page: Page, name: str) -> None:
    page.get_by_label("Name or pseudonym").fill(name)
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Page) -> None:
    """Wait until the image is there and an answer counts."""
    page.locator("#picture:not(.loading)").wait_for()
    page.wait_for_timeout(200)


def press(page: Page, key: str) -> None:
    """Press a key, and wait until the page says that the answer is saved."""
    said = page.locator("#said")
    before = page.locator("#counts").inner_text()
    page.keyboard.press(key)
    expect(page.locator("#counts")).not_to_have_text(before)
    expect(said).to_contain_text("Saved")
    if page.locator("#ask").is_visible():
        ready(page)


def own(page: Page) -> int:
    return int(page.locator("#counts").inner_text().split()[0])


def test_axe_finds_nothing_serious_and_nothing_is_cut(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text(
        f'class_name,description\n{",".join(CLASSES[:1])},"Six legs. {HOSTILE.replace(chr(34), chr(34) * 2)}"\n'
    )
    url = serve("--descriptions", str(texts)).url
    for width, scheme in ((1280, "light"), (390, "dark"), (390, "light")):
        watched = open_page(url, scheme, width)
        page = watched.page
        assert watched.findings() == []
        join(page, f"reader-{width}-{scheme}")
        assert watched.findings() == []
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide == width
        for button in page.locator("button.answer").all():
            box = button.bounding_box()
            assert box
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= 900, "all answers are on the first screen"
        page.get_by_role("button", name="No, another class").click()
        assert watched.findings() == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Progress").click()
        expect(page.locator("#classes tr")).to_have_count(len(NAMES))
        assert watched.findings() == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert watched.said == []
        assert watched.outside(url) == []


def test_the_keyboard_alone_is_enough(open_page: Open, serve: Serve) -> None:
    server = serve()
    page = open_page(server.url).page
    keys = page.keyboard
    keys.type("quiet river")  # the field has the focus
    keys.press("Enter")
    ready(page)
    asked = []
    for key in "ynu":
        asked.append(page.locator("#class").inner_text())
        press(page, key)
    keys.press("c")
    expect(page.get_by_role("combobox")).to_be_focused()
    options = page.get_by_role("option")
    expect(options).to_have_count(len(NAMES) - 1)  # all but the class that is asked about
    keys.type("beet 11")
    expect(options).to_have_count(11)  # 011 and 110 to 119
    keys.press("Backspace")
    keys.press("Backspace")
    keys.press("Backspace")
    keys.type("le 07")
    expect(options).to_have_count(12)  # 007, 070 to 079 and 107
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    expect(page.locator("[aria-selected=true]")).to_have_text("beetle_070")
    asked.append(page.locator("#class").inner_text())
    keys.press("Enter")
    expect(page.locator("#said")).to_have_text(re.compile("Saved: no, beetle_070"))
    rows = server.rows()
    assert [row["class_name"] for row in rows] == asked
    assert [(row["worker_id"], row["answer"], row["seen_class"]) for row in rows] == [
        ("quiet river", "yes", ""), ("quiet river", "no", ""), ("quiet river", "unsure", ""), ("quiet river", "no", "beetle_070"),
    ]  # fmt: skip
    assert all(0.15 <= float(row["seconds"]) < 30 for row in rows)
    ready(page)
    keys.press("z")
    expect(page.locator("#said")).to_have_text("Undone: no, beetle_070")
    keys.press("Backspace")
    expect(page.locator("#said")).to_have_text("Undone: unsure")
    assert server.rows() == rows[:2]
    ready(page)
    before = page.locator("#picture").get_attribute("src")
    keys.press("s")
    expect(page.locator("#said")).to_have_text("Skipped")
    assert page.locator("#picture").get_attribute("src") != before
    page.get_by_role("button", name="Progress").focus()
    keys.press("Enter")
    page.get_by_label("Keys answer without a click").focus()
    keys.press("Space")
    keys.press("Escape")
    keys.press("y")
    page.wait_for_timeout(300)
    assert server.rows() == rows[:2], "keys do nothing after they are turned off"


def test_two_browsers_share_the_last_questions(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    all_but(tmp_path / "votes.csv", 9)
    server = serve("--workers-per-question", "1")
    before = len(server.rows())
    pages = [open_page(server.url).page, open_page(server.url, width=390).page]
    for page, name in zip(pages, ("anna", "ben"), strict=True):
        join(page, name)
    shown = [page.locator("#picture").get_attribute("src") for page in pages]
    assert shown[0] != shown[1], "a question that wants one vote is reserved"
    while any(page.locator("#ask").is_visible() for page in pages):
        for page in pages:
            if page.locator("#ask").is_visible():
                press(page, "n")
    rows = server.rows()[before:]
    assert len(rows) == len({row["image_id"] for row in rows}) == 9
    assert {row["worker_id"] for row in rows} == {"anna", "ben"}
    for page in pages:
        expect(page.get_by_role("heading", level=2)).to_have_text(re.compile("No more questions|Others have"))
    press_undo = pages[1].get_by_role("button", name="Undo the last answer")
    press_undo.click()
    ready(pages[1])
    assert len(server.rows()) == before + 8
    press(pages[1], "y")
    assert len(server.rows()) == before + 9
    said = server.stop()
    assert re.search(r"anna: \d votes?\n", said)


def test_a_kill_in_the_middle_loses_nothing(open_page: Open, serve: Serve) -> None:
    server = serve()
    watched = open_page(server.url)
    page = watched.page
    join(page, "anna")
    for key in "yny":
        press(page, key)
    stored = server.rows()
    assert len(stored) == own(page) == 3
    current = page.locator("#picture").get_attribute("src")
    server.kill()
    with server.votes.open("ab") as file:
        file.write(b"web-cow-3,cow,ann")  # the kill came in the middle of a line
    page.keyboard.press("u")
    alarm = page.get_by_role("alert").filter(has_text="Not saved")
    expect(alarm).to_contain_text("Trying again")
    page.keyboard.press("y")  # nothing happens before the answer is saved
    assert page.locator("#picture").get_attribute("src") == current
    server.start()
    expect(alarm).to_have_count(0, timeout=20_000)
    expect(page.locator("#counts")).to_have_text(re.compile("^4 yours"))
    rows = server.rows()
    assert rows[:3] == stored
    assert [row["answer"] for row in rows[3:]] == ["unsure"]
    page.reload()
    join(page, "ANNA")
    assert (own(page), page.locator("#who").inner_text()) == (4, "anna")
    assert "removed an unfinished line of 17 bytes" in server.stop()
    assert [text for text in watched.said if "ERR_CONNECTION_REFUSED" not in text] == []


def test_an_answer_that_is_not_stored_yet_stays_with_its_worker(open_page: Open, serve: Serve) -> None:
    server = serve()
    page = open_page(server.url).page
    join(page, "anna")
    server.kill()
    page.keyboard.press("y")
    expect(page.locator("#alarm")).to_be_visible()
    page.get_by_role("button", name="Progress").click()
    page.get_by_role("button", name="Use another name").click()
    expect(page.locator("#join")).to_be_hidden()  # not before the answer is stored
    server.start()
    expect(page.locator("#alarm")).to_be_hidden(timeout=20_000)
    expect(page.locator("#counts")).to_have_text(re.compile("^1 yours"))
    page.get_by_role("button", name="Progress").click()
    page.get_by_role("button", name="Use another name").click()
    join(page, "bob")
    press(page, "n")
    assert [(row["worker_id"], row["answer"]) for row in server.rows()] == [("anna", "yes"), ("bob", "no")]


def test_waiting_moves_no_focus_and_ends_with_the_name(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    all_but(tmp_path / "votes.csv", 1)
    server = serve("--workers-per-question", "1")
    first = open_page(server.url).page
    join(first, "anna")
    page = open_page(server.url).page
    page.clock.install()
    page.get_by_label("Name or pseudonym").fill("ben")
    page.keyboard.press("Enter")
    expect(page.locator("#rest-title")).to_have_text("Others have the last questions")
    expect(page.locator("#rest-title")).to_be_focused()
    page.get_by_role("button", name="Progress").focus()
    with page.expect_response("**/api/start"):
        page.clock.run_for(11_000)
    expect(page.get_by_role("button", name="Progress")).to_be_focused()
    page.get_by_role("button", name="Progress").click()
    page.get_by_role("button", name="Use another name").click()
    expect(page.locator("#join")).to_be_visible()
    page.clock.run_for(30_000)
    expect(page.locator("#join")).to_be_visible()  # the page looks no longer for questions of ben


def test_every_vote_that_was_acknowledged_survives_repeated_kills(open_page: Open, serve: Serve) -> None:
    server = serve()
    page = open_page(server.url).page
    join(page, "anna")
    for _ in range(2):
        press(page, "y")
        press(page, "n")
        page.keyboard.press("u")  # the kill may come before, while or after it is stored
        server.kill()
        server.start()
        expect(page.locator("#alarm")).to_be_hidden(timeout=20_000)
        expect(page.locator(".answer.chosen")).to_have_count(0)
        ready(page)
    rows = server.rows()
    assert [row["answer"] for row in rows] == ["yes", "no", "unsure"] * 2
    assert len({row["image_id"] for row in rows}) == 6


def test_an_image_that_cannot_be_loaded_is_loaded_later(open_page: Open, serve: Serve) -> None:
    page = open_page(serve().url).page
    page.route("**/image/*", lambda route: route.abort())
    page.get_by_label("Name or pseudonym").fill("anna")
    page.keyboard.press("Enter")
    expect(page.get_by_text("could not be loaded")).to_be_visible()
    page.keyboard.press("y")  # nobody can answer about an image that is not there
    page.unroute("**/image/*")
    ready(page)
    expect(page.get_by_text("could not be loaded")).to_be_hidden()
    assert own(page) == 0
    press(page, "y")
    assert own(page) == 1


def test_images_of_the_next_questions_are_loaded_in_advance(open_page: Open, serve: Serve) -> None:
    watched = open_page(serve().url)
    page = watched.page
    join(page, "anna")
    for _ in range(3):
        asked = [url for url in watched.asked if "/image/" in url]
        press(page, "n")
        assert any(url.endswith(page.locator("#picture").get_attribute("src") or "none") for url in asked)
    images = [url for url in watched.asked if "/image/" in url]
    assert len(images) == len(set(images)), "no image is requested twice"


def test_names_and_texts_of_strangers_are_text(open_page: Open, serve: Serve) -> None:
    server = serve()
    watched: Watched = open_page(server.url)
    page = watched.page
    join(page, HOSTILE)
    press(page, "y")
    expect(page.locator("#who")).to_have_text(HOSTILE)
    page.keyboard.press("c")
    page.keyboard.type("onerror")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Saved: no, <img")
    page.get_by_role("button", name="Progress").click()
    expect(page.locator("#classes th", has_text="onerror")).to_have_count(1)
    assert watched.said == []
    assert page.locator("img[src=x]").count() == 0
    assert [row["worker_id"] for row in server.rows()] == [HOSTILE] * 2


def test_a_wrong_name_is_explained(open_page: Open, serve: Serve) -> None:
    page = open_page(serve().url).page
    page.get_by_label("Name or pseudonym").fill("nan")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#name-fault")).to_have_text("Type a name, such as a word that only you use here.")


def test_the_link_with_the_token_opens_the_page_for_other_machines(open_page: Open, serve: Serve) -> None:
    server = serve("--host", "127.0.0.1")
    assert "token=" in server.url
    base = server.url.partition("?")[0]
    watched = open_page(server.url)
    assert watched.page.url == base, "the token is not in the address bar"
    join(watched.page, "anna")
    press(watched.page, "y")
    assert watched.said == []
    refused = open_page(base)
    assert "complete link" in refused.page.inner_text("body")
    assert server.url.partition("token=")[2] not in server.stop()
