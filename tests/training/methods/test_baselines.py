"""The other methods of one network, compared with slow NumPy implementations of their equations."""

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UsageError
from tests.training.methods.linear_student import CLASSES, FACTS, B, Linear, batch, probabilities
from training.config import TrainConfig
from training.method_config import (
    DropoutConfig,
    ELRConfig,
    GCEConfig,
    LabelSmoothingConfig,
    MentorNetConfig,
    ReedConfig,
    SModelConfig,
    WeightDecayConfig,
)
from training.methods.interface import Batch, Method
from training.methods.mentornet import Mentor, percentile
from training.methods.registry import make_method
from training.models.student import Student


def loss_of(method: Method, one: Batch, student: Linear) -> float:
    outcome = method.step([student], one)
    p, y = probabilities(one, student)
    assert outcome.losses is not None
    assert outcome.losses.tolist() == pytest.approx(
        [-np.log(p[i][y[i]]) for i in range(B)], rel=1e-4, abs=1e-6
    )
    return outcome.loss.item()


@pytest.mark.parametrize(("kind", "beta"), [("soft", 0.95), ("hard", 0.8)])
def test_reed_equals_equations_6_and_7(kind: str, beta: float) -> None:
    student, one = Linear(), batch(0, {})
    method = make_method(TrainConfig(method="reed", reed=ReedConfig(kind, beta)), FACTS)  # type: ignore[arg-type]
    p, y = probabilities(one, student)
    total = 0.0
    for i in range(B):
        for k in range(CLASSES):
            own = p[i][k] if kind == "soft" else float(k == p[i].argmax())
            total -= (beta * (k == y[i]) + (1 - beta) * own) * np.log(p[i][k])
    assert loss_of(method, one, student) == pytest.approx(total / B, rel=1e-5)


def test_soft_bootstrapping_lets_the_gradient_through_its_own_target() -> None:
    """With β = 0 it is the entropy: −Σ q·log q, whose gradient over the logits is −q·(log q + H)."""
    logits = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)

    class Fixed(Linear):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return logits

    method = make_method(TrainConfig(method="reed", reed=ReedConfig("soft", 0.0)), FACTS)
    one = Batch(torch.zeros(1, 3, 2, 2), torch.tensor([0]), 0, {})
    method.step([Fixed()], one).loss.backward()
    q = logits.detach().softmax(1).double().numpy()[0]
    entropy = -(q * np.log(q)).sum()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx(-q * (np.log(q) + entropy), rel=1e-4)


def test_s_model_equals_its_equation_and_learns_its_matrix() -> None:
    student, one = Linear(), batch(0, {})
    method = make_method(TrainConfig(method="s_model", s_model=SModelConfig(initial_noise=0.3)), FACTS)
    p, y = probabilities(one, student)
    theta = np.full((CLASSES, CLASSES), 0.3 / (CLASSES - 1))
    np.fill_diagonal(theta, 0.7)
    expected = -np.mean([np.log(sum(p[i][k] * theta[k][y[i]] for k in range(CLASSES))) for i in range(B)])
    assert loss_of(method, one, student) == pytest.approx(expected, rel=1e-5)
    method.step([student], one).loss.backward()
    gradient = method.parameters["transition"].grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0)


def test_label_smoothing_equals_cross_entropy_against_the_smooth_target() -> None:
    student, one = Linear(), batch(0, {})
    method = make_method(
        TrainConfig(method="label_smoothing", label_smoothing=LabelSmoothingConfig(0.2)), FACTS
    )
    p, y = probabilities(one, student)
    targets = 0.8 * np.eye(CLASSES)[y] + 0.2 / CLASSES
    assert loss_of(method, one, student) == pytest.approx(-(targets * np.log(p)).sum() / B, rel=1e-5)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_gce_equals_equation_6(q: float) -> None:
    student, one = Linear(), batch(0, {})
    p, y = probabilities(one, student)
    expected = np.mean([(1 - p[i][y[i]] ** q) / q for i in range(B)])
    result = loss_of(make_method(TrainConfig(method="gce", gce=GCEConfig(q)), FACTS), one, student)
    assert result == pytest.approx(expected, rel=1e-5)


def test_elr_equals_its_equations_over_repeated_visits() -> None:
    method = make_method(TrainConfig(method="elr", elr=ELRConfig(strength=3.0, memory=0.7)), FACTS)
    student, memory = Linear(), np.zeros((FACTS.examples, CLASSES))
    for visit in range(3):
        index = torch.arange(visit, visit + B)  # some images come again, some for the first time
        one = Batch(batch(0, {}, seed=visit).images, batch(0, {}, seed=visit).labels, 0, {}, index)
        p, y = probabilities(one, student)
        clamped = p.clip(1e-4, 1 - 1e-4)
        terms = []
        for i, at in enumerate(index.tolist()):
            memory[at] = 0.7 * memory[at] + 0.3 * clamped[i] / clamped[i].sum()
            terms.append(np.log(1 - (clamped[i] * memory[at]).sum()))
        cross_entropy = -np.mean([np.log(p[i][y[i]]) for i in range(B)])
        assert loss_of(method, one, student) == pytest.approx(cross_entropy + 3 * np.mean(terms), rel=1e-4)
    assert method.state["targets"].numpy() == pytest.approx(memory, abs=1e-5)


def test_weight_decay_is_vanilla_with_its_own_strength() -> None:
    method = make_method(TrainConfig(method="weight_decay", weight_decay=WeightDecayConfig(0.01)), FACTS)
    assert method.weight_decay(2e-4) == 0.01
    student, one = Linear(), batch(0, {})
    plain = make_method(TrainConfig(), FACTS)
    assert loss_of(method, one, student) == loss_of(plain, one, student)


def test_dropout_drops_features_in_training_alone_and_depends_on_the_seed() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES, bias=False))
    names = list(network.state_dict())
    make_method(TrainConfig(method="dropout", dropout=DropoutConfig(0.5)), FACTS).prepare(network)
    assert list(network.state_dict()) == names
    images, kernel = batch(0, {}).images, network[1].weight.detach()
    student = Student(network, bf16=False)
    torch.manual_seed(3)
    mask = torch.nn.functional.dropout(torch.ones(B, 12), 0.5)
    torch.manual_seed(3)
    assert torch.allclose(student(images), (images.flatten(1) * mask) @ kernel.T, atol=1e-6)
    assert torch.allclose(student.infer(images), images.flatten(1) @ kernel.T, atol=1e-6)


def test_dropout_needs_a_dense_layer() -> None:
    method = make_method(TrainConfig(method="dropout"), FACTS)
    with pytest.raises(UsageError, match="needs a network with a dense layer"):
        method.prepare(nn.Conv2d(3, CLASSES, 1))


@pytest.mark.parametrize(("percent", "share"), [(10, 0.5), (99, 1.0), (55, 0.5 + 0.5 * 45 / 89)])
def test_self_paced_learning_admits_more_until_it_admits_all(percent: int, share: float) -> None:
    mentor = Mentor(MentorNetConfig(loss_percentile=0.5, average_decay=0.0, mentor="self_paced"), FACTS)
    losses = torch.arange(1000.0)
    result, _ = mentor.weigh(losses, batch(percent, {}))
    assert result.tolist() == (losses <= percentile(losses, share)).float().tolist()
    assert result.mean().item() == pytest.approx(share, abs=0.002)
