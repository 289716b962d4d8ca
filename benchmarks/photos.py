"""Turn a folder of photographs into lists and simulated votes, to try the whole pipeline on real images.

    python -m benchmarks.photos DIR --output mine

DIR has `train/CLASS` and `test/CLASS`. Half of the training images of each class become the clean list. The others become
candidates: for their own class, or, four of five, for the next class, where they are wrong. Simulated workers of differing
skill (demo/workers.py) give three to five votes on each.
"""

import argparse
import csv
import os
import sys
from pathlib import Path

import numpy as np

from demo.workers import Question, ask, hire

WRONG_SHARE, WORKERS = 0.8, 30


def main() -> int:
    """Write clean.csv, test.csv, web.csv, votes.csv and build.yaml."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, metavar="DIR", help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder for the lists")
    parser.add_argument("--seed", type=int, default=0, help="decides every choice (default: %(default)s)")
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True)
    classes = sorted(path.name for path in (arguments.photos / "train").iterdir() if path.is_dir())
    rng = np.random.default_rng(arguments.seed)
    clean, web, questions = [], [], []
    for number, name in enumerate(classes):
        images = sorted((arguments.photos / "train" / name).iterdir())
        order = rng.permutation(len(images))
        half = len(images) // 2
        clean += [(images[i].stem, name, _link(output, images[i])) for i in order[:half]]
        for rank, i in enumerate(order[half:]):
            wrong = rng.random() < WRONG_SHARE
            asked = classes[(number + 1) % len(classes)] if wrong else name
            web.append((images[i].stem, asked, _link(output, images[i]), "text", rank))
            questions.append(Question(images[i].stem, asked, not wrong))
    test = [
        (image.stem, name, _link(output, image))
        for name in classes
        for image in sorted((arguments.photos / "test" / name).iterdir())
    ]
    _write(output / "clean.csv", ("image_id", "class_name", "path"), clean)
    _write(output / "test.csv", ("image_id", "class_name", "path"), test)
    _write(output / "web.csv", ("image_id", "class_name", "path", "method", "rank"), web)
    votes = list(ask(questions, hire(WORKERS), arguments.seed))
    _write(output / "votes.csv", tuple(votes[0]), [tuple(vote.values()) for vote in votes])
    (output / "build.yaml").write_text(
        f"source: {output}\nclasses: [{', '.join(classes)}]\nclean: [clean.csv]\ntest: [test.csv]\nweb: [web.csv]\n"
        "votes: [votes.csv]\nnoise: {levels: [0, 0.2, 0.4], on_shortage: shrink}\n"
    )
    print(
        f"{len(clean):,} clean, {len(test):,} test, {len(web):,} candidates, {len(votes):,} votes: {output}"
    )
    return 0


def _link(output: Path, image: Path) -> str:
    """Hard-link or copy an image below `output`; returns its path relative to it."""
    target = output / "images" / image.name
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(image, target)
    except OSError:
        target.write_bytes(image.read_bytes())
    return f"images/{image.name}"


def _write(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
