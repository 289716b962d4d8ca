"""The settings of each method: one section of the configuration per method, under its name
(docs/explanation/methods.md)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

MethodName = Literal[
    "vanilla", "weight_decay", "dropout", "s_model", "reed", "mixup", "mentornet", "mentormix",
    "label_smoothing", "gce", "co_teaching", "elr", "dividemix",
]  # fmt: skip
METHODS: tuple[MethodName, ...] = (
    "vanilla", "weight_decay", "dropout", "s_model", "reed", "mixup", "mentornet", "mentormix",
    "label_smoothing", "gce", "co_teaching", "elr", "dividemix",
)  # fmt: skip

MAX_RATE = 1e30
"""Upper limit of learning rates and weight decays: beyond those of float32, the optimizer fails with an error of torch."""

MentorName = Literal["threshold", "self_paced", "pd", "pd-closed"]


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` if the condition does not hold."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class WeightDecayConfig:
    """Plain training with stronger weight decay."""

    strength: float = 1e-3
    """Coefficient of ½‖W‖² on convolution and dense kernels, above 0 and up to 1e30; it replaces
    `optimizer.weight_decay`."""

    def __post_init__(self) -> None:
        require(
            0 < self.strength <= MAX_RATE,
            f"weight_decay.strength must be above 0 and at most {MAX_RATE:g}, got {self.strength}",
        )


@dataclass(frozen=True)
class DropoutConfig:
    """Plain training with dropout before the last layer (Srivastava et al., JMLR 2014)."""

    rate: float = 0.5
    """Probability, between 0 and 1, of setting an input of the last dense layer to 0."""

    def __post_init__(self) -> None:
        require(0 < self.rate < 1, f"dropout.rate must be above 0 and below 1, got {self.rate}")


@dataclass(frozen=True)
class SModelConfig:
    """The simple noise adaptation layer (Goldberger & Ben-Reuven, ICLR 2017)."""

    initial_noise: float = 0.1
    """Initial share of wrong labels in the noise adaptation layer, from 1e-9 to less than 1, spread evenly over the
    other classes."""

    def __post_init__(self) -> None:
        require(
            1e-9 <= self.initial_noise < 1,
            f"s_model.initial_noise must be at least 1e-9 and below 1, got {self.initial_noise}",
        )


@dataclass(frozen=True)
class ReedConfig:
    """Bootstrapping (Reed et al., ICLR workshop 2015)."""

    RENAMED: ClassVar = {"kind": "variant"}

    variant: Literal["soft", "hard"] = "soft"
    """Prediction mixed into the target: `soft`: class probabilities; `hard`: the predicted class."""

    beta: float = 0.95
    """Share of the given label in the target, from 0 to 1; the paper uses 0.95 for soft and 0.8 for hard."""

    def __post_init__(self) -> None:
        require(0 <= self.beta <= 1, f"reed.beta must be from 0 to 1, got {self.beta}")


@dataclass(frozen=True)
class MixupConfig:
    """mixup (Zhang et al., ICLR 2018)."""

    alpha: float = 1.0
    """Parameter of λ ~ Beta(alpha, alpha), drawn per image, above 0."""

    def __post_init__(self) -> None:
        require(self.alpha > 0, f"mixup.alpha must be above 0, got {self.alpha}")


@dataclass(frozen=True)
class MentorNetConfig:
    """MentorNet (Jiang et al., ICML 2018 and 2020)."""

    RENAMED: ClassVar = {"burn_in": "burn_in_percent"}

    loss_percentile: float | Literal["auto"] = 0.7
    """Quantile of the losses of a batch, from 0 to 1, whose moving average is the threshold; `auto`: the share of clean
    labels, estimated during the first half of the ramp. `auto` requires `schedule: ramp`."""

    schedule: Literal["released", "ramp"] = "released"
    """`released`: use `loss_percentile` throughout, as in the released code. `ramp`: 1 during burn-in, then linearly
    down to `loss_percentile` over half of the remaining steps; intended for runs of a few thousand steps."""

    balance: bool = False
    """Subtract the running mean loss of each given class before the threshold is applied."""

    average_decay: float = 0.5
    """Decay of the moving average of the threshold, from 0 to less than 1; the average starts at 0 without bias
    correction."""

    burn_in_percent: int = 10
    """Length of burn-in in percent of training, 0 to 100. As in the released code, all weights are 1 while the whole
    percentage done is below `burn_in_percent` − 1."""

    burn_in_epochs: int = 0
    """Minimum length of burn-in in epochs, at least 0; the longer of the two burn-ins applies."""

    mentor: MentorName = "threshold"
    """Weighting rule. `threshold`: v = 1 if ℓ ≤ threshold, else 0. `self_paced`: the same with a percentile that rises
    to 1 by the end of training. `pd`: the trained MentorNet-PD, read from `weights`. `pd-closed`: its closed form."""

    weights: str = ""
    """Path of the .npz file with the variables of the released MentorNet-PD checkpoint; required by `mentor: pd` only."""

    def __post_init__(self) -> None:
        require(
            self.loss_percentile == "auto" or 0 <= self.loss_percentile <= 1,
            f"loss_percentile must be auto or from 0 to 1, got {self.loss_percentile}",
        )
        require(
            0 <= self.average_decay < 1,
            f"average_decay must be at least 0 and below 1, got {self.average_decay}",
        )
        require(
            0 <= self.burn_in_percent <= 100, f"burn_in_percent must be 0 to 100, got {self.burn_in_percent}"
        )
        require(
            self.loss_percentile != "auto" or self.schedule == "ramp",
            "loss_percentile=auto needs schedule=ramp: after the released burn-in there is no estimate yet",
        )
        require(self.burn_in_epochs >= 0, f"burn_in_epochs must be at least 0, got {self.burn_in_epochs}")
        require(
            self.schedule == "released" or self.mentor != "self_paced",
            "mentor=self_paced needs schedule=released",
        )
        require(
            (self.mentor == "pd") == bool(self.weights),
            "`weights` is required for mentor=pd and must be empty for other mentors",
        )


@dataclass(frozen=True)
class MentorMixConfig(MentorNetConfig):
    """MentorMix (Jiang et al., ICML 2020, Algorithm 1, and its released code)."""

    alpha: float = 8.0
    """Parameter of λ ~ Beta(alpha, alpha), drawn per image, above 0."""

    mixing: Literal["hard", "blend"] = "hard"
    """Share of an image in its mixture. `hard`: max(λ, 1 − λ) if v ≥ 0.5, else min, as in the released code. `blend`:
    v·max + (1 − v)·min, as in Algorithm 1."""

    second_reweight: bool = False
    """Weight the mixed losses again, with a second moving average. This turns weight decay off and requires `schedule:
    released` and `balance: false`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.alpha > 0, f"mentormix.alpha must be above 0, got {self.alpha}")
        require(
            not self.second_reweight or (self.schedule == "released" and not self.balance),
            "mentormix.second_reweight=true needs schedule=released and balance=false",
        )


@dataclass(frozen=True)
class LabelSmoothingConfig:
    """Label smoothing (Szegedy et al., CVPR 2016; for label noise Lukasik et al., ICML 2020)."""

    epsilon: float = 0.1
    """Share of the target, between 0 and 1, that is spread evenly over all classes."""

    def __post_init__(self) -> None:
        require(
            0 < self.epsilon < 1, f"label_smoothing.epsilon must be above 0 and below 1, got {self.epsilon}"
        )


@dataclass(frozen=True)
class GCEConfig:
    """Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018)."""

    q: float = 0.7
    """Exponent q of the loss (1 − p^q)/q, from 1e-9 to 1; near 0: cross-entropy; 1: mean absolute error."""

    def __post_init__(self) -> None:
        require(1e-9 <= self.q <= 1, f"gce.q must be from 1e-9 to 1, got {self.q}")


@dataclass(frozen=True)
class CoTeachingConfig:
    """Co-teaching (Han et al., NeurIPS 2018)."""

    RENAMED: ClassVar = {"gradual": "ramp_epochs"}

    forget_rate: float = 0.2
    """Final share τ of each batch that is left out, from 0 to less than 1; best set to the noise level."""

    ramp_epochs: float = 10.0
    """Epochs T_k over which the share left out rises from 0 to `forget_rate`, above 0."""

    def __post_init__(self) -> None:
        require(
            0 <= self.forget_rate < 1,
            f"co_teaching.forget_rate must be at least 0 and below 1, got {self.forget_rate}",
        )
        require(self.ramp_epochs > 0, f"co_teaching.ramp_epochs must be above 0, got {self.ramp_epochs}")


@dataclass(frozen=True)
class ELRConfig:
    """Early-learning regularization (Liu et al., NeurIPS 2020)."""

    strength: float = 3.0
    """Weight λ of the regularization, at least 0; the paper uses 3 for CIFAR-10 and 7 for CIFAR-100."""

    memory: float = 0.7
    """Decay β of the running average of each image's predictions, from 0 to less than 1; the paper uses 0.7 for
    CIFAR-10 and 0.9 for CIFAR-100."""

    def __post_init__(self) -> None:
        require(self.strength >= 0, f"elr.strength must be at least 0, got {self.strength}")
        require(0 <= self.memory < 1, f"elr.memory must be at least 0 and below 1, got {self.memory}")


@dataclass(frozen=True)
class DivideMixConfig:
    """DivideMix (Li et al., ICLR 2020)."""

    RENAMED: ClassVar = {"unlabelled_weight": "unlabeled_weight"}

    warmup_epochs: int = 10
    """Epochs of plain training of both networks before the first division, at least 1; the paper uses 10 for CIFAR-10
    and 30 for CIFAR-100."""

    threshold: float = 0.5
    """Probability τ of a clean label, between 0 and 1, above which an image keeps its label."""

    temperature: float = 0.5
    """Temperature T of sharpening, above 0: targets are proportional to p^(1/T)."""

    alpha: float = 4.0
    """Parameter of λ ~ Beta(alpha, alpha), drawn per step, above 0."""

    unlabeled_weight: float = 25.0
    """Weight λ_u of the unlabeled loss, at least 0; for symmetric noise of 20, 50, 80 and 90 % the paper uses 0, 25, 25
    and 50 on CIFAR-10, and 25, 150, 150 and 150 on CIFAR-100."""

    ramp_epochs: float = 16.0
    """Epochs after the warm-up over which λ_u rises from 0 to `unlabeled_weight`, above 0."""

    confidence_penalty: bool = False
    """Add the negative entropy of the predictions to the warm-up loss; intended for asymmetric noise."""

    def __post_init__(self) -> None:
        require(
            self.warmup_epochs >= 1, f"dividemix.warmup_epochs must be at least 1, got {self.warmup_epochs}"
        )
        require(
            0 < self.threshold < 1, f"dividemix.threshold must be above 0 and below 1, got {self.threshold}"
        )
        require(self.temperature > 0, f"dividemix.temperature must be above 0, got {self.temperature}")
        require(self.alpha > 0, f"dividemix.alpha must be above 0, got {self.alpha}")
        require(
            self.unlabeled_weight >= 0,
            f"dividemix.unlabeled_weight must be at least 0, got {self.unlabeled_weight}",
        )
        require(self.ramp_epochs > 0, f"dividemix.ramp_epochs must be above 0, got {self.ramp_epochs}")
