"""One sentence about how leaks were searched, and what was not looked for, for manifest, card, report and `verify`."""

from collections.abc import Mapping
from typing import Any

from common.config import build
from pipeline.config import DedupeConfig

_ORIENTATIONS = {
    "none": "copies as they are",
    "mirrored": "mirrored copies included",
    "all": "mirrored, flipped and rotated copies included",
}
_UNSEEN = {"none": "mirrored and rotated copies", "mirrored": "rotated copies", "all": ""}


def hash_search(rules: DedupeConfig) -> str:
    """Describe the search by hashes: 'within 8 of 64 bits (mirrored copies included)'."""
    return f"within {rules.radius} of 64 bits ({_ORIENTATIONS[rules.orientations]})"


def unseen_by_hashes(rules: DedupeConfig) -> str:
    """Name what the search by hashes does not look for."""
    return " and ".join(filter(None, ["crops, borders", _UNSEEN[rules.orientations]]))


def leak_search(rules: DedupeConfig, features: Mapping[str, Any] | None) -> str:
    """Describe how a build searched leaks. features: the network that altered copies were searched by, None without one."""
    text = f"Searched {hash_search(rules)}"
    if not features:
        return f"{text}; {unseen_by_hashes(rules)} were not looked for."
    mirrored = "" if rules.orientations == "none" else ", mirrored or not"
    return (
        f"{text}, and altered copies (cropped by up to 12 %, with a border or text{mirrored}) among the {rules.neighbors} "
        f"nearest test images by features of {features.get('network')}."
    )


def leak_proof(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return how leaks were searched, as values and as a sentence.

    about: of the manifest of the near-duplicates, which states the rules that they were searched by.
    """
    rules, features = about["config"]["dedupe"], about.get("features")
    return {
        **rules,
        "features": features,
        "search": leak_search(build(DedupeConfig, rules, "dedupe"), features),
    }
