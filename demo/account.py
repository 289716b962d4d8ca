"""What the pipeline made of the small world, held against the truth that only the demo knows."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from demo.plant import COPIES, FAULTS
from demo.search import Hit
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.duplicate import DUPLICATE
from schemas.rejection import REJECTION
from schemas.verdict import VERDICT


@dataclass(frozen=True)
class Account:
    """Counts of one build.

    `caught` holds (caught, planted) by kind of problem. `alarms` are pictures removed as duplicates though they are
    copies of nothing. `verdicts` counts (truth, verdict).
    """

    caught: dict[str, tuple[int, int]]
    alarms: int
    verdicts: dict[tuple[bool, str], int]

    @property
    def verdict_accuracy(self) -> float:
        """Share of the yes and no verdicts that are true."""
        right = self.verdicts[True, "yes"] + self.verdicts[False, "no"]
        return right / sum(count for (_, verdict), count in self.verdicts.items() if verdict != "undecided")

    @property
    def noise_precision(self) -> float:
        """Share of the verdicts "no", from which red noise is made, that are true."""
        return self.verdicts[False, "no"] / (self.verdicts[False, "no"] + self.verdicts[True, "no"])


def account(hits: tuple[Hit, ...], build: Path) -> Account:
    """Hold the tables of a build (the folder that `pipeline build` wrote) against the truth."""
    layout = Layout(str(build))
    rejected = directory.read_table(layout.rejections, REJECTION).to_pandas()
    duplicates = directory.read_table(layout.duplicates, DUPLICATE).to_pandas()
    verdicts = directory.read_table(layout.verdicts, VERDICT).to_pandas()

    codes = defaultdict(set)
    for image_id, code in zip(rejected["image_id"], rejected["code"], strict=True):
        codes[image_id].add(code)
    keepers = dict(zip(duplicates["image_id"], duplicates["keeper_id"], strict=True))
    planted, caught = Counter[str](), Counter[str]()
    for hit in hits:
        planted[hit.planted] += 1
        if hit.planted in FAULTS:
            caught[hit.planted] += FAULTS[hit.planted] in codes[hit.image_id]
        elif hit.planted in COPIES:
            # Of a picture and its copy one must go: both then have one keeper, or one of them is it.
            pair = {keepers.get(one, one) for one in (hit.image_id, hit.original)}
            caught[hit.planted] += len(pair) == 1

    copied = {one for hit in hits if hit.planted in COPIES for one in (hit.image_id, hit.original)}
    removed = set(duplicates["image_id"][duplicates["removed"]])
    shows = {(hit.image_id, hit.class_name): hit.shows == hit.class_name for hit in hits}
    truths = [shows[key] for key in zip(verdicts["image_id"], verdicts["class_name"], strict=True)]
    return Account(
        {kind: (caught[kind], planted[kind]) for kind in (*FAULTS, *COPIES)},
        len(removed - copied),
        Counter(zip(truths, verdicts["verdict"], strict=True)),
    )
