"""Search a dataset for leaks anew, with fingerprints made from the pictures in its shards."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pyarrow import compute as pc

from common.config import build, output_names, output_values
from common.errors import DataError
from pipeline.config import DedupeConfig
from pipeline.dedupe.leaks import find_leaks
from pipeline.ingest.fingerprint import Fingerprints
from pipeline.shards.read_back import Pictures, ReadSet
from schemas.example import TEST_SET

_SHOWN = 10


def leak_rules(about: Mapping[str, Any]) -> DedupeConfig:
    """Return the rules by which a dataset's build searched leaks. Raises DataError where its root manifest has none."""
    try:
        rules = {name: about["leaks"][name] for name in output_names(DedupeConfig)}
        config = build(DedupeConfig, rules, "leaks")
        if not math.isfinite(config.min_contrast):
            raise ValueError("min_contrast is not a number")
        return config
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the manifest does not say by which rules leaks were searched, so they cannot be excluded ({error})"
        ) from error


def changed_rules(rules: DedupeConfig) -> dict[str, Any]:
    """Return the rules that differ from the defaults, by name, with the default of each."""
    default = output_values(DedupeConfig())
    return {name: default[name] for name, value in output_values(rules).items() if value != default[name]}


def check_leaks(
    sets: dict[str, ReadSet], pictures: Pictures, rules: DedupeConfig, facts: dict[str, Any]
) -> Iterator[str]:
    """Compare every training picture with every test picture, and count what is found in `facts`.

    Yields a problem for each leak that is not allowed, up to a number.
    """
    if TEST_SET not in sets:
        yield "there is no readable test set, so leaks cannot be excluded"
        return
    if not pictures.prints:
        return
    test = set(sets[TEST_SET].ids())
    training = {image_id for name, one in sets.items() if name != TEST_SET for image_id in one.ids()}
    both = sorted(test & training)
    if both:
        yield f"{len(both)} test images are also training images, {both[0]} for one"
    ids = list(pictures.digests)
    is_test = np.array([image_id in test for image_id in ids], bool)
    facts |= {"leak_comparisons": int(is_test.sum() * (~is_test).sum()), "leaks": 0}
    if any(one.manifest.about.get("fixed_set") for one in sets.values()):
        facts["leaks_only_in_listed_sets"] = 0

    prints = Fingerprints.join(pictures.prints)
    leaks = find_leaks(prints, is_test, rules)
    facts["flat_pictures"] = int((prints.contrast < rules.min_contrast).sum())  # told by their bytes alone
    made, clean = set[str](), set[str]()
    for one in sets.values():
        if not one.manifest.about.get("fixed_set"):
            made.update(one.ids())
        clean.update(one.examples.filter(pc.field("source") == "clean")["image_id"].to_pylist())
    broken = []
    for a, b, bits in zip(leaks.a, leaks.b, leaks.distance_256, strict=True):
        if ids[b] not in made:
            kind = "leaks_only_in_listed_sets"
        elif rules.clean_leaks == "keep" and ids[b] in clean:
            kind = "clean_leaks_kept"
        else:
            kind = "leaks"
            broken.append(
                f"training image {ids[b]} looks like test image {ids[a]} ({bits} of 256 bits differ)"
            )
        facts[kind] = facts.get(kind, 0) + 1
    yield from broken[:_SHOWN]
    if len(broken) > _SHOWN:
        yield f"… and {len(broken) - _SHOWN} more training images that look like test images"
