"""Sentences about a dataset, made from the facts of its build; the card, the metadata and the methods share them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipeline.links.summary import share_text
from pipeline.publish.facts import OVERALL_MEASURES, MeasuredValue
from pipeline.publish.release import Release
from pipeline.shards.card import estimate_text
from schemas.example import TEST_SET
from schemas.link_check import OUTCOMES

NOT_STATED = "The authors do not state it."


def percent(estimate: MeasuredValue, digits: int = 1) -> str:
    """Return '64.7 % (95 % interval 64.3 to 65.1 %)'."""
    text = f"{100 * estimate.value:.{digits}f} %"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} (95 % interval {100 * estimate.low:.{digits}f} to {100 * estimate.high:.{digits}f} %)"


def number(estimate: MeasuredValue) -> str:
    """Return '0.094 (95 % interval 0.091 to 0.098)'."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def listed(words: Iterable[str]) -> str:
    """Return 'a, b and c'."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def description(release: Release) -> str:
    """Return the description of the authors, or what the sets are."""
    if release.config.description:
        return release.config.description
    sets, classes = release.facts.sets, release.facts.classes
    return (
        f"A benchmark of controlled label noise with {len(sets) - 1:,} training sets and one test set of {len(classes):,} "
        f"classes. {manipulation(each.about for each in sets.values())} Every set states its share of wrong labels, in all and "
        "by class."
    )


def collection(release: Release) -> str:
    """Return how the images were collected."""
    facts = release.facts
    funnel = facts.root["funnel"]
    methods = [f"{count:,} by {_method(name)}" for name, count in facts.methods.items()]
    parts = [
        f"The build had {funnel.get('clean_images', 0):,} clean images, {funnel.get('test_images', 0):,} test images and "
        f"{funnel.get('candidates', 0):,} candidates, (image, class) pairs that were retrieved for the class"
        f"{': ' + listed(methods) if methods else ''}."
    ]
    if facts.candidates_with_url:
        parts.append(f"{facts.candidates_with_url:,} candidates were downloaded from the web.")
    if facts.precision:
        parts.append(f"Of the decided candidates, {percent(facts.precision)} show their class.")
    if dates := timeframe(release):
        parts.append(f"Collected {dates}.")
    return " ".join(parts)


def _method(name: str) -> str:
    return {"text": "text search", "image": "image search"}.get(name, "a method that the lists do not state")


def link_rot(release: Release) -> str:
    """Return what the table of link rot shows."""
    words = [f"{name}, {OUTCOMES[name]}" for name in release.links.checks[-1].shares]
    return (
        "The URLs of the lists that gave an image were requested again, with the limits and opt-outs of the first download. "
        f"Shares of URLs by outcome, with 95 % Wilson intervals; {'; '.join(words)}."
    )


def timeframe(release: Release) -> str:
    """Return 'from … to …' for the days that the authors state, or nothing."""
    first, last = release.config.collected_from, release.config.collected_until
    return " ".join([*(["from", first] if first else []), *(["to", last] if last else [])])


def preprocessing(release: Release) -> list[str]:
    """Return what was done with the images, one sentence for each step."""
    facts = release.facts
    ingest = facts.stages["ingest"].get("ingest", {})
    funnel = facts.root["funnel"]
    steps = []
    if ingest:
        size = "their size" if ingest["resize"] == "none" else f"{ingest['size']} pixels ({ingest['resize']})"
        steps.append(
            f"Images were decoded, checked, brought to {size} and encoded once as {ingest['format'].upper()}."
        )
    if rejected := sum(facts.list_rejections.values()):
        steps.append(f"{rejected:,} list rows gave no image; each was rejected with a code.")
    steps.append(duplicates(release))
    steps.append(
        f"{funnel.get('candidates_wrong', 0):,} candidates were verified as wrong; {funnel.get('wrong_images', 0):,} different "
        "images of them could replace a clean image."
    )
    return steps


def duplicates(release: Release) -> str:
    """Return how near-duplicates and leaks of test images were found and removed."""
    leaks = release.facts.root["leaks"]
    removed = sum(int(leaks.get(name, 0)) for name in ("near_clean", "near_web"))
    clean = leaks.get("leak_clean", 0)
    oriented = {"mirrored": ", also mirrored", "all": ", also mirrored and rotated"}.get(
        leaks.get("orientations"), ""
    )
    fate = "removed" if leaks.get("clean_leaks") == "remove" else "reported and kept"
    return (
        f"Near-duplicates were found by perceptual hashes, at most {leaks['radius']} of 64 and {leaks['confirm_radius']} of "
        f"256 bits apart{oriented}, among {leaks.get('image_pairs', 0):,} pairs of images: {removed:,} near-duplicates of other kept "
        f"training images were removed, {leaks.get('leak_web', 0):,} web images that are near-duplicates of test images were "
        f"removed, and {clean:,} such clean images were {fate}. {leaks.get('search', '')}".strip()
    )


def annotation(release: Release) -> str:
    """Return how the votes were collected and combined."""
    votes, config = release.facts.votes, release.config
    rule = release.facts.stages["aggregate"].get("aggregate", {})
    if not votes.questions:
        return "No votes were collected."
    method = (
        f"method {rule['method']}, at least {rule['min_votes']} votes, ties: {rule['ties']}"
        if rule
        else "votes"
    )
    verdicts = listed(f"{count:,} {name}" for name, count in sorted(votes.verdicts.items()))
    answers = [name for name in ("yes", "no", "unsure") if votes.answers.get(name)]
    return (
        f"{votes.workers:,} workers gave {votes.votes:,} valid votes ({listed(answers)}) on {votes.questions:,} questions: "
        f'"{config.question}" The votes were combined into verdicts ({method}): {verdicts}. Web images with the verdict no '
        "are used as wrong examples. Labels of clean and test images are those of their lists."
    )


def per_item(release: Release) -> str:
    """Return the number of votes per question."""
    counts = release.facts.votes.per_question
    if not counts:
        return "0"
    if len(counts) == 1:
        return str(next(iter(counts)))
    numbers = sorted(counts)
    middle = np.searchsorted(np.cumsum([counts[n] for n in numbers]), sum(counts.values()) / 2)
    median = numbers[int(middle)]
    return f"{min(counts)} to {max(counts)} (median {median})"


def agreement(release: Release) -> list[str]:
    """Return the agreement of the workers, one sentence for each measure."""
    votes = release.facts.votes
    found = [f"{OVERALL_MEASURES[name]}: {number(each)}." for name, each in votes.agreement.items()]
    if len(votes.by_class) > 1:
        low = min(votes.by_class, key=lambda name: (votes.by_class[name].value, name))
        high = max(votes.by_class, key=lambda name: (votes.by_class[name].value, name))
        found.append(
            f"Krippendorff's α is lowest for {low}, {number(votes.by_class[low])}, and highest for {high}, "
            f"{number(votes.by_class[high])}."
        )
    return found


def noise(release: Release) -> list[str]:
    """Return what the noise levels mean, and what is known about the true share of wrong labels."""
    estimates = [
        f"{name} {text}" for name, each in release.facts.sets.items() if (text := estimate_text(each.about))
    ]
    return [
        *meaning_of_levels(each.about for each in release.facts.sets.values()),
        f"Estimated true noise with 95 % intervals: {listed(estimates)}."
        if estimates
        else "This build has no estimate of the true share.",
    ]


def meaning_of_levels(sets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what the noise levels of red, blue and fixed sets mean, by what the manifests of all sets state."""
    drawn, fixed = _drawn_and_fixed(sets)
    found = []
    if any(about["color"].startswith("red") for about in drawn):
        found.append(
            "The nominal noise of a red set counts verdicts: every wrong example is an image that the workers' votes call "
            "wrong. The share of labels that are truly wrong differs as far as the votes err."
        )
    if any(about["on_shortage"] == "cap" for about in drawn):
        found.append(
            "A class with too few wrong images has less noise than the level (see the realized noise)."
        )
    if fixed:
        found.append(
            "Sets given by a list have the noise that was measured, and web images without a verdict count as wrong in them."
        )
    if any(about["color"].startswith("blue") for about in drawn):
        found.append("The noise of a blue set counts clean labels as right.")
    return found


def _drawn_and_fixed(
    sets: Iterable[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return what the manifests of drawn training sets state, and those of sets that a list gives."""
    training = [about for about in sets if about.get("color")]
    return (
        [about for about in training if not about.get("fixed_set")],
        [about for about in training if about.get("fixed_set")],
    )


def uses(release: Release) -> list[str]:
    """Return the intended uses."""
    return [
        "Training and evaluation of methods that learn from wrong labels, by noise level and kind of noise.",
        "Evaluation of methods that find wrong labels or combine votes.",
        *release.config.intended_uses,
    ]


def limitations(release: Release) -> list[str]:
    """Return the limits that the build shows, and those that the authors add."""
    facts = release.facts
    found = [
        "The columns is_clean and true_label are for evaluation; a method that reads them in training has seen the answer.",
        *meaning_of_levels(each.about for each in facts.sets.values()),
    ]
    if len(facts.sets) > 2:
        found.append("Training sets share clean images, so that results on two sets are not independent.")
    smallest = min((row["rows"] for row in facts.sets[TEST_SET].about["classes"]), default=0)
    found.append(
        f"The test set has {facts.sets[TEST_SET].rows:,} images, {smallest:,} of the smallest class, which bounds the "
        "precision of an accuracy."
    )
    if release.images.withheld_images:
        found.append(
            f"{release.images.withheld_images:,} of {release.images.images:,} images are not part of the publication for their "
            f"license; withheld.csv lists them with their digests; {release.images.withheld_urls}."
        )
    if release.links.checks:
        last = release.links.checks[-1]
        same = last.shares.get("same")
        found.append(
            f"Images vanish from the web: on {last.started_at:%Y-%m-%d}, {share_text(same) if same else 'none'} of "
            f"{last.urls:,} URLs still gave the same bytes."
        )
    return [*found, *release.config.limitations]


def biases(release: Release) -> list[str]:
    """Return the biases of web search and of votes, and those that the authors add."""
    found = []
    if release.facts.methods:
        found.append(
            "Web images are what a search returned for a class: content that the search prefers may be overrepresented, and "
            "wrong images follow the confusions of the search."
        )
    if release.facts.votes.suspicious:
        found.append(
            f"{release.facts.votes.suspicious:,} of {release.facts.votes.workers:,} workers have suspicious answers; "
            "their votes count like those of others unless the aggregation method models workers."
        )
    found.append("Class frequencies are those of the lists, not those of the world.")
    return [*found, *release.config.biases]


def personal(release: Release) -> str:
    """Return the statement on personal and sensitive information."""
    images = release.config.personal_information or (
        "Images were not searched for faces, license plates or other personal information, and may show persons. "
        "Requests to remove an image: " + release.contact + "."
    )
    if release.votes:
        return f"{images} Each worker id was replaced by a keyed hash whose key is not published."
    return f"{images} Worker ids are not published, only counts of votes."


def social_impact(release: Release) -> str:
    """Return the statement on social impact."""
    return release.config.social_impact or (
        "The dataset serves research on wrong labels. It is no sample of the world, and models trained on it are not meant for "
        "decisions about people."
    )


def maintenance(release: Release) -> str:
    """Return who maintains the dataset, and how versions change."""
    if release.config.maintenance:
        return release.config.maintenance
    return (
        f"Version {release.config.version}. Versions are semantic: a new major version has other examples, a minor one more "
        f"sets or columns, a patch the same data. Questions and requests to remove an image: {release.contact}."
    )


def demographics(release: Release) -> str:
    """Return what the authors state about the workers as a group."""
    return release.config.annotator_demographics or NOT_STATED


def training_sets(sets: Iterable[Mapping[str, Any]], seed: int) -> str:
    """Say which training sets were drawn, by color and level, and which a list gives; `sets`: what all manifests state."""
    drawn, fixed = _drawn_and_fixed(sets)
    by_color: dict[str, list[float]] = {}
    for about in drawn:
        by_color.setdefault(about["color"], []).append(about["noise_level"])
    levels = [
        f"{color} ({', '.join(f'{100 * value:g}' for value in sorted(set(values)))} %)"
        for color, values in by_color.items()
    ]
    found = [f"Training sets were drawn with seed {seed}: {'; '.join(levels)}."] if levels else []
    if fixed:
        found.append(f"Training sets given by a list: {listed(about['set_name'] for about in fixed)}.")
    return " ".join(found)


def manipulation(sets: Iterable[Mapping[str, Any]]) -> str:
    """Say how drawn sets get wrong labels, by what the manifests of all sets state."""
    drawn, fixed = _drawn_and_fixed(sets)
    found = []
    if any(about["color"].startswith("red") for about in drawn):
        found.append(
            "In red sets, verified-wrong web images replace clean images of the same class, and the label stays."
        )
    if any(about["color"].startswith("blue") for about in drawn):
        found.append("In blue sets, labels of clean images are flipped.")
    if fixed:
        found.append("Sets given by a list have the images and labels of the list.")
    return " ".join(found)


def class_counts(sets: Iterable[Mapping[str, Any]]) -> str:
    """Say how the wrong labels of drawn sets are divided among the classes, by what the manifests of all sets state."""
    drawn, _ = _drawn_and_fixed(sets)
    if not drawn:
        return "The sets are exactly as they were listed."
    shortage = (
        ", except where a class has too few wrong images for the level"
        if any(about["on_shortage"] == "cap" for about in drawn)
        else ""
    )
    nesting = (
        ", and a higher level contains the noise of a lower one"
        if all(about["nested"] for about in drawn)
        else "; each level was drawn on its own"
    )
    return (
        "Counts per class follow the quota method of Balinski and Young (1975): each class is within one image of the level"
        f"{shortage}{nesting}."
    )
