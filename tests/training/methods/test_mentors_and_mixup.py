"""MentorMix, MentorNet, mixup and plain training, compared with slow NumPy implementations of their equations."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.methods.linear_student import CLASSES, CPU, FACTS, B, Linear, batch
from training.config import TrainConfig
from training.method_config import MentorMixConfig, MentorNetConfig, MixupConfig
from training.methods.interface import Batch, RunFacts
from training.methods.mentormix import MentorMix, draw_partners, mixing_share
from training.methods.mentornet import Mentor, MentorNet, percentile
from training.methods.mixup import Mixup
from training.methods.registry import make_method
from training.models.student import Student
from training.randomness import draw_beta, generator

# The reference: one example at a time, in float64.


def np_cross_entropy(x: np.ndarray, target: np.ndarray, kernel: np.ndarray) -> float:
    z = x.reshape(-1) @ kernel
    log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
    return float(-(target * log_p).sum())


def np_percentile(losses: list[float], p: float) -> float:
    """tfp.stats.percentile, interpolation 'nearest': rank from the largest, half to even."""
    return sorted(losses, reverse=True)[int(np.round((len(losses) - 1) * (1 - p)))]


def np_weights(losses: list[float], average: float, percent: int, burn_in_percent: int) -> list[float]:
    return [1.0 if percent < burn_in_percent - 1 or one <= average else 0.0 for one in losses]


def np_mentormix(
    config: MentorMixConfig, steps: list[Batch], kernel: np.ndarray
) -> list[tuple[float, list[float]]]:
    first = second = 0.0
    result = []
    for one in steps:
        x, y = one.images.double().numpy(), np.eye(CLASSES)[one.labels.numpy()]
        losses = [np_cross_entropy(x[i], y[i], kernel) for i in range(B)]
        first = 0.5 * first + 0.5 * np_percentile(losses, config.loss_percentile)
        v = np_weights(losses, first, one.percent, config.burn_in_percent)
        p = np.exp(v) / np.exp(v).sum()
        mixed = []
        for i in range(B):
            lam = float(one.draws["lam"][i])
            lam = max(lam, 1 - lam)
            lam = lam if v[i] >= 0.5 else 1 - lam
            j, total = 0, p[0]
            while total <= float(one.draws["uniform"][i]):
                j += 1
                total += p[j]
            mixed.append(
                np_cross_entropy(lam * x[i] + (1 - lam) * x[j], lam * y[i] + (1 - lam) * y[j], kernel)
            )
        loss = sum(mixed) / B
        if config.second_reweight:
            second = 0.5 * second + 0.5 * np_percentile(mixed, config.loss_percentile)
            again = np_weights(mixed, second, one.percent, config.burn_in_percent)
            loss = sum(m * w for m, w in zip(mixed, again, strict=True)) / B
        result.append((loss, v))
    return result


@pytest.mark.parametrize("second_reweight", [False, True])
@pytest.mark.parametrize("loss_percentile", [0.2, 0.6, 0.8])
def test_mentormix_equals_the_equations_over_several_steps(
    second_reweight: bool, loss_percentile: float
) -> None:
    config = MentorMixConfig(alpha=2.0, loss_percentile=loss_percentile, second_reweight=second_reweight)
    method, student = MentorMix(config, FACTS), Linear()
    draws = method.draw((4, B), torch.Generator().manual_seed(3))
    percents = [0, 8, 9, 60]  # burn-in ends with 9
    steps = [batch(p, {k: d[s] for k, d in draws.items()}, seed=s) for s, p in enumerate(percents)]
    expected = np_mentormix(config, steps, student.kernel.detach().double().numpy())
    for step, (loss, weights) in zip(steps, expected, strict=True):
        outcome = method.step([student], step)
        assert outcome.loss.item() == pytest.approx(loss, rel=1e-5)
        assert outcome.weights is not None
        assert outcome.weights.tolist() == weights
    assert 0 < sum(weights) < B  # the last step did choose


def test_mixup_equals_the_equation_with_a_partner_for_each() -> None:
    method, student = Mixup(MixupConfig(alpha=1.0)), Linear()
    draws = {name: d[0] for name, d in method.draw((1, B), torch.Generator().manual_seed(1)).items()}
    one = batch(0, draws)
    x, y = one.images.double().numpy(), np.eye(CLASSES)[one.labels.numpy()]
    kernel = student.kernel.detach().double().numpy()
    losses = []
    for i in range(B):
        lam, j = float(draws["lam"][i]), int(draws["partner"][i])
        losses.append(np_cross_entropy(lam * x[i] + (1 - lam) * x[j], lam * y[i] + (1 - lam) * y[j], kernel))
    assert method.step([student], one).loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert sorted(draws["partner"].tolist()) == list(range(B))


def test_mentornet_weighs_by_threshold_and_divides_by_the_batch_size() -> None:
    config = MentorNetConfig(loss_percentile=0.5, burn_in_percent=0)
    method, student = MentorNet(config, FACTS), Linear()
    one = batch(50, {})
    kernel = student.kernel.detach().double().numpy()
    losses = [
        np_cross_entropy(x, np.eye(CLASSES)[label], kernel)
        for x, label in zip(one.images.double().numpy(), one.labels.tolist(), strict=True)
    ]
    for step in range(1, 4):
        average = np_percentile(losses, 0.5) * (1 - 0.5**step)  # from 0, without bias correction
        kept = [loss for loss in losses if loss <= average]
        outcome = method.step([student], one)
        assert outcome.loss.item() == pytest.approx(sum(kept) / B, rel=1e-5)
    assert outcome.weights is not None
    assert int(outcome.weights.sum()) == len(kept)


def test_vanilla_is_mean_cross_entropy() -> None:
    student, one = Linear(), batch(0, {})
    kernel = student.kernel.detach().double().numpy()
    losses = [
        np_cross_entropy(x, np.eye(CLASSES)[label], kernel)
        for x, label in zip(one.images.double().numpy(), one.labels.tolist(), strict=True)
    ]
    loss = make_method(TrainConfig(method="vanilla"), RunFacts(CLASSES, B, CPU)).step([student], one).loss
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("share", "expected"),
    # by hand from tfp.stats.percentile's rule on 1…10: index round((10−1)·(1−q)) of the descending values
    [(0.0, 1.0), (0.7, 7.0), (0.5, 6.0), (0.75, 8.0), (1.0, 10.0)],
)
def test_percentile_is_the_nearest_rank_counted_from_the_largest(share: float, expected: float) -> None:
    losses = torch.tensor([3.0, 1, 10, 5, 9, 2, 8, 4, 7, 6])
    assert percentile(losses, share).item() == expected


@pytest.mark.parametrize(("percent", "all_trusted"), [(0, True), (8, True), (9, False), (99, False)])
def test_burn_in_of_ten_trusts_everything_in_the_first_nine_percent(percent: int, all_trusted: bool) -> None:
    mentor = Mentor(MentorNetConfig(loss_percentile=0.5, burn_in_percent=10), FACTS)
    weights, _ = mentor.weigh(torch.arange(1.0, 11.0), batch(percent, {}))
    assert (weights.min().item() == 1.0) is all_trusted
    assert mentor.average.item() == 3.0  # half of the percentile 6: the average moves during burn-in too


def test_a_loss_equal_to_the_average_is_trusted() -> None:
    mentor = Mentor(MentorNetConfig(loss_percentile=1.0, average_decay=0.0, burn_in_percent=0), FACTS)
    weights, differences = mentor.weigh(torch.tensor([1.0, 2.0, 2.0]), batch(50, {}))
    assert weights.tolist() == [1.0, 1.0, 1.0]
    assert differences.tolist() == [-1.0, 0.0, 0.0]


def test_no_gradient_flows_through_the_weights() -> None:
    losses = torch.ones(4, requires_grad=True)
    actual = Mentor(MentorNetConfig(), FACTS).weigh(losses, batch(50, {}))
    assert not any(one.requires_grad for one in actual)


def test_the_two_averages_of_mentormix_are_independent() -> None:
    method = MentorMix(MentorMixConfig(second_reweight=True), FACTS)
    draws = {k: d[0] for k, d in method.draw((1, B), torch.Generator().manual_seed(0)).items()}
    method.step([Linear()], batch(50, draws))
    assert method.state["average"].item() > 0
    assert method.state["second_average"].item() > 0
    assert method.state["average"].item() != method.state["second_average"].item()


def test_partners_follow_the_softmax_of_the_weights() -> None:
    weights = torch.tensor([1.0, 0.0, 1.0, 0.5])
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    counts = draw_partners(weights, uniform).bincount(minlength=4) / len(uniform)
    expected = np.exp(weights.numpy()) / np.exp(weights.numpy()).sum()
    assert counts.numpy() == pytest.approx(expected, abs=0.005)


def test_partners_stay_in_range_at_the_edges() -> None:
    edges = torch.tensor([0.0, 1 - 2**-24])
    assert draw_partners(torch.zeros(100), edges).tolist() == [0, 99]


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [("hard", [0.7, 0.8, 0.7, 0.3, 0.3]), ("blend", [0.7, 0.8, 0.5, 0.3, 0.4])],
)
def test_lambda_rules(mixing: str, expected: list[float]) -> None:
    lam = torch.tensor([0.3, 0.8, 0.3, 0.7, 0.7])
    weights = torch.tensor([1.0, 1.0, 0.5, 0.0, 0.25])
    assert mixing_share(lam, weights, mixing).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 8.0])
def test_beta_has_the_mean_and_variance_of_the_beta_distribution(alpha: float) -> None:
    numbers = draw_beta(alpha, (100_000,), generator(0, 0, "test"))
    assert bool(((numbers >= 0) & (numbers <= 1)).all())
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.01)
    assert numbers.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_running_statistics_come_from_the_mixed_pass_alone() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, CLASSES)).train()
    method = MentorMix(MentorMixConfig(), FACTS)
    draws = {k: d[0] for k, d in method.draw((1, B), torch.Generator().manual_seed(0)).items()}
    one = batch(50, draws)
    seen: list[Tensor] = []
    student = Student(network, bf16=False)
    train_pass = network.forward
    network.forward = lambda x: (seen.append(x), train_pass(x))[1]  # type: ignore[method-assign]
    method.step([student], one)
    _, mixed = seen
    assert network[0].running_mean == pytest.approx(0.1 * mixed.mean(dim=(0, 2, 3)), abs=1e-6)
    assert network[0].num_batches_tracked.item() == 1


def test_preview_normalizes_by_the_batch_and_leaves_no_trace() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, CLASSES)).train()
    images = 3 + 2 * batch(0, {}).images
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    student = Student(network, bf16=False)
    preview = student.preview(images)
    assert not preview.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(preview, student(images))
    assert network[0].num_batches_tracked.item() == 1
