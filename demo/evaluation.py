"""Comparison of a build with the ground truth, which only the demo knows."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from demo.planted_problems import COPIES, FAULTS
from demo.search import Candidate
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.duplicate import DUPLICATE
from schemas.rejection import REJECTION
from schemas.verdict import VERDICT


@dataclass(frozen=True)
class Evaluation:
    """Counts of one build.

    caught: (caught, planted) by kind of problem. false_duplicates: images removed as near-duplicates that are not copies.
    verdicts: counts by (truth, verdict).
    """

    caught: dict[str, tuple[int, int]]
    false_duplicates: int
    verdicts: dict[tuple[bool, str], int]

    @property
    def verdict_accuracy(self) -> float:
        """Share of correct yes and no verdicts."""
        right = self.verdicts[True, "yes"] + self.verdicts[False, "no"]
        return right / sum(count for (_, verdict), count in self.verdicts.items() if verdict != "undecided")

    @property
    def noise_precision(self) -> float:
        """Share of correct verdicts "no", the source of red noise."""
        return self.verdicts[False, "no"] / (self.verdicts[False, "no"] + self.verdicts[True, "no"])


def evaluate(candidates: tuple[Candidate, ...], build: Path) -> Evaluation:
    """Compare the tables in the output folder of a build with the truth."""
    layout = Layout(str(build))
    rejected = directory.read_table(layout.rejections, REJECTION).to_pandas()
    duplicates = directory.read_table(layout.duplicates, DUPLICATE).to_pandas()
    verdicts = directory.read_table(layout.verdicts, VERDICT).to_pandas()

    codes = defaultdict(set)
    for image_id, code in zip(rejected["image_id"], rejected["code"], strict=True):
        codes[image_id].add(code)
    keepers = dict(zip(duplicates["image_id"], duplicates["keeper_id"], strict=True))
    planted, caught = Counter[str](), Counter[str]()
    for candidate in candidates:
        planted[candidate.planted] += 1
        if candidate.planted in FAULTS:
            caught[candidate.planted] += FAULTS[candidate.planted] in codes[candidate.image_id]
        elif candidate.planted in COPIES:
            # One of the two images must be removed, so both have the same keeper, or one is the keeper.
            pair = {keepers.get(image_id, image_id) for image_id in (candidate.image_id, candidate.original)}
            caught[candidate.planted] += len(pair) == 1

    copied = {
        one
        for candidate in candidates
        if candidate.planted in COPIES
        for one in (candidate.image_id, candidate.original)
    }
    removed = set(duplicates["image_id"][duplicates["removed"]])
    shows = {
        (candidate.image_id, candidate.class_name): candidate.shows == candidate.class_name
        for candidate in candidates
    }
    truths = [shows[key] for key in zip(verdicts["image_id"], verdicts["class_name"], strict=True)]
    return Evaluation(
        {kind: (caught[kind], planted[kind]) for kind in (*FAULTS, *COPIES)},
        len(removed - copied),
        Counter(zip(truths, verdicts["verdict"], strict=True)),
    )
