"""The training loop: it learns, repeats bit-identically, and explains failures."""

import copy
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from common.errors import DataError, UsageError
from tests.training.method_cases import METHOD_CASES
from tests.training.run_helpers import CPU, Make, equal, timeless
from training import checkpoint, metrics, trainer
from training.config import METHODS, AugmentConfig, NetworkConfig, OptimizerConfig
from training.data.shards import ImageSet
from training.distributed import Processes
from training.errors import DivergedError
from training.method_config import MentorNetConfig
from training.methods import dividemix
from training.models.student import Student
from training.records import EpochRow
from training.study.results import CURVE
from training.tensorboard import TensorBoard
from training.trainer import Trainer
from training.weight_decay_selection import select_weight_decay


@pytest.mark.parametrize(
    ("method", "precision"), [*((method, "fp32") for method in METHODS), ("mentormix", "bf16")]
)
def test_the_same_configuration_gives_the_same_bits(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, method: str, precision: str
) -> None:
    config = tiny_config(method=method, precision=precision, epochs=2)
    for name in ("one", "other"):
        Trainer(config, *sets, CPU).run(tmp_path / name)
    Trainer(tiny_config(method=method, precision=precision, epochs=2, seed=1), *sets, CPU).run(
        tmp_path / "third"
    )
    assert equal(tmp_path / "one", tmp_path / "other")
    assert timeless(metrics.read_rows(tmp_path / "one")) == timeless(metrics.read_rows(tmp_path / "other"))
    assert not equal(tmp_path / "one", tmp_path / "third")


def test_training_learns_an_easy_set_in_spite_of_wrong_labels(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(method="mentormix", epochs=15, augment=AugmentConfig(0, flip=True))
    result = Trainer(config, *sets, CPU).run(tmp_path / "run")
    rows = metrics.read_rows(tmp_path / "run")
    assert rows[0]["test_accuracy"] < 0.8
    assert result["final_accuracy"] > 0.9
    assert rows[-1]["mentor_precision"] > 0.8  # 0.6 by chance


def test_vanilla_without_augmentation_memorizes_the_wrong_labels(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(
        epochs=60, augment=AugmentConfig(0, flip=False), network=NetworkConfig("small_cnn", 16)
    )
    result = Trainer(config, *sets, CPU).run(tmp_path / "run")
    assert result["memorized"] > 0.8
    assert result["train_accuracy"] > 0.8


def test_metrics_hold_what_is_promised(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(method="mentormix", epochs=5, evaluate_every=2, memorized_every=4)
    Trainer(config, *sets, CPU).run(tmp_path / "run")
    rows = metrics.read_rows(tmp_path / "run")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6), (3, 9), (4, 12), (5, 15)]
    always = {
        "learning_rate",
        "train_loss",
        "images_per_second",
        "trusted",
        "mentor_precision",
        "mentor_recall",
    }
    assert all(always <= row.keys() for row in rows)
    assert [row["epoch"] for row in rows if "test_accuracy" in row] == [2, 4, 5]
    assert [row["epoch"] for row in rows if "test_accuracy_raw" in row] == [5]
    on_training_set = {"train_accuracy", "clean_accuracy", "memorized", "recovered"}
    assert [row["epoch"] for row in rows if on_training_set <= row.keys()] == [4, 5]
    last = rows[-1]
    weighed = 0.6 * last["clean_accuracy"] + 0.4 * last["memorized"]
    assert last["train_accuracy"] == pytest.approx(
        weighed, abs=0.01
    )  # 58 of 96 are right: the level is exact


def test_the_curves_of_a_study_have_all_metrics(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    mentor = MentorNetConfig(loss_percentile="auto", schedule="ramp", burn_in_percent=0)
    Trainer(tiny_config(method="mentornet", mentornet=mentor, validation=0.1), *sets, CPU).run(
        tmp_path / "run"
    )
    last = metrics.read_rows(tmp_path / "run")[-1]
    known = {field.name for field in fields(EpochRow)}
    assert 0 < last["clean_share"] <= 1
    assert last.keys() <= known
    assert known <= {*CURVE.schema.names}


def test_without_averaging_both_accuracies_are_the_same(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    result = Trainer(tiny_config(average_decay=0.0, epochs=1), *sets, CPU).run(tmp_path / "run")
    assert result["final_accuracy"] == result["final_accuracy_raw"]
    assert not any(name.startswith("average") for name in load_file(checkpoint.newest(tmp_path / "run")))


def test_a_loss_that_is_no_number_is_named_with_its_step(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(optimizer=OptimizerConfig(learning_rate=1e30))
    with pytest.raises(
        DivergedError, match=r"at step [12] \(epoch 1\); try a smaller optimizer.learning_rate"
    ):
        Trainer(config, *sets, CPU).run(tmp_path / "run")


@pytest.mark.parametrize(("method", "settings"), METHOD_CASES)
def test_every_method_reports_a_loss_that_is_no_number(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, method: str, settings: dict[str, Any]
) -> None:
    for name in ("mentornet", "mentormix"):
        section = settings.get(name) or getattr(tiny_config(), name)
        settings = settings | {name: replace(section, burn_in_percent=0)}
    # the closed form of MentorNet-PD gives NaN in the last fifth of training, here the sixth step
    short = {"epochs": 1, "batch_size": 16}
    config = tiny_config(method=method, optimizer=OptimizerConfig(learning_rate=1e30), **short, **settings)
    with pytest.raises(DivergedError, match="try a smaller optimizer"):
        Trainer(config, *sets, CPU).run(tmp_path / "run")


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_a_network_that_the_last_step_destroys_has_no_result(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, average_decay: float
) -> None:
    """All losses are finite, since none is computed after the last step."""
    config = tiny_config(
        epochs=1,
        batch_size=96,
        average_decay=average_decay,
        optimizer=OptimizerConfig(learning_rate=1e30),
    )
    with pytest.raises(DivergedError, match=r"outputs on test are not finite .* try a smaller optimizer"):
        Trainer(config, *sets, CPU).run(tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_weight_decay_with_which_training_diverges_is_not_chosen(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(optimizer=OptimizerConfig(learning_rate=0.05, weight_decays=(1e-4, 1e30)))
    chosen, accuracies = select_weight_decay(config, sets[0], tmp_path, CPU, Processes())
    assert chosen.optimizer.weight_decay == 1e-4
    assert accuracies["1e+30"] == 0.0 < accuracies["0.0001"]


def test_dividemix_needs_two_batches(sets: tuple[ImageSet, ImageSet], tiny_config: Make) -> None:
    one_batch = sets[0].take(torch.arange(32))
    with pytest.raises(DataError, match=r"dividemix needs at least two batches, got 32 images .* at most 16"):
        Trainer(tiny_config(method="dividemix"), one_batch, sets[1], CPU)


def test_a_division_with_few_clean_labels_has_a_step_of_all_parts(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few_clean(losses: torch.Tensor) -> torch.Tensor:
        return (torch.arange(len(losses)) < 3).double()

    monkeypatch.setattr(dividemix, "clean_probability", few_clean)
    config = tiny_config(method="dividemix", accumulate=4, epochs=2)
    result = Trainer(config, *sets, CPU).run(tmp_path / "run")
    assert result["steps"] == 3 + 2  # of the warm-up, then one for each network


def test_a_set_smaller_than_a_batch_is_refused(sets: tuple[ImageSet, ImageSet], tiny_config: Make) -> None:
    with pytest.raises(DataError, match="96 images do not fill one batch of 97"):
        Trainer(tiny_config(batch_size=97), *sets, CPU)


def test_held_out_images_choose_an_epoch_and_are_not_trained_on(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    run = Trainer(tiny_config(validation=0.25, method="elr"), *sets, CPU)
    assert run.measurement.held_out
    assert (len(run.train), len(run.measurement.held_out)) == (72, 24)
    assert run.method.state["targets"].shape == (72, 3)
    result = run.run(tmp_path / "run")
    rows = metrics.read_rows(tmp_path / "run")
    chosen = max(rows, key=lambda row: row["validation_accuracy"])
    assert (result["selected_accuracy"], result["selected_epoch"]) == (
        chosen["test_accuracy"],
        chosen["epoch"],
    )


def test_a_batch_in_parts_is_the_same_batch_where_nothing_looks_across_it(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    monkeypatch.setattr(trainer, "make_network", lambda *_: copy.deepcopy(plain))
    results = {}
    for parts in (1, 4):
        config = tiny_config(accumulate=parts, optimizer=OptimizerConfig(learning_rate=0.01))
        results[parts] = Trainer(config, *sets, CPU).run(tmp_path / str(parts))
    assert results[1]["steps"] == results[4]["steps"] == 12
    one, four = (load_file(checkpoint.newest(tmp_path / n) or "") for n in ("1", "4"))
    for name in one:
        if name.startswith(("network", "momentum", "average")):
            assert torch.allclose(one[name], four[name], rtol=1e-4, atol=1e-6), name
    assert results[1]["train_loss"] == pytest.approx(results[4]["train_loss"], rel=1e-5)


def test_a_cuda_graph_outlives_the_parts_of_a_batch(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new generation of graphs would take the memory of the gradients that the first parts have left."""
    began: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda network, mode: network)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: began.append("generation"))
    config = tiny_config(compile="reduce-overhead", accumulate=4, epochs=1)
    assert Trainer(config, *sets, CPU).run(tmp_path / "run")["steps"] == len(began) == 3


def test_each_epoch_records_the_losses_of_right_and_wrong_labels(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    Trainer(tiny_config(method="mentornet", epochs=2), *sets, CPU).run(tmp_path / "run")
    for row in metrics.read_rows(tmp_path / "run"):
        clean, noisy = row["loss_histogram"]["clean"], row["loss_histogram"]["noisy"]
        assert (len(clean), sum(clean), sum(noisy)) == (metrics.LOSS_BINS, 58, 38)
        assert 0 < row["data_utilization"] <= 1
    tally = metrics.EpochTally(CPU)
    clean = torch.tensor([True, False, True, True])
    differences = torch.tensor([-9.0, 0.05, 0.05, 1e9])
    tally.add(torch.tensor([1.0, 0.5, 0.2, 0.9]), torch.tensor([0.1, 0.3, 9.9, 1e9]), differences, clean)
    told = tally.summary()
    assert told["data_utilization"] == pytest.approx(0.65)
    assert (told["trusted"], told["mentor_precision"]) == (0.75, pytest.approx(2 / 3))
    assert told["mentor_recall"] == pytest.approx(2 / 3)
    assert [n for n, c in enumerate(told["loss_histogram"]["clean"]) if c] == [0, metrics.LOSS_BINS - 1]
    assert told["loss_histogram"]["noisy"][1] == 1
    mentor, bins = told["mentor_weights"], range(metrics.DIFFERENCE_BINS)
    assert [(n, mentor["clean"][n], mentor["clean_sum"][n]) for n in bins if mentor["clean"][n]] == [
        (0, 1, 1.0),
        (30, 1, 0.2),
        (59, 1, 0.9),
    ]
    assert [(n, mentor["noisy_sum"][n]) for n in bins if mentor["noisy"][n]] == [(30, 0.5)]
    assert (mentor["start"], mentor["bin"]) == (-3.0, 0.1)
    assert tally.summary() == {}


def test_tensorboard_gets_what_the_lines_hold(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoard(tmp_path, {})
    Trainer(tiny_config(epochs=2), *sets, CPU).run(tmp_path / "run", log=logger.log)
    logger.finish(None)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = [event.value for event in events.Scalars("train_loss")]
    assert told == pytest.approx([row["train_loss"] for row in metrics.read_rows(tmp_path / "run")])
    assert "loss/noisy" in events.Tags()["histograms"]


def test_a_machine_that_cannot_compile_is_an_error_with_a_remedy(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_later(_network: object, mode: str) -> Any:
        def fail(_images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(f"{mode}: InvalidCxxCompiler: no working compiler\nat length")

        return fail

    monkeypatch.setattr(torch, "compile", compile_later)
    expected = (
        r"compile=default: .* \(default: InvalidCxxCompiler: no working compiler\); install a C\+\+ compiler"
    )
    with pytest.raises(UsageError, match=expected):
        Trainer(tiny_config(compile="default"), *sets, CPU).run(tmp_path / "run")


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory",
        "adaptive_max_pool2d_cuda does not have a deterministic implementation",
    ],
)
def test_errors_of_a_compiled_network_that_have_another_cause_keep_their_remedy(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_later(_network: object, mode: str) -> Any:
        def fail(_images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(message)

        return fail

    monkeypatch.setattr(torch, "compile", compile_later)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        Student(torch.nn.Identity(), None, "default")(torch.zeros(1))
