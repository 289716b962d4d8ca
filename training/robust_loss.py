"""Robust losses for custom training loops. Each loss keeps its own random draws and progress.

    loss = MentorMix(steps=10_000, noise_level=0.4)
    outcome = loss(network, images, labels)      # once for each step of the optimizer
    outcome.loss.backward()

Methods that plan whole epochs (DivideMix) or train two networks (co-teaching) need `training.trainer.Trainer`.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UsageError
from training import method_config
from training.config import METHODS, TrainConfig
from training.methods.interface import Batch, RunFacts, StepOutcome
from training.methods.registry import make_method
from training.models.student import Student
from training.randomness import generator
from training.recipes.released_settings import CIFAR10, mentormix_for
from training.run_length import is_short, short_run


class RobustLoss:
    """A robust-learning method with the state that it keeps between steps.

    Call it with a network in training mode and a batch. It runs one or two forward passes under the surrounding
    autocast. Random draws depend only on the seed and the number of earlier calls.
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
        """`config`: only `method` and the section of that name are used.

        `steps`: calls in the whole training. `device`: device of the batches. `classes`, `examples`: sizes of the
        training set, for methods with state per class or example. Raises UsageError for steps below 1, for missing
        sizes, and for methods and settings that need the trainer.
        """  # fmt: skip
        if steps < 1:
            raise UsageError(f"steps must be at least 1, got {steps}")
        _check_settings(config, classes, examples)
        if is_short(config.method, steps):
            warnings.warn(
                f"{short_run(config.method, steps)}; train for more epochs or with smaller batches, or use a loss without "
                "a mentor, such as Mixup or GCE",
                stacklevel=2 if type(self) is RobustLoss else 3,  # at the caller, also of a subclass
            )
        self.steps, self.seed, self.device = steps, seed, torch.device(device)
        self.method = make_method(config, RunFacts(classes, examples, self.device))
        if self.method.networks > 1 or config.method in ("dropout", "weight_decay"):
            raise UsageError(
                f"method {config.method!r} cannot be used as a loss; run `python -m training train`"
            )
        self._needs_index = config.method == "elr"
        self.done = 0
        self._student: Student | None = None

    def __call__(
        self, network: nn.Module, images: Tensor, labels: Tensor, index: Tensor | None = None
    ) -> StepOutcome:
        """Return the loss of a batch, a scalar with gradient, with the weight of each label if the method has weights.

        images float [B, C, H, W]; labels int64 [B]; index int64 [B]: rows of these examples in the training set
        (required by ELR). Raises UsageError after `steps` calls, for a missing index, and for a batch on another kind of device.
        """
        if self._needs_index and index is None:
            raise UsageError(
                "ELR needs the rows of the examples in the training set; give `index`, int64 [B]"
            )
        if self.done >= self.steps:
            raise UsageError(
                f"all {self.steps} steps are done; set steps to the number of steps of the whole training"
            )
        shape = (1, len(labels))
        draws = self.method.draw(
            shape, generator(self.seed, self.done, type(self.method).__name__, self.device)
        )
        if images.device.type != self.device.type and (draws or self._tensors()):
            raise UsageError(
                f"the batch is on {str(images.device)!r}, and the state of the loss on {str(self.device)!r}; create the loss with "
                f"device={images.device.type!r}"
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
        if self._student is None or self._student.network is not network:
            self._student = Student(network, bf16=None)
        return self.method.step([self._student], batch)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the trainable parameters of the method; pass them to the optimizer together with the network's."""
        yield from self.method.parameters.values()

    def weight_decay(self, configured: float) -> float:
        """Return the weight decay to use; MentorMix with second_reweight turns it off."""
        return self.method.weight_decay(configured)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors to store in a checkpoint, by name, with the parameters of the method."""
        return {"done": torch.tensor(self.done), **self._tensors()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state that `state_dict` returned."""
        self.done = int(state["done"])
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])

    def _tensors(self) -> dict[str, Tensor]:
        return self.method.state | {name: one.data for name, one in self.method.parameters.items()}


def _check_settings(config: TrainConfig, classes: int, examples: int) -> None:
    """Raise UsageError for an unknown method, for sizes that it lacks, and for settings that need the number of the epoch."""
    if config.method not in METHODS:
        raise UsageError(f"unknown method {config.method!r}; methods: {', '.join(METHODS)}")
    section = getattr(config, config.method, None)
    if isinstance(section, method_config.MentorNetConfig):
        if section.loss_percentile == "auto" or section.burn_in_epochs:
            raise UsageError(
                f"{config.method}: loss_percentile=auto and burn_in_epochs need the number of the epoch, which a loss does "
                "not know; give loss_percentile as a number and burn_in_percent, or run `python -m training train`"
            )
        if section.balance and classes < 1:
            raise UsageError(f"{config.method}: balance=True needs the number of classes; add classes=N")
    if config.method in ("s_model", "elr") and classes < 1:
        raise UsageError(f"{config.method} needs the number of classes; add classes=N")
    if config.method == "elr" and examples < 1:
        raise UsageError("elr needs the size of the training set; add examples=N")


class MentorMix(RobustLoss):
    """MentorMix (Jiang et al., ICML 2020)."""

    def __init__(
        self,
        steps: int,
        noise_level: float | None = None,
        *,
        classes: int = 0,
        seed: int = 0,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        """`noise_level`: use the paper's settings for CIFAR-10 at the nearest level. `classes`: number of classes, for
        balance=True. `settings`: keys of training.method_config.MentorMixConfig, such as alpha and loss_percentile.
        """  # fmt: skip
        base = method_config.MentorMixConfig() if noise_level is None else mentormix_for(CIFAR10, noise_level)
        config = TrainConfig(method="mentormix", mentormix=replace(base, **settings))
        super().__init__(config, steps=steps, classes=classes, seed=seed, device=device)


class MentorNet(RobustLoss):
    """MentorNet (Jiang et al., ICML 2018) with a threshold at a moving percentile of the loss."""

    def __init__(
        self, steps: int, *, classes: int = 0, seed: int = 0, device: str = "cpu", **settings: Any
    ) -> None:
        """`classes`: number of classes, for balance=True. `settings`: keys of
        training.method_config.MentorNetConfig, such as loss_percentile.
        """
        config = TrainConfig(method="mentornet", mentornet=method_config.MentorNetConfig(**settings))
        super().__init__(config, steps=steps, classes=classes, seed=seed, device=device)


class Mixup(RobustLoss):
    """mixup (Zhang et al., ICLR 2018)."""

    def __init__(self, steps: int, *, alpha: float = 1.0, seed: int = 0, device: str = "cpu") -> None:
        config = TrainConfig(method="mixup", mixup=method_config.MixupConfig(alpha))
        super().__init__(config, steps=steps, seed=seed, device=device)


class ELR(RobustLoss):
    """Early-learning regularization (Liu et al., NeurIPS 2020). Calls need the index of each example."""

    def __init__(
        self, steps: int, *, examples: int, classes: int, device: str = "cpu", **settings: Any
    ) -> None:
        """`examples`, `classes`: sizes of the training set. `settings`: strength and memory of
        training.method_config.ELRConfig.
        """
        config = TrainConfig(method="elr", elr=method_config.ELRConfig(**settings))
        super().__init__(config, steps=steps, classes=classes, examples=examples, device=device)


class GCE(RobustLoss):
    """Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018)."""

    def __init__(self, steps: int, *, q: float = 0.7) -> None:
        super().__init__(TrainConfig(method="gce", gce=method_config.GCEConfig(q)), steps=steps)


class LabelSmoothing(RobustLoss):
    """Label smoothing (Szegedy et al., CVPR 2016)."""

    def __init__(self, steps: int, *, epsilon: float = 0.1) -> None:
        smoothing = method_config.LabelSmoothingConfig(epsilon)
        super().__init__(TrainConfig(method="label_smoothing", label_smoothing=smoothing), steps=steps)


class Reed(RobustLoss):
    """Bootstrapping (Reed et al., ICLR workshop 2015)."""

    def __init__(self, steps: int, **settings: Any) -> None:
        """`settings`: variant and beta of training.method_config.ReedConfig."""
        super().__init__(TrainConfig(method="reed", reed=method_config.ReedConfig(**settings)), steps=steps)
