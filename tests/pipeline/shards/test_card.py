"""The card of a build, whose parts a publication shares."""

from pipeline.shards.card import set_blocks
from pipeline.shards.document import markdown

ENTRIES = {"red-0.40": {"rows": 10, "noise_level": 0.4}, "test": {"rows": 5, "noise_level": 0.0}}


def values(**of_red):
    counts = {"red-0.40": 4, "test": 0}
    found = {name: {"classes": [{"noisy": count}]} for name, count in counts.items()}
    found["red-0.40"] |= of_red
    return found


def test_the_table_of_sets_has_the_estimated_noise_where_manifests_state_it():
    text = markdown(
        set_blocks(ENTRIES, values(estimated_noise={"value": 0.351, "low": 0.339, "high": 0.364}))
    )
    assert "| red-0.40 | 10 | 40.0% | 40.00% | 35.1 % (33.9 to 36.4) |" in text
    assert "| test | 5 | 0.0% | 0.00% |  |" in text
    assert "Its interval assumes" in text


def test_without_an_estimate_there_is_no_such_column():
    text = markdown(set_blocks(ENTRIES, values()))
    assert "| red-0.40 | 10 | 40.0% | 40.00% |\n" in text
    assert "estimated" not in text
