"""The way of a new user, from photographs to a publication, with every command and its seconds.

    python -m benchmarks.walk DIR --weights DIR --output walk [--candidates 900] [--pixels 224]

DIR has `train/CLASS` and `test/CLASS` (clothing-dataset-small). Six classes are taken: half of their training images and all
test images are the user's photos; the rest, and photos of other classes, become candidates, half of them wrong, with eleven
odd files. Three workers answer on the page of `vote` in Chromium, keys pressed by a program from the truth: 8 % wrong and 3 %
unsure. --weights: folder with tf_efficientnet_lite0.safetensors. Prints the table of docs/results/walk.md.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image, ImageOps
from playwright.sync_api import Page, sync_playwright

from page.markdown import markdown_table
from pipeline.vote.build_images import image_keys
from training import open_set

CLASSES = ("dress", "longsleeve", "outwear", "pants", "shirt", "shoes")
WORKERS = ("ana", "ben", "chi")
WRONG, UNSURE = 0.08, 0.03
OPEN_SHARE = 0.8  # of the wrong candidates: photos of classes that are not listed
GRID = ["--levels", "0", "0.2", "0.4", "--methods", "vanilla", "mentormix", "--seeds", "0", "1", "2"]


@dataclass
class Walk:
    """Runs commands and keeps their seconds. truth: class that each candidate shows, by image id."""

    output: Path
    weights: Path
    pixels: int
    truth: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def run(self, *words: str) -> str:
        """Run `python -m WORDS`, or a program beside this Python, in the output folder; return what it printed."""
        program = Path(sys.executable).with_name(words[0])
        command = [str(program)] if program.exists() else [sys.executable, "-m", words[0]]
        print(f"$ {' '.join(words)}", flush=True)
        start = time.monotonic()
        done = subprocess.run(
            [*command, *words[1:]], cwd=self.output, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        self.record(f"`{' '.join(words)}`", time.monotonic() - start)
        print(done.stdout, flush=True)
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode}")
        return done.stdout

    def record(self, command: str, seconds: float) -> None:
        """Keep the seconds of a command."""
        self.rows.append((command.replace(str(self.weights), "WEIGHTS"), f"{seconds:.0f}"))


def main() -> None:
    """Take all steps, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--candidates", type=int, default=900)
    parser.add_argument("--pixels", type=int, default=224, help="side of the stored images")
    arguments = parser.parse_args()
    start = time.monotonic()
    arguments.output.mkdir(parents=True)
    walk = Walk(arguments.output, arguments.weights.resolve(), arguments.pixels)
    prepare(arguments.photos, walk, arguments.candidates)
    build(walk)
    train(walk)
    publish(walk)
    print(markdown_table(["command", "seconds"], walk.rows))
    print(f"{len(walk.rows)} commands, {(time.monotonic() - start) / 60:.0f} minutes")


def prepare(photos: Path, walk: Walk, candidates: int) -> None:
    """Write mine/photos, mine/found and mine/build.yaml."""
    rng, mine = np.random.default_rng(0), walk.output / "mine"
    spare: dict[str, list[Path]] = {}
    for name in CLASSES:
        images = sorted((photos / "train" / name).iterdir())
        order = rng.permutation(len(images))
        half = len(images) // 2
        for image in [*(images[i] for i in order[:half]), *sorted((photos / "test" / name).iterdir())]:
            _copy(image, mine / "photos" / name / image.name)
        spare[name] = [images[i] for i in order[half:]]
    others = [
        path
        for folder in sorted(photos.glob("*/*"))
        if folder.is_dir() and folder.name not in CLASSES
        for path in sorted(folder.iterdir())
    ]
    others = [others[i] for i in rng.permutation(len(others))]
    for number, name in enumerate(CLASSES):
        each = candidates // len(CLASSES)
        next_class = CLASSES[(number + 1) % len(CLASSES)]
        wrong_open = round(each / 2 * OPEN_SHARE)
        wrong_closed = each // 2 - wrong_open
        chosen = [(spare[name].pop(), name) for _ in range(each - wrong_open - wrong_closed)]
        chosen += [(spare[next_class].pop(0), next_class) for _ in range(wrong_closed)]
        chosen += [(path, path.parent.name) for path in (others.pop() for _ in range(wrong_open))]
        for image, shown in chosen:
            _copy(image, mine / "found" / name / image.name)
            walk.truth[image.stem] = shown
    _add_odd_files(mine, walk.truth)
    (mine / "build.yaml").write_text(yaml.safe_dump(_config(walk), sort_keys=False), encoding="utf-8")


def _config(walk: Walk) -> dict[str, object]:
    return {
        "source": "mine", "classes": list(CLASSES), "clean": ["clean.csv"], "test": ["test.csv"], "web": ["web.csv"],
        "votes": ["votes.csv"], "ingest": {"size": walk.pixels},
        "noise": {"levels": [0, 0.2, 0.4], "on_shortage": "shrink"},
        "embed": {
            "network": "tf_efficientnet_lite0", "size": 96,
            "weights": str(walk.weights / "tf_efficientnet_lite0.safetensors"),
        },
        "publication": {
            "authors": [{"name": "A. Author"}], "license": "CC-BY-4.0",
            "derived_from": ["clothing-dataset-small (CC0-1.0)"], "annotation_platform": "the page of `vote`",
            "image_licenses": {"clean": "cc0", "test": "cc0", "web": "cc0"}, "date": "2026-11-30", "url": "https://example.org/clothing-noise",
        },
    }  # fmt: skip


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _add_odd_files(mine: Path, truth: dict[str, str]) -> None:
    """Add eleven files of the kinds that a web search gives, to the candidates of the first class."""
    name = CLASSES[0]
    folder = mine / "found" / name
    own = sorted((mine / "photos" / name).iterdir())
    clean, other, altered, cropped = own[0], own[1], own[2], own[3]
    found = sorted(folder.iterdir())
    (folder / "page.jpg").write_text("<html>Not found</html>")
    (folder / "half.jpg").write_bytes(found[0].read_bytes()[:2000])
    Image.new("RGB", (5, 5)).save(folder / "dot.png")
    with Image.open(found[1]) as image:
        frames = [image.convert("RGB"), ImageOps.invert(image.convert("RGB"))]
        frames[0].rotate(7).save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
        image.convert("RGB").rotate(-7).convert("CMYK").save(folder / "print.jpg")
        frames[0].rotate(15).save(folder / "Kleid für Anna (2).jpg")
    _copy(clean, folder / "copy-of-clean.jpg")
    _copy(found[2], folder / "copy-of-found.jpg")
    _copy(other, folder / "copy-of-another.jpg")
    with Image.open(altered) as image:
        ImageOps.mirror(image.convert("RGB")).save(folder / "mirrored.jpg")
    with Image.open(cropped) as image:
        width, height = image.size
        image.convert("RGB").crop((width // 12, height // 12, width, height)).save(folder / "cropped.jpg")
    for path in folder.iterdir():
        truth.setdefault(path.stem, name)


def build(walk: Walk) -> None:
    """List, ingest, vote, build and check."""
    walk.run(
        "pipeline",
        "list-folder",
        "mine/photos",
        "--output",
        "mine/clean.csv",
        "--test",
        "mine/test.csv",
        "--test-share",
        "0.35",
    )
    walk.run("pipeline", "list-folder", "mine/found", "--output", "mine/web.csv")
    with (walk.output / "mine/web.csv").open(newline="", encoding="utf-8") as file:
        walk.truth = {row["image_id"]: walk.truth[Path(row["path"]).stem] for row in csv.DictReader(file)}
    walk.run("pipeline", "ingest", "--config", "mine/build.yaml", "--set", "votes=[]", "--output", "out")
    vote(walk)
    walk.run("pipeline", "build", "--config", "mine/build.yaml", "--output", "out")
    for verb in ("audit", "report"):
        walk.run("pipeline", verb, "out")
    walk.run("pipeline", "verify", "out/dataset")


def vote(walk: Walk) -> None:
    """Answer on the voting page as three workers, in turn, until no question is left."""
    command = ["pipeline", "vote", "out", "--votes", "mine/votes.csv", "--port", "0"]
    print(f"$ python -m {' '.join(command)}", flush=True)
    ids = list(walk.truth)
    id_of_key = dict(zip((f"{int(key):016x}" for key in image_keys(pa.array(ids))), ids, strict=True))
    start, rng = time.monotonic(), np.random.default_rng(1)
    server = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=walk.output, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert server.stdout
    try:
        answers = _answer_all(server.stdout.readline().strip(), walk.truth, id_of_key, rng)
    finally:
        server.send_signal(signal.SIGINT)
        print(server.stdout.read())
        server.wait(30)
    walk.record(f"`{' '.join(command)}`: {answers:,} answers", time.monotonic() - start)


def _answer_all(url: str, truth: dict[str, str], ids: dict[str, str], rng: np.random.Generator) -> int:
    """Return the number of answers."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # root has none
        browser = playwright.chromium.launch(executable_path=browser_path, args=sandbox)
        pages: list[Page] = []
        for name in WORKERS:
            page = browser.new_context().new_page()
            page.goto(url)
            page.get_by_label("Name or pseudonym").fill(name)
            page.keyboard.press("Enter")
            pages.append(page)
        answers = 0
        while pages:
            for page in list(pages):
                page.locator("#ask, #rest").locator("visible=true").first.wait_for()
                if page.locator("#rest").is_visible():
                    pages.remove(page)
                    continue
                _answer(page, truth, ids, rng)
                answers += 1
                if answers % 100 == 0:
                    print(f"{answers:,} answers", flush=True)
        browser.close()
    return answers


def _answer(page: Page, truth: dict[str, str], ids: dict[str, str], rng: np.random.Generator) -> None:
    """Answer the question that a page shows, and wait until it is saved."""
    page.locator("#picture:not(.loading)").wait_for()
    page.wait_for_timeout(160)  # a quicker answer does not count
    address = page.locator("#picture").get_attribute("src") or ""
    shown, asked = truth[ids[address.rpartition("/")[2]]], page.locator("#class").inner_text()
    before = page.locator("#counts").inner_text()
    right = rng.random() >= WRONG
    if rng.random() < UNSURE:
        page.keyboard.press("u")
    elif (shown == asked) == right:
        page.keyboard.press("y")
    elif shown in CLASSES and shown != asked:
        page.keyboard.press("c")
        page.get_by_role("combobox").fill(shown)
        page.get_by_role("option", name=shown, exact=True).click()
    else:
        page.keyboard.press("n")
    page.wait_for_function("text => document.getElementById('counts').innerText !== text", arg=before)


def train(walk: Walk) -> None:
    """Train on frozen features and fine-tune, run a study, and draw its figures."""
    network = ["--set", "network.name=tf_efficientnet_lite0", "--set", f"network.weights={walk.weights}"]
    common = ["--data", "out/dataset", "--set-name", "red-0.40"]
    for method in ("vanilla", "mentormix"):
        walk.run("training", "train", *common, "--method", method, *network, "--output", f"runs/{method}")
    fine = ["--recipe", "fine_tune", "--set", "epochs=2", "--set", "augment.resize=96"]
    walk.run("training", "train", *common, *fine, *network, "--output", "runs/fine-tuned")
    walk.run(
        "training", "study", "--data", "out/dataset", *GRID, *network, "--output", "runs/study", "--jobs", "2"
    )
    walk.run("training", "plot", "runs/study")


def publish(walk: Walk) -> None:
    """Write the publication, validate its Croissant file, and load a set from it; count true labels."""
    walk.run("pipeline", "publish", "out", "--config", "mine/build.yaml", "--to", "published")
    walk.run("mlcroissant", "validate", "--jsonld", "published/croissant.json")
    rows = []
    for name in ("red-0.20", "red-0.40"):
        data = open_set(walk.output / "out/dataset" / name)
        given = [data.class_names[label] for label in data.labels]
        wrong = [walk.truth.get(i, label) != label for i, label in zip(data.image_ids, given, strict=True)]
        rows.append((name, f"{len(wrong):,}", f"{100 * float(np.mean(wrong)):.1f}"))
    print(markdown_table(["set", "images", "truly wrong, %"], rows))


if __name__ == "__main__":
    main()
