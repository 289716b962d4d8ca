"""What one training run is. The resolved configuration is saved beside the result and names the run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MethodName = Literal["vanilla", "mixup", "mentornet", "mentormix"]
METHODS: tuple[MethodName, ...] = ("vanilla", "mixup", "mentornet", "mentormix")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class Network:
    """The network that is trained."""

    name: str = "preact_resnet18"
    """A network of training/models: preact_resnet18 or small_cnn."""

    width: int = 64
    """Channels of the first stage."""

    def __post_init__(self) -> None:
        _require(self.width >= 1, f"network.width must be at least 1, got {self.width}")


@dataclass(frozen=True)
class Augment:
    """How a training image is changed before each use."""

    crop_padding: int = 4
    """Pixels of black border from which a crop of the original size is cut; 0: no cropping."""

    flip: bool = True
    """Mirror each image with probability one half."""

    def __post_init__(self) -> None:
        _require(self.crop_padding >= 0, f"augment.crop_padding must not be negative: {self.crop_padding}")


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum, not Nesterov, as in the MentorMix code."""

    learning_rate: float = 0.1
    """Rate before any decay."""

    momentum: float = 0.9

    weight_decay: float = 2e-4
    """Strength of ½‖W‖² on convolution and dense kernels; biases and batch norm are never decayed."""

    schedule: Literal["cosine", "step"] = "cosine"
    """cosine: to zero over the whole run. step: times `decay` at each of `milestones`."""

    milestones: tuple[int, ...] = ()
    """Epochs at which the step schedule decays."""

    decay: float = 0.1

    warmup_epochs: float = 0.0
    """Length of a linear rise from zero at the start."""

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, f"optimizer.learning_rate must be above 0: {self.learning_rate}")
        _require(0 <= self.momentum < 1, f"optimizer.momentum must be in [0, 1): {self.momentum}")
        _require(self.weight_decay >= 0, f"optimizer.weight_decay must not be negative: {self.weight_decay}")
        _require(
            self.warmup_epochs >= 0, f"optimizer.warmup_epochs must not be negative: {self.warmup_epochs}"
        )
        _require(
            list(self.milestones) == sorted(self.milestones),
            f"optimizer.milestones must be in order: {self.milestones}",
        )


@dataclass(frozen=True)
class Mixup:
    """mixup (Zhang et al., ICLR 2018)."""

    alpha: float = 1.0
    """λ ~ Beta(alpha, alpha) for each image."""

    def __post_init__(self) -> None:
        _require(self.alpha > 0, f"mixup.alpha must be above 0: {self.alpha}")


@dataclass(frozen=True)
class MentorNet:
    """MentorNet with a threshold (Jiang et al., ICML 2018 and 2020)."""

    loss_percentile: float = 0.7
    """Share of the batch, by loss, whose largest loss is the threshold before averaging."""

    average_decay: float = 0.5
    """Decay of the moving average of that threshold; from 0, without bias correction."""

    burn_in: int = 10
    """All weights are 1 while the percentage of training done is below burn_in − 1."""

    def __post_init__(self) -> None:
        _require(0 <= self.loss_percentile <= 1, f"loss_percentile must be in [0, 1]: {self.loss_percentile}")
        _require(0 <= self.average_decay < 1, f"average_decay must be in [0, 1): {self.average_decay}")
        _require(0 <= self.burn_in <= 100, f"burn_in is a percentage: {self.burn_in}")


@dataclass(frozen=True)
class MentorMix(MentorNet):
    """MentorMix (Jiang et al., ICML 2020, Algorithm 1, and its released code)."""

    alpha: float = 8.0
    """λ ~ Beta(alpha, alpha) for each image."""

    mixing: Literal["hard", "blend"] = "hard"
    """hard: the released code's switch at v ≥ 0.5; blend: Algorithm 1's v·max + (1−v)·min."""

    second_reweight: bool = False
    """Weight the mixed losses again, by a second moving average; this turns weight decay off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.alpha > 0, f"mentormix.alpha must be above 0: {self.alpha}")


@dataclass(frozen=True)
class TrainConfig:
    """One run."""

    method: MethodName = "vanilla"
    """How the loss treats the labels; the section of the same name sets it, the others are ignored."""

    seed: int = 0
    """All randomness is a function of seed, epoch and purpose."""

    epochs: int = 100

    batch_size: int = 128
    """The last images of an epoch that do not fill a batch are left out; each epoch leaves out others."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the hardware multiplies bf16 matrices, else fp32."""

    average_decay: float = 0.9999
    """Decay of the averaged weights used in evaluation, at most (1+step)/(10+step); 0: no averaging."""

    evaluate_every: int = 1
    """Epochs between measurements of test accuracy; the last epoch is always measured."""

    memorised_every: int = 5
    """Epochs between measurements on the training set, without augmentation; the last always."""

    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    optimizer: Optimizer = field(default_factory=Optimizer)
    mixup: Mixup = field(default_factory=Mixup)
    mentornet: MentorNet = field(default_factory=MentorNet)
    mentormix: MentorMix = field(default_factory=MentorMix)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every", "memorised_every"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        _require(0 <= self.average_decay < 1, f"average_decay must be in [0, 1): {self.average_decay}")

    def resolved(self) -> dict[str, Any]:
        """Return what decides this run: every key, less the sections of the other methods."""
        others = {name for name in METHODS if name != self.method}
        return {key: value for key, value in asdict(self).items() if key not in others}

    def digest(self, *inputs: str) -> str:
        """Return 16 hex digits that name this configuration on these inputs (digests of data sets)."""
        text = json.dumps([self.resolved(), *inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
