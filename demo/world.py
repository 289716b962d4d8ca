"""Writer of the demo's input: clean and test images, lists, votes, and the ground truth."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.images import CLEAN
from demo.planted_problems import FAULTS, copies, faults, originals
from demo.search import Candidate, draw_files, ranked, search
from demo.shapes import CLASSES
from demo.web import WebResponse
from demo.workers import Question, ask, hire


@dataclass(frozen=True)
class Size:
    """Images per class, number of workers, and rows per planted problem."""

    clean: int = 160
    test: int = 100
    right: int = 40
    wrong: int = 135
    workers: int = 30
    planted: int = 8


FULL = Size()
QUICK = Size(clean=24, test=20, right=8, wrong=36, workers=12, planted=2)


@dataclass(frozen=True)
class DemoWorld:
    """The input of the demo: the folder of the lists, and the candidates that the web server serves."""

    folder: Path
    candidates: tuple[Candidate, ...]

    @property
    def pages(self) -> dict[str, WebResponse]:
        """Responses of the web server by path."""
        return {
            candidate.address: WebResponse(candidate.body, candidate.status, candidate.headers)
            for candidate in self.candidates
        }


def make(size: Size, folder: Path, seed: int = 0) -> DemoWorld:
    """Draw the input; write clean and test images below `folder`, and keep web images in memory for the server."""
    lists = {
        source: _write_images(source, count, folder, seed)
        for source, count in (("clean", size.clean), ("test", size.test))
    }
    candidates = search(size.right, size.wrong, seed)
    known = {source: originals(folder, rows) for source, rows in lists.items()}
    candidates += copies(candidates, known["clean"], known["test"], size.planted, seed)
    candidates += faults([candidate for candidate in candidates if not candidate.planted], size.planted, seed)
    return DemoWorld(folder, tuple(candidates))


def write_lists(world: DemoWorld, base_url: str, workers: int, seed: int = 0) -> None:
    """Write retrieval.csv, with URLs below `base_url`, votes.csv, and truth.csv, which the pipeline does not read."""
    rows = [
        {
            "image_id": candidate.image_id,
            "url": f"{base_url}/{candidate.address}",
            "class_name": candidate.class_name,
            "method": candidate.method,
            "rank": rank,
        }
        for rank, candidate in ranked(world.candidates, seed)
    ]
    _write_csv(world.folder / "retrieval.csv", rows)
    questions = [
        Question(
            candidate.image_id, candidate.class_name, candidate.shows == candidate.class_name, candidate.near
        )
        for candidate in world.candidates
        if candidate.planted not in FAULTS  # an image that cannot be displayed gets no votes
    ]
    _write_csv(world.folder / "votes.csv", ask(questions, hire(workers), seed))
    truth = [
        {"image_id": h.image_id, "class_name": h.class_name, "shows": h.shows, "near": int(h.near),
         "planted": h.planted, "original": h.original}
        for h in world.candidates
    ]  # fmt: skip
    _write_csv(world.folder / "truth.csv", truth)


def _write_images(source: str, count: int, folder: Path, seed: int) -> list[dict[str, str]]:
    """Draw `count` images per class, write them with their list, and return the rows of the list."""
    number = {"clean": 1, "test": 2}[source]
    jobs = [(name, (seed, number, i, j), CLEAN) for i, name in enumerate(CLASSES) for j in range(count)]
    rows = []
    for (name, (_, _, _, j), _), (suffix, body) in zip(jobs, draw_files(jobs), strict=True):
        path = Path(source) / name / f"{source}-{name}-{j:04d}.{suffix}"
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
        rows.append({"image_id": path.stem, "class_name": name, "path": path.as_posix()})
    _write_csv(folder / f"{source}.csv", rows)
    return rows


def _write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
