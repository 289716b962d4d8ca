"""Realized noise of each released split: its lines, compared with the annotations and the clean images."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

from common.text_table import aligned
from pipeline.published.problems import Problems
from pipeline.published.release import Annotation, Release, ReleasedSplit

TOLERANCE = 0.01  # largest accepted difference between realized noise and the level in the split's name


@dataclass(frozen=True)
class KnownLabels:
    """Labels in the release: the class of each clean image, and the annotations of each web image by class."""

    clean: Mapping[str, int]
    web: Mapping[str, Mapping[int, Annotation]]


@dataclass(frozen=True)
class Census:
    """Counts of one split. Flipped clean images, wrong web images and web images without annotation count as wrong."""

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
        """Whether the realized noise differs from the level in the split's name."""
        return abs(self.realized - self.nominal) > TOLERANCE


def known_labels(release: Release, problems: Problems) -> KnownLabels:
    """Collect the annotations of web images and the classes of clean images, which are those of splits without noise.

    Of contradicting annotations or classes, the first counts.
    """
    web: dict[str, dict[int, Annotation]] = {}
    for annotation in release.annotations:
        others = web.setdefault(annotation.image_id, {})
        location = f"annotation of class {annotation.label}"
        first = next(iter(others.values()), annotation)
        if first.uri != annotation.uri:
            problems.add("another_uri", location, annotation.image_id, annotation.uri)
        before = others.setdefault(annotation.label, annotation)
        if before is not annotation:
            same = before.is_clean == annotation.is_clean
            problems.add(
                "duplicate_annotation" if same else "contradicting_annotation", location, annotation.image_id
            )
    clean: dict[str, int] = {}
    for split in release.splits:
        if split.noise_level:
            continue
        for image_id, label in zip(split.ids, split.labels, strict=True):
            if image_id not in web and clean.setdefault(image_id, label) != label:
                problems.add("contradicting_class", split.location, image_id, f"class {label}")
    return KnownLabels(clean, web)


def usable(
    split: ReleasedSplit, known: KnownLabels, problems: Problems
) -> tuple[list[tuple[str, int]], Census]:
    """Return the (image, class) pairs of a split with a known label, and the counts of the split."""
    pairs: list[tuple[str, int]] = []
    clean = flipped = wrong = right = not_annotated = unknown = 0
    for image_id, label in zip(split.ids, split.labels, strict=True):
        if image_id in known.web:
            annotation = known.web[image_id].get(label)
            if annotation is None:
                not_annotated += 1
                problems.add("label_not_annotated", split.location, image_id, f"class {label}")
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
            problems.add("id_without_annotation", split.location, image_id, f"class {label}")
            continue
        pairs.append((image_id, label))
    noisy = flipped + wrong + not_annotated
    realized = round(noisy / len(pairs), 6) if pairs else 0.0
    counts = (clean, flipped, wrong, right, not_annotated, unknown)
    return pairs, Census(split.name, len(split.ids), *counts, split.noise_level, realized)


def census_table(censuses: list[Census]) -> list[str]:
    """Return the counts of all splits as lines of an aligned text table."""
    rows = [[*(field.name.replace("_", " ") for field in fields(Census)), ""]]
    for census in censuses:
        name, *counts, nominal, realized = astuple(census)
        note = "differs from the name" if census.is_off else ""
        rows.append([name, *(f"{count:,}" for count in counts), f"{nominal:.2%}", f"{realized:.2%}", note])
    return aligned(rows)
