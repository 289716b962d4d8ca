from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DedupeConfig
from pipeline.dedupe.groups import RULES, find_duplicates
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from tests.pipeline.dedupe.samples import NOISE

CONFIG = DedupeConfig(radius=8, confirm_radius=8, orientations="none")


def thumbnail(short, long):
    """Thumbnail of a detailed image, with the hashes in the lowest bits of its gray levels."""
    hashes = np.frombuffer(short.to_bytes(8, "big") + long.to_bytes(32, "big"), np.uint8)
    bits = np.unpackbits(hashes)
    return np.concatenate([NOISE[: len(bits)] & 0xFE | bits, NOISE[len(bits) :]]).tobytes()


def image(image_id, source, short, side=10, sharpness=1.0, size=1, sha256=None, contrast=50.0, long=None):
    """An image row; by default the 256-bit hash is the short one padded with zeros."""
    return {
        "image_id": image_id,
        "source": source,
        "width": side,
        "height": side,
        "sharpness": sharpness,
        "bytes_in": size,
        "sha256": sha256 or f"sha of {image_id}",
        "contrast": contrast,
        "phash": short,
        "phash_256": (short if long is None else long).to_bytes(32, "big"),
        "thumbnail": thumbnail(short, short if long is None else long),
    }


def duplicates(*rows, config=CONFIG):
    frame = pd.DataFrame(rows).astype({"phash": np.uint64})
    hashes, repeats = distinct_hashes(frame["phash"].to_numpy())
    near = HashPairs.join([near_pairs(hashes, config.radius), repeats])
    return {row["image_id"]: row for row in find_duplicates(frame, near, config)[0].to_pylist()}


def summary(result):
    return {name: (row["keeper_id"], row["reason"], row["removed"]) for name, row in result.items()}


@pytest.mark.parametrize(
    ("rule", "better", "worse"),
    [
        ("source", image("z", "clean", 0, 10, 1, 1), image("a", "web", 0, 99, 9, 9)),
        ("pixels", image("z", "web", 0, 20, 1, 1), image("a", "web", 0, 10, 9, 9)),
        ("sharpness", image("z", "web", 0, 10, 2, 1), image("a", "web", 0, 10, 1, 9)),
        ("bytes", image("z", "web", 0, 10, 1, 2), image("a", "web", 0, 10, 1, 1)),
        ("id", image("a", "web", 0), image("z", "web", 0)),
    ],
)
@pytest.mark.parametrize("distance", [0, 1])
def test_the_first_rule_that_differs_decides_the_keeper(rule, better, worse, distance):
    worse = image(**{"short": distance} | {
        key: worse[column]
        for key, column in [("image_id", "image_id"), ("source", "source"), ("side", "width"),
                            ("sharpness", "sharpness"), ("size", "bytes_in")]
    })  # fmt: skip
    for rows in ([better, worse], [worse, better]):
        row = duplicates(*rows)[worse["image_id"]]
        assert (row["keeper_id"], row["rule"], row["reason"]) == (better["image_id"], rule, "near")
        assert (row["distance"], row["distance_256"], row["removed"]) == (distance, distance, True)


def test_copies_of_a_file_are_exact_and_similar_images_are_near():
    result = duplicates(
        image("a", "web", 5, sha256="x"), image("b", "web", 5, sha256="x"), image("c", "web", 5)
    )
    assert summary(result) == {"b": ("a", "exact", True), "c": ("a", "near", True)}


def test_the_long_hash_must_confirm_a_pair():
    assert duplicates(image("a", "web", 5, long=0), image("b", "web", 5, long=2**9 - 1)) == {}
    assert summary(duplicates(image("a", "web", 5, long=0), image("b", "web", 5, long=2**8 - 1))) == {
        "b": ("a", "near", True)
    }


def test_every_image_near_a_test_image_is_removed_as_a_leak():
    result = duplicates(
        image("t", "test", 0), image("c", "clean", 1), image("w", "web", 3), image("x", "web", 0)
    )
    assert summary(result) == dict.fromkeys("cwx", ("t", "leak", True))


def test_a_leak_is_shown_beside_the_nearest_test_image():
    result = duplicates(image("s", "test", 0), image("t", "test", 0b0111), image("w", "web", 0b1111))
    assert summary(result)["w"] == ("t", "leak", True)


def test_test_images_are_reported_and_kept():
    assert summary(duplicates(image("s", "test", 0), image("t", "test", 0))) == {"t": ("s", "near", False)}


def test_clean_leaks_are_kept_where_the_configuration_says_so_and_web_leaks_never():
    rows = [image("t", "test", 0), image("c", "clean", 0), image("d", "clean", 0), image("w", "web", 0)]
    result = summary(duplicates(*rows, config=replace(CONFIG, clean_leaks="keep")))
    assert result == {"c": ("t", "leak", False), "d": ("c", "near", True), "w": ("t", "leak", True)}


def test_a_chain_does_not_pull_unlike_pictures_together():
    # a ~ b ~ c, but a and c are unlike: b goes for a, and c stays.
    chain = image("a", "web", 0, 30), image("b", "web", 2**6 - 1, 20), image("c", "web", 2**12 - 1, 10)
    assert summary(duplicates(*chain)) == {"b": ("a", "near", True)}


def test_flat_pictures_are_duplicates_only_of_the_same_bytes():
    flat = [
        image("t", "test", 1, contrast=0.5, sha256="black"),
        image("c", "clean", 1, contrast=0.5, sha256="black"),
        image("w", "web", 1, contrast=0.5, sha256="white"),
        image("x", "web", 1, contrast=0.5, sha256="white"),
        image("y", "web", 1, contrast=0.5),
        image("z", "web", 1),
    ]
    assert summary(duplicates(*flat)) == {"c": ("t", "leak", True), "x": ("w", "exact", True)}


IMAGES = st.lists(
    st.builds(
        lambda source, bits, side, contrast, copy: (source, bits, side, contrast, copy),
        st.sampled_from(["test", "clean", "web"]),
        st.sets(st.integers(0, 16), max_size=9).map(lambda bits: sum(1 << bit for bit in bits)),
        st.integers(5, 7),
        st.sampled_from([1.0, 50.0, 50.0]),
        st.sampled_from("xyz"),
    ),
    min_size=1,
    max_size=14,
)


@settings(deadline=None, max_examples=60)
@given(IMAGES, st.sampled_from(["remove", "keep"]), st.integers(0, 8), st.randoms())
def test_the_order_does_not_matter_and_nothing_near_is_left(drawn, clean_leaks, radius, random):
    config = replace(CONFIG, radius=radius, confirm_radius=radius, clean_leaks=clean_leaks)
    rows = [
        # Files with the same bytes have the same hash, so the digest contains the hash bits.
        image(f"i{i}", source, bits, side, sha256=f"{copy}{bits}{contrast}", contrast=contrast)
        for i, (source, bits, side, contrast, copy) in enumerate(drawn)
    ]
    result = duplicates(*rows, config=config)
    mixed = random.sample(rows, len(rows))
    assert duplicates(*mixed, config=config) == result

    def near(a, b):
        if a["sha256"] == b["sha256"]:
            return True
        flat = min(a["contrast"], b["contrast"]) < config.min_contrast
        return not flat and (a["phash"] ^ b["phash"]).bit_count() <= radius

    by_id = {row["image_id"]: row for row in rows}
    removed = {name for name, row in result.items() if row["removed"]}
    left = [row for row in rows if row["image_id"] not in removed]
    for i, a in enumerate(left):
        for b in left[:i]:
            kinds = {a["source"], b["source"]}
            allowed = kinds == {"test"} or (clean_leaks == "keep" and kinds == {"test", "clean"})
            assert allowed or not near(a, b), "two near images are never both left"
    for name, row in result.items():
        assert near(by_id[name], by_id[row["keeper_id"]]), "whatever goes is near what stays for it"
        assert row["keeper_id"] not in removed
        assert by_id[name]["source"] != "test" or not row["removed"]
        assert row["rule"] in RULES
