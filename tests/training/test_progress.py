"""Progress lines, and the time estimate on recorded times of steps and evaluations; no real time passes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.run_helpers import CPU, Make
from training.data.shards import load_pair
from training.progress import FIRST_SECONDS, LINE_SECONDS, ItemProgress, RunProgress, TimeEstimate
from training.trainer import Trainer

# Recorded from runs of the recipe tiny on red-0.40 of CIFAR-10N, on a shared machine: the seconds of the first 40 steps,
# and of the evaluation of 2,000 test images. (Machines that do other work vary by as much from step to step.)
RECORDED = {
    "vanilla": (
        [0.62, 0.348, 0.33, 0.418, 0.391, 0.352, 0.388, 0.43, 0.369, 0.335, 0.291, 0.38, 0.351, 0.302, 0.304, 0.272, 0.274,
         0.347, 0.295, 0.248, 0.267, 0.282, 0.312, 0.276, 0.315, 0.357, 0.262, 0.253, 0.277, 0.268, 0.577, 0.498, 0.324,
         0.279, 0.318, 0.323, 0.278, 0.365, 0.365, 0.326],
        3.093,
    ),
    "mentormix": (
        [0.602, 0.344, 0.406, 0.438, 0.394, 0.337, 0.317, 0.298, 0.319, 0.306, 0.396, 0.337, 0.403, 0.647, 0.534, 0.494,
         0.571, 0.48, 0.386, 0.377, 0.262, 0.442, 0.352, 0.28, 0.354, 0.388, 0.391, 0.372, 0.402, 0.343, 0.35, 0.378, 0.455,
         0.328, 0.415, 0.198, 0.355, 0.334, 0.38, 0.384],
        2.692,
    ),
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def replay(
    steps: list[float], evaluation: float, epochs: int = 5, shown: bool = False, batch: int = 64
) -> tuple[RunProgress, float]:
    """Replay a run with the given seconds per step of each epoch; return its progress and its real duration."""
    clock = Clock()
    progress = RunProgress(
        title="run", shown=shown, steps=(0, epochs * len(steps)), epochs=epochs, images_per_step=batch,
        evaluation_images=dict.fromkeys(range(1, epochs + 1), 2000), clock=clock,
    )  # fmt: skip
    for epoch in range(epochs):
        for number, seconds in enumerate(steps):
            clock.now += seconds if epoch == 0 or number else steps[-1]  # only the first step of all is slow
            progress.step_done()
        progress.epoch_trained()
        clock.now += evaluation
        progress.epoch_evaluated({"train_loss": 1.0, "test_accuracy": 0.5 + epoch / 100})
    progress.finished(clock.now - 100)
    return progress, clock.now - 100


@pytest.mark.parametrize("name", RECORDED)
def test_the_first_estimate_is_right_within_a_factor_of_two(name: str) -> None:
    progress, real = replay(*RECORDED[name])
    assert progress.predicted_seconds
    assert 0.5 < progress.predicted_seconds / real < 2
    assert progress.seconds_left() == 0


@given(
    st.lists(st.floats(0.02, 0.03), min_size=1, max_size=300),
    st.floats(0.0, 0.05),
    st.integers(2, 6),
)
def test_steady_steps_are_estimated_within_a_factor_of_two(
    steps: list[float], share: float, epochs: int
) -> None:
    """An evaluated image costs between nothing and more than twice what is assumed before the first evaluation."""
    steps = [3 * steps[0], *steps]
    evaluation = share * sum(steps)
    progress, real = replay(steps, evaluation, epochs, batch=2000 * 2)
    assert progress.predicted_seconds
    assert 0.4 < progress.predicted_seconds / real < 2.6


def test_a_line_every_thirty_seconds_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _, real = replay([0.5] * 100, 5.0, epochs=3, shown=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("run: about ")
    assert "for 294 steps and 3 evaluations, at 128 images/s" in lines[0]
    assert lines[-1].startswith("run: took 2 min; predicted ") or lines[-1].startswith(
        "run: took 3 min; predicted "
    )
    inner = lines[1:-1]
    assert real / LINE_SECONDS - 2 < len(inner) <= real / LINE_SECONDS
    assert inner[2].startswith("run: 1 of 3 epochs, ")
    assert inner[2].endswith(" left, test accuracy 50.0%")


def test_nothing_is_printed_unless_shown(capsys: pytest.CaptureFixture[str]) -> None:
    progress, _ = replay([0.5] * 10, 1.0)
    assert progress.predicted_seconds
    assert capsys.readouterr() == ("", "")


def test_evaluations_are_estimated_from_a_forward_pass_until_one_is_measured() -> None:
    estimate = TimeEstimate()
    assert estimate.left(100, 100) is None
    estimate.add_training(10.0, 100)
    assert estimate.left(100, 30) == pytest.approx(10 + 30 * 0.1 / 3)
    estimate.add_evaluation(2.0, 100)
    assert estimate.left(100, 30) == pytest.approx(10 + 30 * 0.02)


def test_features_are_counted_by_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ItemProgress("features of test", 1000, True, clock) as progress:
        for _ in range(10):
            clock.now += FIRST_SECONDS
            progress.update(100)
    assert "features of test: 100 of 1,000 images, 50/s, about 18 s left" in capsys.readouterr().err


def test_a_run_records_what_it_predicted(
    dataset: Path, tmp_path: Path, tiny_config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    result = Trainer(tiny_config(), *sets, CPU).run(tmp_path / "run", progress=True)
    assert result["predicted_seconds"] > 0
    assert result["test_images"] == 60
    assert capsys.readouterr().err == ""  # a run of less than five seconds


@pytest.mark.parametrize(("epoch", "done"), [(100, 98), (100, 99), (3, 1), (2, 1)])
def test_a_run_that_resumes_near_the_end_of_an_epoch_counts_its_own_steps_alone(
    epoch: int, done: int
) -> None:
    """Steps of one second each; in the first epoch fewer are left than are needed to warm up."""
    clock, epochs = Clock(), 20
    first = 10 * epoch + done
    progress = RunProgress(
        title="run", shown=False, steps=(first, epochs * epoch), epochs=epochs, images_per_step=64,
        evaluation_images=dict.fromkeys(range(11, epochs + 1), 0), earlier_seconds=first, clock=clock,
    )  # fmt: skip
    for steps in (epoch - done, epoch):
        for _ in range(steps):
            clock.now += 1
            progress.step_done()
        progress.epoch_trained()
        progress.epoch_evaluated({})
        assert progress.predicted_seconds == pytest.approx(epochs * epoch)
        assert progress.seconds_left() == pytest.approx(epochs * epoch - progress.step)


@pytest.mark.parametrize(("accumulate", "method"), [(1, "dividemix"), (2, "dividemix"), (2, "vanilla")])
def test_the_announced_steps_are_those_of_the_run(
    dataset: Path,
    tmp_path: Path,
    tiny_config: Make,
    accumulate: int,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as the labels are divided, for the epoch; before, all labels count as clean, which is the maximum."""
    expected: list[int] = []
    expect = RunProgress.expect

    def remember(self: RunProgress, steps: int) -> None:
        expected.append(steps)
        expect(self, steps)

    monkeypatch.setattr(RunProgress, "expect", remember)
    sets, config = (
        load_pair(dataset, "blue-0.40", "test"),
        tiny_config(method=method, batch_size=8, accumulate=accumulate),
    )
    run = Trainer(config, *sets, CPU)
    result = run.run(tmp_path / "run")
    assert expected[-1] == result["steps"] == run.step
    if method == "dividemix":
        assert result["steps"] < expected[0] == 12 + 3 * 2 * 11
    else:
        assert set(expected) == {4 * 12}


def test_a_resumed_run_counts_what_is_left(dataset: Path, tmp_path: Path, tiny_config: Make) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    first = Trainer(tiny_config(), *sets, CPU)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "run", stop=lambda: first.step >= 6)
    again = Trainer(tiny_config(), *sets, CPU)
    result = again.run(tmp_path / "run", resume=True)
    assert result["predicted_seconds"] >= first.clock.seconds
