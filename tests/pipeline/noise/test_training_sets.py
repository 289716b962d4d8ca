import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipeline.config import PAPER_LEVELS, NoiseConfig
from pipeline.noise.examples import noise_by_class
from pipeline.noise.training_sets import training_sets

NAMES = ("ant", "bee", "cow")
CONFIG = NoiseConfig(levels=(0.0, 0.1, 0.25, 0.5), colors=("red", "red-text", "blue", "blue-asymmetric"))


def pools(clean_each=20, wrong_each=30):
    clean = pd.DataFrame(
        [(f"c{label}-{i}", label, None) for label in range(3) for i in range(clean_each)],
        columns=["image_id", "label", "url"],
    )
    wrong = pd.DataFrame(
        [
            {
                "image_id": f"w{label}-{i}",
                "label": label,
                "true_label": (label + 1) % 3 if i % 2 else pd.NA,
                "method": "image" if i % 5 == 0 else "text",
                "rank": i,
                "url": None,
                "votes_yes": 1,
                "votes_no": 2,
                "votes_unsure": 0,
                "confidence": 2 / 3,
            }
            for label in range(3)
            for i in range(wrong_each)
        ]
    )
    return clean, wrong


def made(config=CONFIG, seed=0, **sizes):
    return {
        split.name: split.listed.examples.to_pylist()
        for split in training_sets(*pools(**sizes), NAMES, config, seed)
    }


def noisy(rows):
    return {(row["image_id"], row["label"]) for row in rows if not row["is_clean"]}


@settings(deadline=None, max_examples=25)
@given(
    st.integers(5, 30), st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), st.integers(0, 5)
)
def test_every_set_has_exactly_its_noise_and_no_image_twice(clean_each, percents, seed):
    config = NoiseConfig(
        levels=tuple(percent / 100 for percent in percents), colors=("red", "blue", "blue-asymmetric")
    )
    for split in training_sets(*pools(clean_each), NAMES, config, seed):
        rows = split.listed.examples.to_pylist()
        ids = [row["image_id"] for row in rows]
        assert len(set(ids)) == len(ids) == 3 * clean_each
        assert len(noisy(rows)) == round(split.noise_level * len(ids))
        for entry in noise_by_class(split.listed.examples, NAMES):
            assert abs(entry["noisy"] - split.noise_level * entry["rows"]) < 1


@settings(deadline=None, max_examples=15)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_rows_changes_no_set(random, nested):
    config = dataclasses.replace(CONFIG, nested=nested)
    clean, wrong = pools()
    shuffled = [rows.sample(frac=1, random_state=random.randrange(1 << 30)) for rows in (clean, wrong)]
    for one, other in zip(
        training_sets(clean, wrong, NAMES, config, 0), training_sets(*shuffled, NAMES, config, 0), strict=True
    ):
        assert one.name == other.name
        assert one.listed.examples.equals(other.listed.examples)


@settings(deadline=None, max_examples=10)
@given(st.permutations(NAMES))
def test_a_class_map_decides_every_asymmetric_label(order):
    targets = dict(zip(order, [*order[1:], order[0]], strict=True))
    sets = made(dataclasses.replace(CONFIG, class_map=targets, colors=("blue-asymmetric",)))
    for row in sets["blue-asymmetric-0.50"]:
        expected = NAMES[row["true_label"]] if row["is_clean"] else targets[NAMES[row["true_label"]]]
        assert NAMES[row["label"]] == expected


def test_levels_nest_in_every_color():
    sets = made()
    for color in CONFIG.colors:
        family = [noisy(sets[f"{color}-{level:.2f}"]) for level in CONFIG.levels]
        assert all(lower <= higher for lower, higher in pairwise(family))


def test_another_list_of_levels_changes_no_set():
    base, other = made(), made(dataclasses.replace(CONFIG, levels=(0.25, 0.4)))
    for name in ("red-0.25", "blue-0.25"):
        assert base[name] == other[name]


def test_trials_are_independent_draws_and_the_first_is_the_plain_build():
    base, more = made(), made(dataclasses.replace(CONFIG, trials=2))
    assert {name: rows for name, rows in more.items() if "trial" not in name} == base
    assert noisy(more["red-0.50-trial-1"]) != noisy(more["red-0.50"])
    assert noisy(more["blue-0.50-trial-1"]) == noisy(made(seed=1)["blue-0.50"])


def test_the_published_sizes_red_is_a_part_and_blue_is_all():
    sets = made(dataclasses.replace(CONFIG, clean_per_class=12, blue_size="all"))
    assert len(sets["red-0.25"]) == 36
    assert len(sets["blue-0.25"]) == 60
    assert {r["replaced"] or r["image_id"] for r in sets["red-0.25"]} <= {
        r["image_id"] for r in sets["blue-0.00"]
    }


def test_asymmetric_by_votes_goes_where_the_wrong_images_come_from():
    sets = made(dataclasses.replace(CONFIG, class_map="votes", colors=("blue-asymmetric",)))
    assert {(r["true_label"], r["label"]) for r in sets["blue-asymmetric-0.50"] if not r["is_clean"]} == {
        (0, 1), (1, 2), (2, 0),
    }  # fmt: skip


def test_red_text_takes_its_shortage_from_the_images_found_by_text():
    with pytest.raises(DataError, match="red-text: too few"):
        made(
            dataclasses.replace(CONFIG, colors=("red", "red-text")), wrong_each=11
        )  # 11 wrong ones of each class, 8 of them by text; 10 are needed
    assert made(dataclasses.replace(CONFIG, colors=("red", "blue")), wrong_each=11)


@pytest.mark.parametrize("wrong_each", [2, 11, 17])
def test_without_levels_those_of_the_paper_are_made_as_far_as_the_wrong_images_reach(wrong_each: int):
    config = NoiseConfig(colors=("red", "blue"))
    found = {name.partition("-")[2] for name in made(config, wrong_each=wrong_each)}
    expected = {f"{level:.2f}" for level in PAPER_LEVELS if level * 20 <= wrong_each}
    assert found == expected
    assert made(config, wrong_each=wrong_each).keys() == {
        f"{c}-{level}" for c in ("red", "blue") for level in expected
    }


def test_without_levels_and_without_wrong_images_the_reason_is_told():
    with pytest.raises(DataError, match=r"too few verified wrong images for noise level 0\.05"):
        made(NoiseConfig(), wrong_each=1, clean_each=40)


def test_no_levels_make_no_sets():
    assert made(NoiseConfig(levels=())) == {}


def test_a_class_without_clean_images_is_named():
    clean, wrong = pools()
    with pytest.raises(DataError, match="no clean images left of bee"):
        list(training_sets(clean[clean["label"] != 1], wrong, NAMES, CONFIG, 0))


def test_it_makes_the_published_benchmark_at_true_scale():
    # 100 classes of 600, red with 500 of each: the published sizes wherever there are enough wrong images.
    rng = np.random.default_rng(0)
    clean = pd.DataFrame(
        {"image_id": [f"n{i:017d}" for i in range(60_000)], "label": np.arange(60_000) % 100, "url": None}
    )
    n = 54_400
    wrong = pd.DataFrame({"image_id": [f"{v:016x}" for v in rng.permutation(n)], "label": np.arange(n) % 100})
    wrong = wrong.assign(
        true_label=pd.NA,
        method="text",
        rank=0,
        url=None,
        votes_yes=0,
        votes_no=3,
        votes_unsure=0,
        confidence=1.0,
    )
    config = NoiseConfig(colors=("red", "blue"), clean_per_class=500, blue_size="all", levels=(0.3, 0.8))
    sizes = {
        s.name: s.listed.examples.num_rows
        for s in training_sets(clean, wrong, [f"c{i}" for i in range(100)], config, 0)
    }
    assert sizes == {"red-0.30": 50_000, "red-0.80": 50_000, "blue-0.30": 60_000, "blue-0.80": 60_000}
