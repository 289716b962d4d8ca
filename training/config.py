"""What one training run is. The resolved configuration is saved beside the result and names the run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from training import method_config as methods
from training.method_config import METHODS, MethodName, require


@dataclass(frozen=True)
class Network:
    """The network that is trained."""

    name: str = "preact_resnet18"
    """A network of training/models: preact_resnet18 or small_cnn."""

    width: int = 64
    """Channels of the first stage."""

    def __post_init__(self) -> None:
        require(self.width >= 1, f"network.width must be at least 1, got {self.width}")


@dataclass(frozen=True)
class Augment:
    """How a training image is changed before each use."""

    crop_padding: int = 4
    """Pixels of black border from which a crop of the original size is cut; 0: no cropping."""

    flip: bool = True
    """Mirror each image with probability one half."""

    def __post_init__(self) -> None:
        require(self.crop_padding >= 0, f"augment.crop_padding must not be negative: {self.crop_padding}")


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
        require(self.learning_rate > 0, f"optimizer.learning_rate must be above 0: {self.learning_rate}")
        require(0 <= self.momentum < 1, f"optimizer.momentum must be in [0, 1): {self.momentum}")
        require(self.weight_decay >= 0, f"optimizer.weight_decay must not be negative: {self.weight_decay}")
        require(
            self.warmup_epochs >= 0, f"optimizer.warmup_epochs must not be negative: {self.warmup_epochs}"
        )
        require(
            list(self.milestones) == sorted(self.milestones),
            f"optimizer.milestones must be in order: {self.milestones}",
        )


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
    weight_decay: methods.WeightDecay = field(default_factory=methods.WeightDecay)
    dropout: methods.Dropout = field(default_factory=methods.Dropout)
    s_model: methods.SModel = field(default_factory=methods.SModel)
    reed: methods.Reed = field(default_factory=methods.Reed)
    mixup: methods.Mixup = field(default_factory=methods.Mixup)
    mentornet: methods.MentorNet = field(default_factory=methods.MentorNet)
    mentormix: methods.MentorMix = field(default_factory=methods.MentorMix)
    label_smoothing: methods.LabelSmoothing = field(default_factory=methods.LabelSmoothing)
    gce: methods.GCE = field(default_factory=methods.GCE)
    co_teaching: methods.CoTeaching = field(default_factory=methods.CoTeaching)
    elr: methods.ELR = field(default_factory=methods.ELR)
    dividemix: methods.DivideMix = field(default_factory=methods.DivideMix)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every", "memorised_every"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        require(0 <= self.average_decay < 1, f"average_decay must be in [0, 1): {self.average_decay}")

    def resolved(self) -> dict[str, Any]:
        """Return what decides this run: every key, less the sections of the other methods."""
        others = {name for name in METHODS if name != self.method}
        return {key: value for key, value in asdict(self).items() if key not in others}

    def digest(self, *inputs: str) -> str:
        """Return 16 hex digits that name this configuration on these inputs (digests of data sets)."""
        text = json.dumps([self.resolved(), *inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
