"""Series: methods, with their settings where a method has several."""

from tests.training.study.synthetic_results import synthetic_results, with_a_short_setting
from training.study.conclusions import resolution_sentences
from training.study.results import RESULT
from training.study.series import all_series, settings_note, with_series
from training.study.summary_tables import comparisons, finished

FIVE = ["vanilla", "mixup", "mentornet", "mentormix (released)", "mentormix (short)"]


def test_methods_of_a_single_setting_are_named_without_it() -> None:
    rows = finished(synthetic_results()[0])
    series = all_series(with_series(rows))
    assert list(map(str, series)) == ["vanilla", "mixup", "mentornet", "mentormix"]
    assert [{k: v for k, v in row.items() if k != "series"} for row in with_series(rows)] == rows
    assert settings_note(series) == ""


def test_a_method_with_several_settings_is_a_series_per_setting() -> None:
    rows = with_series(finished(with_a_short_setting()[0]))
    series = all_series(rows)
    assert list(map(str, series)) == FIVE
    assert all(one.has(row) == (row["series"] == one) for row in rows for one in series)
    assert settings_note(series) == "Setting of vanilla, mixup, mentornet: released."


def test_settings_with_the_same_runs_are_one_series_whose_rows_occur_once() -> None:
    results, _ = synthetic_results(methods=("vanilla", "mentormix"), settings=("a", "b", "c"))
    rows = results.to_pylist()
    for row in rows:
        if row["method"] == "vanilla" or row["setting"] == "b":
            row["run"] = row["run"].replace("-b-", "-a-").replace("-c-", "-a-")
    kept = with_series(finished(RESULT.from_rows(rows)))
    assert list(map(str, all_series(kept))) == ["vanilla", "mentormix (a, b)", "mentormix (c)"]
    assert len(kept) == len({row["run"] for row in kept}) == len(rows) // 2


def test_networks_are_named_independently() -> None:
    results, _ = synthetic_results(
        methods=("vanilla",), networks=("small_cnn", "wide"), settings=("probe", "scratch")
    )
    rows = [row for row in results.to_pylist() if (row["network"], row["setting"]) != ("small_cnn", "probe")]
    labeled = with_series(rows)
    assert {(row["network"], str(row["series"])) for row in labeled} == {
        ("small_cnn", "vanilla"), ("wide", "vanilla (probe)"), ("wide", "vanilla (scratch)"),
    }  # fmt: skip


def test_all_series_of_a_network_are_compared_in_pairs() -> None:
    table = comparisons(with_a_short_setting()[0])
    pairs = {(str(line[2]), str(line[3])) for line in table.rows}
    assert pairs == {(first, second) for n, first in enumerate(FIVE) for second in FIVE[n + 1 :]}
    assert "Setting of vanilla, mixup, mentornet: released." in table.note
    assert "vanilla,mentormix (short)" in table.csv()
    assert "& mentormix (released) & mentormix (short) &" in table.latex()


def test_the_best_series_is_named_where_seeds_are_too_few() -> None:
    red, _ = resolution_sentences(with_a_short_setting(levels=(0.4,))[0])
    assert "mentormix (short)" in red
    assert "mentormix (released)" in red
