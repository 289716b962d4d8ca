"""Co-teaching and DivideMix, compared with slow NumPy implementations of their algorithms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.methods.linear_student import CLASSES, CPU, B, Linear, batch, probabilities
from training.config import TrainConfig
from training.method_config import CoTeachingConfig, DivideMixConfig
from training.methods.co_teaching import CoTeaching
from training.methods.dividemix import DivideMix
from training.methods.interface import Batch, RunFacts
from training.methods.mixture import clean_probability
from training.methods.registry import make_method


@pytest.mark.parametrize("epoch", [0, 4, 20])
def test_each_network_learns_from_what_the_other_finds_easy(epoch: int) -> None:
    students = [Linear(1), Linear(2)]
    plain = batch(0, {})
    one = Batch(plain.images, plain.labels, 0, {}, epoch=epoch)
    keep = int((1 - 0.4 * min(epoch / 8, 1)) * B)
    losses = []
    for student in students:
        p, y = probabilities(one, student)
        losses.append([-np.log(p[i][y[i]]) for i in range(B)])
    easy = [sorted(range(B), key=lambda i, of=of: of[i])[:keep] for of in losses]
    expected = np.mean([losses[0][i] for i in easy[1]]) + np.mean([losses[1][i] for i in easy[0]])
    outcome = CoTeaching(CoTeachingConfig(forget_rate=0.4, ramp_epochs=8)).step(students, one)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.weights is not None
    assert outcome.weights.nonzero().flatten().tolist() == sorted(easy[0])


def test_the_mixture_finds_the_component_of_smaller_mean() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.3, 0.1, 3000), rng.normal(3.0, 0.5, 1000)
    result = clean_probability(torch.tensor(np.concatenate([low, high])))
    assert result[:3000].mean().item() > 0.99
    assert result[3000:].mean().item() < 0.01
    assert clean_probability(torch.ones(5)).tolist() == [1.0] * 5


def test_the_mixture_equals_that_of_scikit_learn() -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    rng = np.random.default_rng(1)
    losses = np.concatenate([rng.gamma(2, 0.2, 700), rng.normal(2.5, 0.8, 300)])
    x = ((losses - losses.min()) / (losses.max() - losses.min()))[:, None]
    theirs = mixture.GaussianMixture(2, max_iter=500, tol=1e-9, reg_covar=5e-4, random_state=0).fit(x)
    expected = theirs.predict_proba(x)[:, theirs.means_.argmin()]
    assert clean_probability(torch.tensor(losses)).numpy() == pytest.approx(expected, abs=0.02)


FACTS = RunFacts(CLASSES, 4 * B, CPU)
CONFIG = DivideMixConfig(warmup_epochs=2, temperature=0.5, unlabeled_weight=25.0, ramp_epochs=4)


def test_the_plan_takes_each_networks_division_from_the_other() -> None:
    method, order = DivideMix(CONFIG, FACTS), torch.randperm(64, generator=torch.Generator().manual_seed(0))
    [warm_up] = method.plan(1, order, 8)
    assert sorted(warm_up.flatten().tolist()) == list(range(64))
    method.state["clean"][0] = (torch.arange(64) < 40).double()
    method.state["clean"][1] = (torch.arange(64) < 20).double()
    first, second = method.plan(2, order, 8)
    assert (first.shape, second.shape) == ((2, 16), (5, 16))
    assert bool((first[:, :8] < 20).all())
    assert bool((first[:, 8:] >= 20).all())
    assert sorted(second[:, :8].flatten().tolist()) == list(range(40))
    assert set(second[:, 8:].flatten().tolist()) == set(range(40, 64))  # fewer than needed: they come again


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_there_is_always_a_labeled_and_an_unlabeled_batch(probability: float) -> None:
    method = DivideMix(CONFIG, FACTS)
    method.state["clean"].fill_(probability)
    for phase in method.plan(5, torch.arange(64), 8):
        labeled, unlabeled = phase[:, :8], phase[:, 8:]
        assert len(phase) == (1 if probability == 0 else 7)
        assert not set(labeled.flatten().tolist()) & set(unlabeled.flatten().tolist())


@pytest.mark.parametrize("phase", [0, 1])
def test_dividemix_equals_the_algorithm(phase: int) -> None:
    method, students = DivideMix(CONFIG, FACTS), [Linear(1), Linear(2)]
    views = [batch(0, {}, seed=7).images, batch(0, {}, seed=8).images]
    labels, size = batch(0, {}).labels, B // 2
    index = torch.arange(B) + 3
    method.state["clean"].copy_(torch.rand(2, 4 * B, generator=torch.Generator().manual_seed(2)))
    draws = {k: d[0] for k, d in method.draw((1, B), torch.Generator().manual_seed(3)).items()}
    one = Batch(views[0], labels, 0, draws, index, 3, phase, 0.5, views[1])
    result = method.step(students, one).loss.item()

    def softmax(x: np.ndarray, student: Linear) -> np.ndarray:
        z = x.reshape(-1) @ student.kernel.detach().double().numpy()
        return np.exp(z) / np.exp(z).sum()

    def sharpen(p: np.ndarray) -> np.ndarray:
        return p**2 / (p**2).sum()

    x = [view.double().numpy() for view in views]
    mine, peer = students[phase], students[1 - phase]
    targets = []
    for i in range(B):
        own = (softmax(x[0][i], mine) + softmax(x[1][i], mine)) / 2
        if i < size:
            w = float(method.state["clean"][1 - phase][index[i]])
            targets.append(sharpen(w * np.eye(CLASSES)[labels[i]] + (1 - w) * own))
        else:
            other = (softmax(x[0][i], peer) + softmax(x[1][i], peer)) / 2
            targets.append(sharpen((own + other) / 2))
    lam = float(torch.maximum(draws["lam"], 1 - draws["lam"]))
    every_x, every_t = list(x[0]) + list(x[1]), targets + targets
    predicted, mixed_targets = [], []
    for a, b in enumerate(draws["partner"].tolist()):
        predicted.append(softmax(lam * every_x[a] + (1 - lam) * every_x[b], mine))
        mixed_targets.append(lam * every_t[a] + (1 - lam) * every_t[b])
    labeled = [a for a in range(2 * B) if a % B < size]
    unlabeled = [a for a in range(2 * B) if a % B >= size]
    supervised = -np.mean([(mixed_targets[a] * np.log(predicted[a])).sum() for a in labeled])
    squared = np.mean([((predicted[a] - mixed_targets[a]) ** 2).mean() for a in unlabeled])
    pi = 1 / CLASSES
    regular = (pi * np.log(pi / np.mean(predicted, axis=0))).sum()
    ramp = (3 + 0.5 - 2) / 4
    assert result == pytest.approx(supervised + 25 * ramp * squared + regular, rel=1e-4)


@pytest.mark.parametrize("penalty", [False, True])
def test_the_warm_up_trains_both_networks_plainly(penalty: bool) -> None:
    method, students = DivideMix(DivideMixConfig(confidence_penalty=penalty), FACTS), [Linear(1), Linear(2)]
    one = batch(0, {})
    expected = 0.0
    for student in students:
        p, y = probabilities(one, student)
        expected += -np.mean([np.log(p[i][y[i]]) for i in range(B)])
        expected += (p * np.log(p)).sum(axis=1).mean() if penalty else 0
    assert method.step(students, one).loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["co_teaching", "dividemix"])
def test_methods_by_name_say_how_many_networks_they_need(name: str) -> None:
    assert make_method(TrainConfig(method=name), FACTS).networks == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [5e-324, 1e-5, 0.01, 0.5, 1.0])
def test_sharpening_works_at_any_temperature(temperature: float) -> None:
    """p^(1/T) of a hundred classes is 0 in float32 at low temperatures."""
    method = DivideMix(replace(CONFIG, temperature=temperature), FACTS)
    p = torch.full((1, 100), 0.99 / 99)
    p[0, 7] = 0.01 * 1.5
    p /= p.sum()
    sharp = method._sharpen(p)
    assert sharp.sum().item() == pytest.approx(1)
    assert int(sharp.argmax()) == 7
