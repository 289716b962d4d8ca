"""What each released split really holds: its lines, looked up in the annotations and among the clean images."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

from pipeline.published.problems import Problems, table
from pipeline.published.release import Annotation, Release, ReleasedSplit

TOLERANCE = 0.01  # a split whose realized noise is further from its name is marked


@dataclass(frozen=True)
class Known:
    """What the release says of images: the class of each clean one, the verdicts on each web one by class."""

    clean: Mapping[str, int]
    web: Mapping[str, Mapping[int, Annotation]]


@dataclass(frozen=True)
class Census:
    """The counts of one split. Wrong are flipped clean images, wrong web images, and web images not annotated so."""

    split: str
    lines: int
    clean: int
    flipped: int
    web_wrong: int
    web_right: int
    web_not_annotated: int
    unknown: int
    nominal: float
    realized: float

    @property
    def is_off(self) -> bool:
        """Whether the noise is not what the name says."""
        return abs(self.realized - self.nominal) > TOLERANCE


def what_is_known(release: Release, problems: Problems) -> Known:
    """Gather verdicts, and the classes of clean images: those of the splits without noise.

    Images that are annotated more than once, or in two classes without noise, keep what was said first.
    """
    web: dict[str, dict[int, Annotation]] = {}
    for annotation in release.annotations:
        others = web.setdefault(annotation.image_id, {})
        place = f"annotation of class {annotation.label}"
        first = next(iter(others.values()), annotation)
        if first.uri != annotation.uri:
            problems.add("another_uri", place, annotation.image_id, annotation.uri)
        before = others.setdefault(annotation.label, annotation)
        if before is not annotation:
            same = before.is_clean == annotation.is_clean
            problems.add(
                "duplicate_annotation" if same else "contradicting_annotation", place, annotation.image_id
            )
    clean: dict[str, int] = {}
    for split in release.splits:
        if split.noise_level:
            continue
        for image_id, label in zip(split.ids, split.labels, strict=True):
            if image_id not in web and clean.setdefault(image_id, label) != label:
                problems.add("contradicting_class", split.place, image_id, f"class {label}")
    return Known(clean, web)


def usable(split: ReleasedSplit, known: Known, problems: Problems) -> tuple[list[tuple[str, int]], Census]:
    """The (image, class) pairs of a split of which something is known, and its counts."""
    pairs: list[tuple[str, int]] = []
    clean = flipped = wrong = right = not_annotated = unknown = 0
    for image_id, label in zip(split.ids, split.labels, strict=True):
        if image_id in known.web:
            annotation = known.web[image_id].get(label)
            if annotation is None:
                not_annotated += 1
                problems.add("label_not_annotated", split.place, image_id, f"class {label}")
            elif annotation.is_clean:
                right += 1
            else:
                wrong += 1
        elif image_id in known.clean:
            is_right = known.clean[image_id] == label
            clean += is_right
            flipped += not is_right
        else:
            unknown += 1
            problems.add("id_without_annotation", split.place, image_id, f"class {label}")
            continue
        pairs.append((image_id, label))
    noisy = flipped + wrong + not_annotated
    realized = round(noisy / len(pairs), 6) if pairs else 0.0
    counts = (clean, flipped, wrong, right, not_annotated, unknown)
    return pairs, Census(split.name, len(split.ids), *counts, split.noise_level, realized)


def census_table(censuses: list[Census]) -> list[str]:
    """The counts of all splits as lines of text."""
    rows = [[*(field.name.replace("_", " ") for field in fields(Census)), ""]]
    for one in censuses:
        name, *counts, nominal, realized = astuple(one)
        told = "not what the name says" if one.is_off else ""
        rows.append([name, *(f"{count:,}" for count in counts), f"{nominal:.2%}", f"{realized:.2%}", told])
    return table(rows)
