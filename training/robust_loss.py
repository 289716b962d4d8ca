"""The methods as losses for a training loop of one's own: random draws and progress are kept here.

    loss = MentorMix(steps=10_000, noise_level=0.4)
    outcome = loss(network, images, labels)      # once for each step of the optimizer
    outcome.loss.backward()

Methods that plan whole epochs (DivideMix) or train two networks (co-teaching) need the trainer of this package.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UsageError
from training import method_config
from training.config import TrainConfig
from training.methods.interface import Batch, RunFacts, StepOutcome
from training.methods.registry import make_method
from training.models.student import Student
from training.randomness import generator
from training.recipes.released_settings import CIFAR10, mentormix_for


class RobustLoss:
    """A method and what it needs from one step to the next.

    Call it with a network in training mode and a batch; it calls the network itself, once or twice, inside the
    surrounding autocast. The n-th call of two losses with equal seeds draws the same numbers.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        steps: int,
        classes: int = 0,
        examples: int = 0,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """`config`: the method and its section, nothing else counts; `steps`: of the whole training; `device`: where
        batches will be; `classes`, `examples`: of the training set, for methods that keep something of each. Raises
        UsageError for steps below 1, and for methods that need the trainer.
        """  # fmt: skip
        if steps < 1:
            raise UsageError(f"steps must be at least 1, got {steps}")
        self.steps, self.seed, self.device = steps, seed, torch.device(device)
        self.method = make_method(config, RunFacts(classes, examples, self.device, steps=steps))
        if self.method.networks > 1 or config.method in ("dropout", "weight_decay"):
            raise UsageError(f"{config.method}: not a loss of one network; use `python -m training train`")
        self.done = 0
        self._student: Student | None = None

    def __call__(
        self, network: nn.Module, images: Tensor, labels: Tensor, index: Tensor | None = None
    ) -> StepOutcome:
        """Return the loss of a batch, a scalar with gradient, and what the method thinks of each label.

        images float [B, C, H, W]; labels int64 [B]; index int64 [B]: which examples of the set these are (ELR needs
        it). Raises UsageError beyond `steps` calls.
        """
        if self.done >= self.steps:
            raise UsageError(
                f"all {self.steps} steps are done; give the loss the steps of the whole training"
            )
        shape = (1, len(labels))
        draws = self.method.draw(
            shape, generator(self.seed, self.done, type(self.method).__name__, self.device)
        )
        batch = Batch(
            images=images,
            labels=labels,
            percent=100 * self.done // self.steps,
            progress=self.done / self.steps,
            draws={name: drawn[0] for name, drawn in draws.items()},
            index=index,
        )
        self.done += 1
        return self.method.step([self._passes(network, images)], batch)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what the method trains beside the network, for the optimizer."""
        yield from self.method.parameters.values()

    def weight_decay(self, configured: float) -> float:
        """Return the weight decay to train with: MentorMix with its second weighting has none."""
        return self.method.weight_decay(configured)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs, by name."""
        return {"done": torch.tensor(self.done), **self.method.state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""
        self.done = int(state["done"])
        for name, tensor in self.method.state.items():
            tensor.copy_(state[name])

    def _passes(self, network: nn.Module, images: Tensor) -> Student:
        half = torch.is_autocast_enabled(images.device.type)
        student = self._student
        if student is None or student.network is not network or student.bf16 != half:
            student = self._student = Student(network, half)
        return student


class MentorMixLoss(RobustLoss):
    """MentorMix (Jiang et al., ICML 2020)."""

    def __init__(
        self,
        steps: int,
        noise_level: float | None = None,
        *,
        seed: int = 0,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        """`noise_level`: take the paper's settings for CIFAR-10 at the nearest level; `settings`: of
        training.method_config.MentorMix, such as alpha and loss_percentile.
        """  # fmt: skip
        base = method_config.MentorMixConfig() if noise_level is None else mentormix_for(CIFAR10, noise_level)
        config = TrainConfig(method="mentormix", mentormix=replace(base, **settings))
        super().__init__(config, steps=steps, seed=seed, device=device)


class MentorNetLoss(RobustLoss):
    """MentorNet (Jiang et al., ICML 2018) with a mentor that goes by a moving percentile of the loss."""

    def __init__(self, steps: int, *, seed: int = 0, device: str = "cpu", **settings: Any) -> None:
        """`settings`: of training.method_config.MentorNet, such as loss_percentile."""
        config = TrainConfig(method="mentornet", mentornet=method_config.MentorNetConfig(**settings))
        super().__init__(config, steps=steps, seed=seed, device=device)


class MixupLoss(RobustLoss):
    """mixup (Zhang et al., ICLR 2018)."""

    def __init__(self, steps: int, *, alpha: float = 1.0, seed: int = 0, device: str = "cpu") -> None:
        config = TrainConfig(method="mixup", mixup=method_config.MixupConfig(alpha))
        super().__init__(config, steps=steps, seed=seed, device=device)


class ELRLoss(RobustLoss):
    """Early-learning regularization (Liu et al., NeurIPS 2020); call it with the index of each example."""

    def __init__(
        self, steps: int, *, examples: int, classes: int, device: str = "cpu", **settings: Any
    ) -> None:
        """`examples`: of the training set; `settings`: of training.method_config.ELR: strength, memory."""
        config = TrainConfig(method="elr", elr=method_config.ELRConfig(**settings))
        super().__init__(config, steps=steps, classes=classes, examples=examples, device=device)


class GCELoss(RobustLoss):
    """Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018)."""

    def __init__(self, steps: int, *, q: float = 0.7) -> None:
        super().__init__(TrainConfig(method="gce", gce=method_config.GCEConfig(q)), steps=steps)


class LabelSmoothingLoss(RobustLoss):
    """Label smoothing (Szegedy et al., CVPR 2016)."""

    def __init__(self, steps: int, *, epsilon: float = 0.1) -> None:
        smoothing = method_config.LabelSmoothingConfig(epsilon)
        super().__init__(TrainConfig(method="label_smoothing", label_smoothing=smoothing), steps=steps)


class ReedLoss(RobustLoss):
    """Bootstrapping (Reed et al., ICLR workshop 2015)."""

    def __init__(self, steps: int, **settings: Any) -> None:
        """`settings`: of training.method_config.Reed: kind, beta."""
        super().__init__(TrainConfig(method="reed", reed=method_config.ReedConfig(**settings)), steps=steps)
