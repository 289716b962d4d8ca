"""Verify a dataset from its files alone, in this process, and state the result."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.config import output_values
from common.plural import counted
from pipeline.config import DedupeConfig
from pipeline.dedupe.leak_search import hash_search, unseen_by_hashes
from pipeline.noise.examples import class_noise
from pipeline.noise.true_level import MILLION, ROUNDING
from pipeline.shards.packing import GroupedFile
from pipeline.verify.bucket import check_bucket, nested_pairs
from pipeline.verify.clean_images import check_clean_images, same_clean_images, same_noisy_images
from pipeline.verify.leaks import SHOWN_LEAKS, Leaks, find_near_leaks, join_hashes, near_keys, read_near
from pipeline.verify.plan import PlannedSet, VerificationPlan, plan_verification
from pipeline.verify.tally import Finding, Tally
from schemas.example import SHARED_IMAGES, TEST_SET

# Broken rules of the rows and images of a set. Each is followed by the number of cases and an example.
_RULES_OF_A_SET = {
    "decode": "images that do not decode",
    "differs": "images that differ from the image of the same id in another set",
    "no_image": "rows whose image is missing or does not decode",
    "repeated": "images that occur in more than one row",
    "order": "rows that are not in the order of their shard keys, or not in the shard of their key",
    "label": "rows with a label or true_label that is not the number of a class",
    "is_clean": "rows whose is_clean contradicts label and true_label",
    "noise_type": "rows whose noise_type contradicts is_clean or true_label, or is neither closed nor open",
    "p_wrong": "rows whose p_wrong is not a probability",
    "clean_repeated": "rows that replace or relabel a clean image that another row of the set uses",
    "source": "rows from the test lists in a training set",
}
_RULES_OF_IMAGES = ("decode", "differs")  # hold even if other shards of the set are unreadable


@dataclass(frozen=True)
class Verification:
    """The result of verifying a dataset.

    problems: the rules that are broken, with the file or set and the values. counts: numbers of what was checked.
    root_sha256: digest of the dataset's manifest, which holds the digests of everything else. leak_rules: the rules by
    which leaks were searched. changed_rules: the defaults of those rules that differ from them. estimated_noise: nominal level and
    estimate, with its interval, of each set that has one.
    """

    root_sha256: str
    problems: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    leak_rules: dict[str, Any] = field(default_factory=dict)
    changed_rules: dict[str, Any] = field(default_factory=dict)
    leak_search: str = ""
    """What was looked for, and what was not."""
    estimated_noise: dict[str, dict[str, Any]] = field(default_factory=dict)


def verify(dataset: str) -> Verification:
    """Read every file of a dataset, and check everything that its manifests promise.

    Checked are: digests, sizes and rows of every shard; schema, order and uniqueness of the rows; labels and
    `is_clean`; counts and noise of every class against manifest and level; that each set is what its name says; that
    levels nest and colors replace or relabel the same images; that every image decodes, is the same in all sets and has
    the size of the others; that no training image is, or looks like, a test image (with new fingerprints); that the card
    and the Croissant file are those of the build, and that the folder holds nothing else. Of fixed sets, noise and nesting
    are not promised: their noise must be what the manifest states, and leaks that only they have are counted.
    Memory depends on the size of a bucket and on the number of test images, not on the number of images. Raises
    DataError only if there is no dataset.
    """
    plan, buckets = plan_verification(dataset)
    tally = Tally()
    tests: list[bytes] = []
    near = [np.empty(0, np.uint64)]
    with GroupedFile() as clean_images, GroupedFile() as training:
        for bucket in buckets:
            result = check_bucket(bucket, plan)
            tally.merge(result.tally)
            for group, packed in result.clean_images.items():
                clean_images.add(group, packed)
            if result.test_hashes:
                tests.append(result.test_hashes)
            if result.training_hashes:
                training.add(result.training_group, result.training_hashes)
        for parts in clean_images.groups():
            tally.merge(check_clean_images(parts, plan))
        if plan.rules:
            test = join_hashes(tests)
            near += [near_keys(test, parts, plan.rules) for parts in training.groups()]
    keys = np.unique(np.concatenate(near))
    involved = [rows for bucket in buckets if (rows := read_near(bucket, plan, keys))]
    return conclude(plan, tally, find_near_leaks(involved, plan))


def conclude(plan: VerificationPlan, tally: Tally, leaks: Leaks) -> Verification:
    """Return the result, from the sums over all buckets and the leaks."""
    unreadable = {name for name in plan.sets if ("unreadable", name) in tally.findings}
    sets = [
        each for name, each in sorted(plan.sets.items()) if name != SHARED_IMAGES and name not in unreadable
    ]
    problems = list(plan.problems)
    for _, each in sorted(plan.sets.items()):
        problems += _problems_of_set(each, tally)
    problems += _wrong_sizes(tally, plan.resize)
    problems += _problems_across(plan, tally, unreadable)
    counts = {
        "sets": len(sets),
        "examples": sum(tally.counts[("rows", each.name)] for each in sets),
        "images": tally.counts[("images",)],
    }
    if withheld := sum(each.withheld for each in sets):
        counts["withheld_rows"] = withheld
    if plan.rules:
        problems += _leak_problems(plan, tally, leaks, unreadable, counts)
    rules = (output_values(plan.rules), changed_rules(plan.rules)) if plan.rules else ({}, {})
    estimates = {
        each.name: {"noise_level": each.about.get("noise_level"), "estimated_noise": found}
        for each in sets
        if isinstance(found := each.about.get("estimated_noise"), dict)
    }
    search = _leak_search(plan, counts)
    return Verification(plan.root_sha256, tuple(problems), counts, *rules, search, estimates)


def _leak_search(plan: VerificationPlan, counts: Mapping[str, int]) -> str:
    """State the result of the search in one sentence that names its limits."""
    if not plan.rules or "leaks" not in counts:
        return "leaks were not searched"
    text = f"{counted(counts['leaks'], 'leak')} {hash_search(plan.rules)}; {unseen_by_hashes(plan.rules)} were not looked for"
    if plan.altered is None:
        return text
    found = f"{counted(plan.altered, 'altered copy', 'altered copies')} of test images by features"
    return (
        f"{text} here; the build found {found}; verify cannot repeat this search, since it needs the weights of the embedding "
        "network (embed.weights)"
    )


def changed_rules(rules: DedupeConfig) -> dict[str, Any]:
    """Return the rules that differ from the defaults, by name, with the default of each."""
    default = output_values(DedupeConfig())
    return {name: default[name] for name, value in output_values(rules).items() if value != default[name]}


def _problems_of_set(planned: PlannedSet, tally: Tally) -> Iterator[str]:
    name = planned.name
    unreadable = tally.findings.get(("unreadable", name))
    if unreadable:
        more = unreadable.count - 1
        yield unreadable.example + (f" ({more:,} more shards of {name} are unreadable)" if more else "")
    for rule in _RULES_OF_IMAGES if unreadable else _RULES_OF_A_SET:
        text = _RULES_OF_A_SET[rule]
        if rule == "source" and name == TEST_SET:
            text = "rows that are not right examples of the test lists"
        finding = tally.findings.get((rule, name))
        if rule == "no_image" and planned.withheld:
            missing = finding.count if finding else 0
            if missing != planned.withheld:
                yield f"{name}: {missing:,} rows have no image, the manifest says {planned.withheld:,}"
        elif finding:
            yield f"{name}: {_counted(text, finding)}"
    if name == SHARED_IMAGES or unreadable:
        return
    rows = tally.counts[("rows", name)]
    if rows != planned.rows:
        yield f"{name}: {rows} rows, the manifest says {planned.rows}"
    if ("label", name) not in tally.findings:
        yield from _noise_problems(planned, tally, rows)


def _counted(text: str, finding: Finding) -> str:
    example = f", for example {finding.example}" if finding.example else ""
    return f"{text} ({finding.count:,}{example})"


def _noise_problems(planned: PlannedSet, tally: Tally, rows: int) -> Iterator[str]:
    name, about = planned.name, planned.about
    counts = tally.class_counts.get(name, np.zeros((3, len(about["class_names"])), np.int64))
    classes = class_noise(counts[0], counts[1], about["class_names"])
    if classes != about["classes"]:
        yield f"{name}: the rows or the noise of a class differ from those in the manifest"
    without = [about["class_names"][i] for i in np.flatnonzero(counts[2] == 0)] if about.get("color") else []
    if without != about.get("classes_without_clean", []):
        yield f"{name}: the classes without a clean image ({', '.join(without) or 'none'}) are not those of the manifest"
    if estimated := about.get("estimated_noise"):
        share = tally.counts[("p_wrong", name)] / MILLION / max(1, rows)
        if not isinstance(estimated, dict) or abs(share - estimated.get("value", -1)) > ROUNDING:
            yield f"{name}: the sum of p_wrong ({share:.2%} of the labels) is not the estimated noise of the manifest"
    if planned.is_fixed:
        share, stated = (
            round(int(counts[1].sum()) / max(1, rows), 6),
            about["fixed_set"].get("realized_noise"),
        )
        if share != stated:
            yield f"{name}: the share {share} of its labels is wrong, the manifest says {stated}"
    elif about.get("on_shortage") != "cap":  # which promises no noise level
        yield from (f"{name}: {problem}" for problem in noise_problems(classes, about))


def noise_problems(classes: list[dict[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    """Compare the noise of a set (`class_noise`) with the level in its manifest.

    The number of wrong labels is the rounded level, and each class has its share of it, to within one image. If clean
    images may have been left out (`shrink`), the total is within half an image of the level, and each class within one
    and a half: half of one is the rounding of the total before.
    """
    level, shrunk = about["noise_level"], about.get("on_shortage") == "shrink"
    rows, noisy = (sum(row[name] for row in classes) for name in ("rows", "noisy"))
    total = round(level * rows)
    if noisy != total if not shrunk else abs(noisy - level * rows) > 0.5 + 1e-9:
        yield f"{noisy} of {rows} labels are wrong instead of {total} ({level:.1%})"
    for row in classes:
        if shrunk:
            exact = abs(row["noisy"] - level * row["rows"]) < 1.5
        else:
            exact = abs(row["noisy"] * rows - total * row["rows"]) < max(1, rows)
        if not exact:
            yield f"class {row['class']}: {row['noisy']} of {row['rows']} labels are wrong instead of {level:.1%}"


def _wrong_sizes(tally: Tally, resize: str) -> Iterator[str]:
    """Report the images of each size but the most frequent one; `fit` makes the longer side equal, `none` no side."""

    def text(size: tuple[int, ...]) -> str:
        return "×".join(map(str, size)) + (" at the longer side" if resize == "fit" else "")

    most = max(tally.sizes, key=lambda size: (tally.sizes[size].count, size), default=())
    for size, finding in sorted(tally.sizes.items()):
        if size != most:
            yield _counted(f"images that are {text(size)} instead of {text(most)}", finding)


def _problems_across(plan: VerificationPlan, tally: Tally, unreadable: set[str]) -> Iterator[str]:
    """Report levels that do not nest, and colors that use other clean images."""
    drawn = plan.drawn()
    for rule, pairs, text in (
        ("nesting", nested_pairs(plan), "{1} lacks wrong examples of {0}"),
        ("clean_images", same_clean_images(drawn), "{1} is not made of the clean images of {0}"),
        ("changed", same_noisy_images(drawn), "{0} and {1} do not replace or relabel the same clean images"),
    ):
        for first, other in pairs:
            finding = tally.findings.get((rule, first.name, other.name))
            if finding and not {first.name, other.name} & unreadable:
                yield _counted(text.format(first.name, other.name), finding)


def _leak_problems(
    plan: VerificationPlan, tally: Tally, leaks: Leaks, unreadable: set[str], counts: dict[str, int]
) -> Iterator[str]:
    """Report leaks, and add to `counts` what was compared."""
    if TEST_SET not in plan.sets or TEST_SET in unreadable:
        yield "there is no readable test set, so leaks cannot be excluded"
        return
    if both := tally.findings.get(("both",)):
        yield _counted("test images that are also training images", both)
    test = tally.counts[("test_images",)]
    counts |= {"leak_comparisons": test * (tally.counts[("images",)] - test), "leaks": 0}
    if any(each.is_fixed for each in plan.sets.values()):
        counts["leaks_only_in_fixed_sets"] = 0
    counts["flat_images"] = tally.counts[("flat",)]
    counts |= leaks.counts
    yield from leaks.examples
    if (more := counts["leaks"] - SHOWN_LEAKS) > 0:
        yield f"… and {more:,} more training images that look like test images"
