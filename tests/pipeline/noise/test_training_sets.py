import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipeline.noise.examples import noise_by_class
from pipeline.noise_config import PAPER_LEVELS, NoiseConfig
from tests.pipeline.noise.pool_tables import drawn_sets, part_of

NAMES = ("ant", "bee", "cow")
CONFIG = NoiseConfig(levels=(0.0, 0.1, 0.25, 0.5), colors=("red", "red-text", "blue", "blue-asymmetric"))


def pools(clean_each=20, wrong_each=30, names=NAMES):
    """Rows of the retrieval table and of the verdicts; every other wrong image is known to show the next class."""
    retrievals = [
        {"image_id": f"c{label}-{i}", "class_name": name, "source": "clean"}
        for label, name in enumerate(names)
        for i in range(clean_each)
    ]
    verdicts = []
    for label, name in enumerate(names):
        for i in range(wrong_each):
            row = {
                "image_id": f"w{label}-{i}",
                "source": "web",
                "method": "image" if i % 5 == 0 else "text",
                "rank": i,
            }
            retrievals.append({**row, "class_name": name})
            verdicts.append(verdict(f"w{label}-{i}", name, "no"))
            if i % 2:
                shown = names[(label + 1) % len(names)]
                retrievals.append({**row, "class_name": shown})
                verdicts.append(verdict(f"w{label}-{i}", shown, "yes"))
    return retrievals, verdicts


def verdict(image_id, class_name, answer, p_wrong=None):
    yes, no = (2, 1) if answer == "yes" else (1, 2)
    counts = {
        "yes": yes,
        "no": no,
        "unsure": 0,
        "confidence": 2 / 3,
        "posterior": yes / 3,
        "p_wrong": p_wrong,
    }
    return {"image_id": image_id, "class_name": class_name, "verdict": answer, **counts}


def draw(config=CONFIG, seed=0, names=NAMES, **sizes):
    return drawn_sets(part_of(*pools(**sizes), names), names, config, seed)


def made(config=CONFIG, seed=0, **sizes):
    return {each.name: examples.to_pylist() for each, examples in draw(config, seed, **sizes)}


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
    for each, examples in draw(config, seed, clean_each=clean_each):
        rows = examples.to_pylist()
        ids = [row["image_id"] for row in rows]
        assert len(set(ids)) == len(ids) == 3 * clean_each
        assert len(noisy(rows)) == round(each.noise_level * len(ids))
        for entry in noise_by_class(examples, NAMES):
            assert abs(entry["noisy"] - each.noise_level * entry["rows"]) < 1


@settings(deadline=None, max_examples=15)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_rows_changes_no_set(random, nested):
    config = dataclasses.replace(CONFIG, nested=nested)
    tables = pools()
    shuffled = [random.sample(rows, len(rows)) for rows in tables]
    for (one, examples), (other, examples_shuffled) in zip(
        drawn_sets(part_of(*tables, NAMES), NAMES, config, 0),
        drawn_sets(part_of(*shuffled, NAMES), NAMES, config, 0),
        strict=True,
    ):
        assert one.name == other.name
        assert examples.equals(examples_shuffled)


@settings(deadline=None, max_examples=10)
@given(st.permutations(NAMES))
def test_a_class_map_decides_every_asymmetric_label(order):
    targets = dict(zip(order, [*order[1:], order[0]], strict=True))
    sets = made(dataclasses.replace(CONFIG, class_map=targets, colors=("blue-asymmetric",)))
    for row in sets["blue-asymmetric-0.50"]:
        expected = NAMES[row["true_label"]] if row["is_clean"] else targets[NAMES[row["true_label"]]]
        assert NAMES[row["label"]] == expected


@pytest.mark.parametrize("order", ["hash", "evidence"])
def test_without_nesting_a_level_draws_its_own_wrong_examples(order):
    config = NoiseConfig(levels=(0.2, 0.4), colors=("red", "blue"), nested=False, candidate_order=order)
    sets = {name: noisy(rows) for name, rows in made(config, clean_each=100, wrong_each=150).items()}
    for color in ("red", "blue"):
        low, high = sets[f"{color}-0.20"], sets[f"{color}-0.40"]
        assert (len(low), len(high)) == (60, 120)
        assert 0.1 < len(low & high) / len(low) < 0.7  # nested: 1
    red = sets["red-0.20"] | sets["red-0.40"]
    assert len(dict(red)) == len(red), "an image has the same class in all levels"


def test_without_nesting_better_supported_images_still_come_first():
    config = NoiseConfig(levels=(0.2, 0.4), colors=("red",), nested=False, candidate_order="evidence")
    retrievals, verdicts = pools(clean_each=20, wrong_each=30)
    sure = {f"w{label}-{i}" for label in range(3) for i in range(6)}
    for row in verdicts:
        row["p_wrong"] = 1.0 if row["image_id"] in sure else 0.5
    for each, examples in drawn_sets(part_of(retrievals, verdicts, NAMES), NAMES, config, 0):
        used = {image_id for image_id, _ in noisy(examples.to_pylist())}
        assert used <= sure if each.noise_level == 0.2 else used >= sure


def test_noise_type_says_whether_the_image_of_a_wrong_label_shows_another_class():
    for name, rows in made().items():
        for row in rows:
            if row["is_clean"]:
                expected = None
            elif name.startswith("blue"):
                expected = "closed"
            else:  # every other wrong image shows the next class
                expected = "closed" if int(row["image_id"].partition("-")[2]) % 2 else "open"
            assert row["noise_type"] == expected


@pytest.mark.parametrize(("color", "rest"), [("red-closed", 1), ("red-open", 0)])
def test_closed_and_open_red_noise_have_images_of_one_kind(color, rest):
    found = made(dataclasses.replace(CONFIG, colors=("red", color, "blue")))
    for level in CONFIG.levels:
        red, own = found[f"red-{level:.2f}"], found[f"{color}-{level:.2f}"]
        assert all(int(image_id.partition("-")[2]) % 2 == rest for image_id, _ in noisy(own))
        replaced = [{r["replaced_image_id"] for r in rows} for rows in (red, own)]
        assert replaced[0] == replaced[1]


def test_without_evidence_or_without_estimates_red_noise_is_in_the_order_of_a_hash():
    by_hash = made(dataclasses.replace(CONFIG, candidate_order="hash"))
    assert {int(i.partition("-")[2]) % 2 for i, _ in noisy(by_hash["red-0.25"])} == {0, 1}
    assert made() == by_hash  # the verdicts have no p_wrong


@settings(deadline=None, max_examples=10)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_lower_levels_have_the_better_supported_images(random, seed):
    retrievals, verdicts = pools()
    for row in verdicts:
        if row["verdict"] == "no":
            row["p_wrong"] = random.choice([None, 0.5, 0.8, 0.97])
    p_wrong = {(row["image_id"], NAMES.index(row["class_name"])): row["p_wrong"] or 0 for row in verdicts}
    config = dataclasses.replace(CONFIG, colors=("red",))
    sets = {
        each.name: noisy(examples.to_pylist())
        for each, examples in drawn_sets(part_of(retrievals, verdicts, NAMES), NAMES, config, seed)
    }
    for level in (0.1, 0.25):
        used = sets[f"red-{level:.2f}"]
        for label in range(3):
            rest = [p for key, p in p_wrong.items() if key[1] == label and key not in used]
            assert min(p_wrong[key] for key in used if key[1] == label) >= max(rest)


def test_without_red_blue_follows_the_first_kind_of_red():
    config = NoiseConfig(levels=(0.5,), colors=("red-open", "blue"), on_shortage="shrink")
    sets = made(config, wrong_each=12)  # 6 of each class are open, 10 are wanted
    assert len(sets["red-open-0.50"]) == len(sets["blue-0.50"]) == 36
    assert {r["replaced_image_id"] or r["image_id"] for r in sets["red-open-0.50"]} == {
        r["image_id"] for r in sets["blue-0.50"]
    }


def test_levels_nest_in_every_color():
    sets = made()
    for color in CONFIG.colors:
        family = [noisy(sets[f"{color}-{level:.2f}"]) for level in CONFIG.levels]
        assert all(lower <= higher for lower, higher in pairwise(family))


def test_another_list_of_levels_changes_no_set():
    base, other = made(), made(dataclasses.replace(CONFIG, levels=(0.25, 0.4)))
    for name in ("red-0.25", "blue-0.25"):
        assert base[name] == other[name]


def test_trials_are_independent_draws_and_the_first_equals_a_build_without_trials():
    base, more = made(), made(dataclasses.replace(CONFIG, trials=2))
    assert {name: rows for name, rows in more.items() if "trial" not in name} == base
    assert noisy(more["red-0.50-trial-1"]) != noisy(more["red-0.50"])
    assert noisy(more["blue-0.50-trial-1"]) == noisy(made(seed=1)["blue-0.50"])


def test_the_published_sizes_red_is_a_part_and_blue_is_all():
    sets = made(dataclasses.replace(CONFIG, clean_per_class=12, blue_size="all"))
    assert len(sets["red-0.25"]) == 36
    assert len(sets["blue-0.25"]) == 60
    assert {r["replaced_image_id"] or r["image_id"] for r in sets["red-0.25"]} <= {
        r["image_id"] for r in sets["blue-0.00"]
    }


def test_asymmetric_flips_by_votes_follow_the_true_labels_of_wrong_images():
    sets = made(dataclasses.replace(CONFIG, class_map="votes", colors=("blue-asymmetric",)))
    assert {(r["true_label"], r["label"]) for r in sets["blue-asymmetric-0.50"] if not r["is_clean"]} == {
        (0, 1), (1, 2), (2, 0),
    }  # fmt: skip


def test_a_shortage_of_red_text_counts_only_images_found_by_text():
    with pytest.raises(DataError, match="red-text: too few"):
        made(
            dataclasses.replace(CONFIG, colors=("red", "red-text")), wrong_each=11
        )  # 11 wrong ones of each class, 8 of them by text; 10 are needed
    assert made(dataclasses.replace(CONFIG, colors=("red", "blue")), wrong_each=11)


@pytest.mark.parametrize("wrong_each", [2, 11, 17])
def test_without_levels_those_of_the_paper_are_made_that_have_enough_wrong_images(wrong_each: int):
    config = NoiseConfig(colors=("red", "blue"))
    result = {name.partition("-")[2] for name in made(config, wrong_each=wrong_each)}
    expected = {f"{level:.2f}" for level in PAPER_LEVELS if level * 20 <= wrong_each}
    assert result == expected
    assert made(config, wrong_each=wrong_each).keys() == {
        f"{c}-{level}" for c in ("red", "blue") for level in expected
    }


def test_without_levels_and_without_wrong_images_the_error_gives_the_reason():
    with pytest.raises(DataError, match=r"too few verified-wrong images for noise level 0\.05"):
        made(NoiseConfig(), wrong_each=1, clean_each=40)


def test_no_levels_make_no_sets():
    assert made(NoiseConfig(levels=(), fixed_sets=("released.csv",))) == {}


def test_a_class_without_clean_images_is_named():
    retrievals, verdicts = pools()
    without = [row for row in retrievals if row["source"] != "clean" or row["class_name"] != "bee"]
    with pytest.raises(DataError, match="no clean images left of bee"):
        drawn_sets(part_of(without, verdicts, NAMES), NAMES, CONFIG, 0)


def test_the_published_benchmark_has_its_sizes_at_true_scale():
    # 100 classes of 600, red with 500 of each: the published sizes wherever there are enough wrong images.
    names = [f"c{i}" for i in range(100)]
    rng = np.random.default_rng(0)
    n = 54_400
    retrievals = [
        {"image_id": f"n{i:017d}", "class_name": names[i % 100], "source": "clean"} for i in range(60_000)
    ]
    web = [f"{value:016x}" for value in rng.permutation(n)]
    retrievals += [
        {"image_id": image_id, "class_name": names[i % 100], "source": "web"}
        for i, image_id in enumerate(web)
    ]
    verdicts = [verdict(image_id, names[i % 100], "no") for i, image_id in enumerate(web)]
    config = NoiseConfig(colors=("red", "blue"), clean_per_class=500, blue_size="all", levels=(0.3, 0.8))
    sets = drawn_sets(part_of(retrievals, verdicts, names), names, config, 0)
    sizes = {each.name: examples.num_rows for each, examples in sets}
    assert sizes == {"red-0.30": 50_000, "red-0.80": 50_000, "blue-0.30": 60_000, "blue-0.80": 60_000}
