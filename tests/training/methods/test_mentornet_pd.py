"""MentorNet-PD: golden values of the released weights, and errors for invalid weights."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import DataError
from tests.training.methods.linear_student import FACTS, batch
from training.method_config import MentorNetConfig
from training.methods.mentornet import Mentor
from training.methods.mentornet_pd import SHAPES, MentorNetPD, closed_form

CPU = torch.device("cpu")
WEIGHTS = Path(__file__).parents[4] / "shared/data/mentornet-pd/mentornet_pd.npz"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.exists(), reason="the released weights are not on this machine"
)

LOSSES = torch.tensor([0.1, 0.5, 1, 2, 2.3026, 4.6052, 8])
DISTANCES = torch.tensor([-2, -0.5, -0.05, 0, 0.05, 0.3, 1])


RELEASED = [
    (0, [0.999969, 0.999973, 0.999957, 0.999818, 0.827546, 8.1e-5, 0]),
    (50, [0.999964, 0.999968, 0.999948, 0.99983, 0.937168, 8.3e-5, 0]),
    (99, [1, 1, 0.999999, 0.999994, 0.980765, 0.706674, 0.007774]),
]  # of the TensorFlow graph


@needs_weights
@pytest.mark.parametrize(("percent", "expected"), RELEASED)
def test_the_released_weights_give_the_values_of_the_tensorflow_graph(
    percent: int, expected: list[float]
) -> None:
    result = MentorNetPD.load(WEIGHTS, CPU).weigh(LOSSES, DISTANCES, percent)
    assert result.tolist() == pytest.approx(expected, abs=1.5e-6)


@pytest.mark.parametrize(("percent", "expected"), RELEASED)
def test_the_closed_form_decides_as_the_tensorflow_graph(percent: int, expected: list[float]) -> None:
    result = closed_form(DISTANCES, percent)
    assert result.round().tolist() == np.round(expected).tolist()
    if percent >= 80:
        assert result.tolist() == pytest.approx(expected, abs=0.031)


def test_the_closed_form_is_a_step_and_then_a_slope() -> None:
    distances = torch.tensor([-3.0, 0.057, 0.059, 0.25, 0.999, 2.0])
    assert closed_form(distances, 79).tolist() == [1, 1, 0, 0, 0, 0]
    assert closed_form(distances, 80).tolist() == pytest.approx([1, 0.943, 0.941, 0.75, 0.001, 0], abs=1e-6)


@needs_weights
def test_the_closed_form_is_near_the_released_weights_everywhere() -> None:
    distances, average = (one.flatten() for one in torch.meshgrid(
        torch.linspace(-3, 5, 161), torch.linspace(0.05, 4, 40), indexing="ij"
    ))  # fmt: skip
    possible = distances + average >= 0  # a loss is not negative
    distances, losses = distances[possible], (distances + average)[possible]
    mentor = MentorNetPD.load(WEIGHTS, CPU)
    pairs = [(mentor.weigh(losses, distances, p), closed_form(distances, p)) for p in range(0, 100, 3)]
    assert np.mean([(a - b).abs().mean().item() for a, b in pairs]) < 0.00175
    assert np.mean([((a >= 0.5) != (b >= 0.5)).double().mean().item() for a, b in pairs]) < 0.00035


@needs_weights
def test_it_is_a_step_early_and_a_slope_at_the_end() -> None:
    mentor = MentorNetPD.load(WEIGHTS, CPU)
    distances = torch.tensor([-1.0, -0.1, 0.2, 0.5, 0.9])
    losses = 2 + distances
    assert mentor.weigh(losses, distances, 40).round().tolist() == [1, 1, 0, 0, 0]
    late = mentor.weigh(losses, distances, 90)
    assert late.tolist() == pytest.approx((1 - distances).clamp(0, 1).tolist(), abs=0.12)


@needs_weights
def test_the_mentor_gives_it_the_distance_to_the_moving_average_and_trusts_all_in_burn_in() -> None:
    mentor = Mentor(
        MentorNetConfig(loss_percentile=1.0, burn_in_percent=10, mentor="pd", weights=str(WEIGHTS)), FACTS
    )
    assert mentor.weigh(LOSSES, batch(8, {}))[0].tolist() == [1.0] * 7  # average 4 from here
    result, _ = mentor.weigh(LOSSES, batch(60, {}))
    assert mentor.average.item() == 6.0
    assert torch.equal(result, MentorNetPD.load(WEIGHTS, CPU).weigh(LOSSES, LOSSES - 6, 60))


def np_forward(v: dict[str, np.ndarray], loss: float, distance: float, percent: int) -> float:
    """One example at a time, as the graph of the released code is drawn."""

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    cells = []
    for way in ("fw", "bw"):
        name = f"mentornet__bidirectional_rnn__{way}__basic_lstm_cell__"
        gates = np.array([loss, distance, 0.0]) @ v[name + "kernel"] + v[name + "bias"]
        i, j, f, _ = gates
        cells.append(0.0 * sigmoid(f) + sigmoid(i) * np.tanh(j))
    row = np.concatenate(
        [v["mentornet__label_embedding"][0], v["mentornet__epoch_embedding"][percent], cells]
    )
    hidden = np.tanh(row @ v["mentornet__Variable"] + v["mentornet__Variable_1"])
    return float(sigmoid(hidden @ (v["mentornet__Variable_2"] + v["mentornet__Variable_3"]))[0])


def made_up(path: Path, seed: int = 0, **changed: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    variables = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()} | changed
    np.savez(path, **variables)  # type: ignore[arg-type]
    return variables


def test_the_forward_pass_equals_the_plain_one(tmp_path: Path) -> None:
    variables = made_up(tmp_path / "weights.npz")
    mentor = MentorNetPD.load(tmp_path / "weights.npz", CPU)
    for percent in (0, 37, 99):
        expected = [
            np_forward(variables, *pair, percent)
            for pair in zip(LOSSES.tolist(), DISTANCES.tolist(), strict=True)
        ]
        assert mentor.weigh(LOSSES, DISTANCES, percent).tolist() == pytest.approx(
            expected, rel=1e-4, abs=1e-6
        )


def test_invalid_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    with pytest.raises(DataError, match="not the weights of MentorNet-PD"):
        MentorNetPD.load(path, CPU)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="zip"):
        MentorNetPD.load(path, CPU)
    made_up(path, mentornet__Variable_1=np.zeros(21, np.float32))
    with pytest.raises(DataError, match=r"mentornet__Variable_1 is float32 \(21,\), not float32 \(20,\)"):
        MentorNetPD.load(path, CPU)
    made_up(path, mentornet__label_embedding=np.array([{"code": 1}]))  # numpy would have to unpickle it
    with pytest.raises(DataError, match="allow_pickle"):
        MentorNetPD.load(path, CPU)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mentornet__label_embedding.npy", bytes(2 << 20))
    with pytest.raises(DataError, match="larger than 1 MiB"):
        MentorNetPD.load(path, CPU)
