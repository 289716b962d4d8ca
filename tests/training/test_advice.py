"""What a study advises for a noise level between those that it measured, and where it says that it does not know."""

from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from tests.training.made_study import made_study
from training.__main__ import main
from training.study import table
from training.study.advice import advise


def results(**accuracy: list[list[float]]) -> Any:
    """For each method its final accuracies: for each of the levels 0.2 and 0.4 those of the seeds."""
    base = made_study(levels=(0.2,), colors=("red",), methods=("vanilla",), seeds=(0,))[0].to_pylist()[0]
    return table.RESULT.from_rows(
        base | {"method": method, "noise_level": level, "seed": seed, "run": f"{method}{level}{seed}",
                "final_accuracy": value}
        for method, levels in accuracy.items()
        for level, values in zip((0.2, 0.4), levels, strict=True)
        for seed, value in enumerate(values)
    )  # fmt: skip


def test_accuracy_is_interpolated_seed_by_seed() -> None:
    found = advise(results(vanilla=[[0.8, 0.7], [0.4, 0.5]]), 0.25, "red")
    one = found.expected["vanilla"]
    assert one.mean == pytest.approx((0.75 * 0.8 + 0.25 * 0.4 + 0.75 * 0.7 + 0.25 * 0.5) / 2)
    assert found.between == (0.2, 0.4)
    assert advise(results(vanilla=[[0.8, 0.7], [0.4, 0.5]]), 0.4, "red").between == (0.4, 0.4)


def test_methods_that_are_not_told_apart_are_named() -> None:
    table_ = results(
        vanilla=[[0.50, 0.51, 0.52]] * 2, mixup=[[0.70, 0.73, 0.71]] * 2, mentormix=[[0.72, 0.72, 0.72]] * 2
    )
    found = advise(table_, 0.3, "red")
    assert (found.best, found.as_good) == ("mentormix", ["mixup"])
    assert "not told apart from it: mixup" in str(found)
    assert "interpolated between 20 % and 40 %" in found.table().note


def test_one_seed_tells_nothing_apart() -> None:
    found = advise(results(vanilla=[[0.5], [0.5]], mixup=[[0.9], [0.9]]), 0.3, "red")
    assert (found.best, found.as_good) == ("mixup", ["vanilla"])
    assert found.expected["mixup"].half is None


@pytest.mark.parametrize(
    ("noise", "names", "message"),
    [
        (0.9, {}, "outside of what was measured, 0.2 to 0.4"),
        (0.3, {"color": "green"}, "no finished run on 'green' noise; the study has red"),
        (0.3, {"network": "other"}, "no 'other'; it has small_cnn"),
    ],
)
def test_where_the_study_does_not_reach_it_says_so(noise: float, names: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        advise(results(vanilla=[[0.5], [0.5]]), noise, **{"color": "red", **names})


def test_several_networks_want_a_name() -> None:
    made, _ = made_study(networks=("one", "another"))
    with pytest.raises(UsageError, match="--network: the study has several, name one: another, one"):
        advise(made, 0.3, "blue")
    assert advise(made, 0.3, "blue", network="one").best == "mentormix"


def test_the_verb_prints_each_color(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write(made_study(), tmp_path)
    assert main(["advise", str(tmp_path), "--noise", "0.3"]) == 0
    told = capsys.readouterr().out
    assert "blue noise of 30 %: choose mentormix" in told
    assert "red noise of 30 %: choose mentormix" in told
    assert main(["advise", str(tmp_path), "--noise", "0.3", "--color", "red", "--json"]) == 0
    assert '"best": "mentormix"' in capsys.readouterr().out
