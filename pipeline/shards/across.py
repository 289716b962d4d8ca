"""Compare the sets of a dataset with their names and with each other."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pyarrow import compute as pc

from pipeline.noise.training_sets import set_name
from pipeline.shards.read_back import ReadSet
from schemas.example import TEST_SET

# What the manifests of all sets have in common, and what those of training sets that were not given by a list have.
_OF_ALL_SETS = ("class_names", "seed", "mode", "pictures", "versions")
_OF_DRAWN_SETS = ("nested", "on_shortage", "blue_size")
_OF_ROOT_ENTRY = ("color", "noise_level", "trial")


def check_name(name: str, about: Mapping[str, Any], rows: int, entry: Mapping[str, Any]) -> Iterator[str]:
    """Compare what the manifest of a set says with the name of its folder, and with its entry in the root manifest.

    Yields a problem for each difference.
    """
    if about["set_name"] != name:
        yield f"{name}: the folder holds the set {about['set_name']!r}; copy the dataset again, or run split again"
    if name != TEST_SET and not about.get("fixed_set"):
        expected = set_name(about["color"], about["noise_level"], about["trial"])
        if expected != name:
            yield f"{name}: by color, noise level and trial its manifest is that of {expected}"
    for key, value in {**{key: about.get(key) for key in _OF_ROOT_ENTRY}, "rows": rows}.items():
        if entry.get(key) != value:
            yield f"{name}: its manifest says {key} {value!r}, the dataset's manifest says {entry.get(key)!r}"


def check_across(sets: Mapping[str, ReadSet]) -> Iterator[str]:
    """Check what all sets have in common, that levels nest, and that colors hit the same clean images.

    Yields a problem for each rule that is broken.
    """
    drawn = [one for one in sets.values() if one.is_drawn]
    drawn.sort(
        key=lambda one: (not one.manifest.about["color"].startswith("red"), one.name)
    )  # as people name them
    yield from _check_common(list(sets.values()), _OF_ALL_SETS)
    yield from _check_common(drawn, _OF_DRAWN_SETS)
    yield from _check_sources(sets)
    yield from _check_nesting(drawn)
    yield from _check_clean_images(drawn)
    yield from _check_twins(drawn)


def _check_common(sets: Sequence[ReadSet], keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        for one in sets[1:]:
            if one.manifest.about.get(key) != sets[0].manifest.about.get(key):
                yield f"{one.name}: {key} is not that of {sets[0].name}, so they are of two datasets"


def _check_sources(sets: Mapping[str, ReadSet]) -> Iterator[str]:
    """The test set has test images with their right labels, and nothing else; training sets have none."""
    for name, one in sets.items():
        tests = pc.equal(one.examples["source"], "test")
        right = pc.and_(tests, one.examples["is_clean"]) if name == TEST_SET else pc.invert(tests)
        if wrong := len(right) - (pc.sum(right).as_py() or 0):
            kind = "are not right examples of the test lists" if name == TEST_SET else "are of the test lists"
            yield f"{name}: {wrong} of its examples {kind}"


def _check_nesting(drawn: Sequence[ReadSet]) -> Iterator[str]:
    """Within a color and trial, a higher level keeps all wrong examples of a lower one."""
    families: dict[tuple[str, int], list[ReadSet]] = {}
    for one in drawn:
        families.setdefault((one.manifest.about["color"], one.manifest.about["trial"]), []).append(one)
    for (color, _), family in families.items():
        family.sort(key=lambda one: float(one.manifest.about["noise_level"]))
        for lower, higher in pairwise(family):
            if higher.manifest.about["nested"] and not _noisy(lower) <= _noisy(higher):
                yield f"{color}: {higher.name} does not keep all wrong examples of {lower.name}"


def _check_clean_images(drawn: Sequence[ReadSet]) -> Iterator[str]:
    """Every clean image stays or gives way, once, and sets of one size are made of the same clean images.

    With on_shortage: shrink, sets leave clean images out.
    """
    first: dict[str, tuple[str, set[str]]] = {}
    for one in drawn:
        about, kept, gave_way = one.manifest.about, one.kept(), one.gave_way()
        if len(kept | gave_way) < one.examples.num_rows:
            yield f"{one.name}: an example takes the place of a clean image that another example has"
        if about["on_shortage"] == "shrink":
            continue
        group = "blue" if about["blue_size"] == "all" and about["color"].startswith("blue") else "red"
        name, images = first.setdefault(group, (one.name, kept | gave_way))
        if differing := len((kept | gave_way) ^ images):
            yield f"{one.name}: it is not made of the clean images of {name} ({differing} differ)"


def _check_twins(drawn: Sequence[ReadSet]) -> Iterator[str]:
    """In sets of one trial and level, the same clean images give way, whatever the color.

    Colors that a shortage limits by different supplies are not compared.
    """
    first: dict[tuple[Any, ...], ReadSet] = {}
    for one in drawn:
        about = one.manifest.about
        group = "blue" if about["blue_size"] == "all" and about["color"].startswith("blue") else "all"
        if about["on_shortage"] != "error" and about["color"] == "red-text":
            group = about["color"]
        twin = first.setdefault((group, about["trial"], about["noise_level"]), one)
        if one.gave_way() != twin.gave_way():
            yield f"{twin.name} and {one.name} do not hit the same clean images"


def _noisy(one: ReadSet) -> set[tuple[str, int]]:
    noisy = one.examples.filter(pc.invert(one.examples["is_clean"]))
    return set(zip(noisy["image_id"].to_pylist(), noisy["label"].to_pylist(), strict=True))
