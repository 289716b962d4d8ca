"""The settings of each method: one section of the configuration, named as the method (docs/explanation/methods.md)."""

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

MentorName = Literal["threshold", "self_paced", "pd", "pd-closed"]


def require(holds: bool, message: str) -> None:
    """Raise ValueError with `message` unless it holds."""
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class WeightDecayConfig:
    """Vanilla with a stronger penalty on the weights."""

    strength: float = 1e-3
    """Of ½‖W‖², instead of optimizer.weight_decay."""

    def __post_init__(self) -> None:
        require(self.strength > 0, f"weight_decay.strength must be above 0: {self.strength}")


@dataclass(frozen=True)
class DropoutConfig:
    """Vanilla with dropout before the last layer (Srivastava et al., JMLR 2014)."""

    rate: float = 0.5
    """Probability of setting a feature to zero."""

    def __post_init__(self) -> None:
        require(0 < self.rate < 1, f"dropout.rate must be in (0, 1): {self.rate}")


@dataclass(frozen=True)
class SModelConfig:
    """The simple noise adaptation layer (Goldberger & Ben-Reuven, ICLR 2017)."""

    initial_noise: float = 0.1
    """Share of labels that the layer takes for wrong, spread evenly over the other classes, at the start."""

    def __post_init__(self) -> None:
        require(0 < self.initial_noise < 1, f"s_model.initial_noise must be in (0, 1): {self.initial_noise}")


@dataclass(frozen=True)
class ReedConfig:
    """Bootstrapping (Reed et al., ICLR workshop 2015)."""

    kind: Literal["soft", "hard"] = "soft"
    """soft: the network's probabilities join the label; hard: the class that it predicts."""

    beta: float = 0.95
    """Share of the given label in the target; the paper has 0.95 for soft and 0.8 for hard."""

    def __post_init__(self) -> None:
        require(0 <= self.beta <= 1, f"reed.beta must be in [0, 1]: {self.beta}")


@dataclass(frozen=True)
class MixupConfig:
    """mixup (Zhang et al., ICLR 2018)."""

    alpha: float = 1.0
    """λ ~ Beta(alpha, alpha) for each image."""

    def __post_init__(self) -> None:
        require(self.alpha > 0, f"mixup.alpha must be above 0: {self.alpha}")


@dataclass(frozen=True)
class MentorNetConfig:
    """MentorNet (Jiang et al., ICML 2018 and 2020)."""

    loss_percentile: float | Literal["auto"] = 0.7
    """Share of the batch, by loss, whose largest loss is the threshold before averaging; auto: the share of clean
    labels, estimated until half of the ramp is done (docs/explanation/methods.md)."""

    schedule: Literal["released", "ramp"] = "released"
    """released: loss_percentile throughout, as in the released code. ramp: 1 during burn-in, then down to
    loss_percentile over half of the remaining training, for runs of a few thousand steps."""

    balance: bool = False
    """Subtract the running mean loss of each given class before the threshold."""

    average_decay: float = 0.5
    """Decay of the moving average of that threshold; from 0, without bias correction."""

    burn_in: int = 10
    """All weights are 1 while the percentage of training done is below burn_in − 1."""

    burn_in_epochs: int = 0
    """All weights are 1 in at least this many epochs; the longer of the two burn-ins counts."""

    mentor: MentorName = "threshold"
    """threshold: v = 1(ℓ ≤ average). self_paced: the same, with a percentile that rises to 1 by the end of
    training. pd: the trained MentorNet-PD of the authors, from the file `weights`. pd-closed: its closed form,
    which needs no file."""

    weights: str = ""
    """pd: path of the weights, an .npz of the variables of the released checkpoint."""

    def __post_init__(self) -> None:
        require(
            self.loss_percentile == "auto" or 0 <= self.loss_percentile <= 1,
            f"loss_percentile must be auto or in [0, 1]: {self.loss_percentile}",
        )
        require(0 <= self.average_decay < 1, f"average_decay must be in [0, 1): {self.average_decay}")
        require(0 <= self.burn_in <= 100, f"burn_in is a percentage: {self.burn_in}")
        require(
            self.loss_percentile != "auto" or self.schedule == "ramp",
            "loss_percentile=auto needs schedule=ramp: right after burn-in there is nothing to estimate from",
        )
        require(self.burn_in_epochs >= 0, f"burn_in_epochs must not be negative: {self.burn_in_epochs}")
        require(
            self.schedule == "released" or self.mentor != "self_paced",
            "mentor=self_paced raises the percentile; it goes with schedule=released alone",
        )
        require(
            (self.mentor == "pd") == bool(self.weights), "mentor=pd needs the path `weights`, others none"
        )


@dataclass(frozen=True)
class MentorMixConfig(MentorNetConfig):
    """MentorMix (Jiang et al., ICML 2020, Algorithm 1, and its released code)."""

    alpha: float = 8.0
    """λ ~ Beta(alpha, alpha) for each image."""

    mixing: Literal["hard", "blend"] = "hard"
    """hard: the released code's switch at v ≥ 0.5; blend: Algorithm 1's v·max + (1−v)·min."""

    second_reweight: bool = False
    """Weight the mixed losses again, by a second moving average; this turns weight decay off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.alpha > 0, f"mentormix.alpha must be above 0: {self.alpha}")
        require(
            not self.second_reweight or (self.schedule == "released" and not self.balance),
            "mentormix.second_reweight goes with schedule=released and balance=false alone",
        )


@dataclass(frozen=True)
class LabelSmoothingConfig:
    """Label smoothing (Szegedy et al., CVPR 2016; for label noise Lukasik et al., ICML 2020)."""

    epsilon: float = 0.1
    """Share of the target that is spread evenly over all classes."""

    def __post_init__(self) -> None:
        require(0 < self.epsilon < 1, f"label_smoothing.epsilon must be in (0, 1): {self.epsilon}")


@dataclass(frozen=True)
class GCEConfig:
    """Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018)."""

    q: float = 0.7
    """Near 0: cross-entropy; 1: mean absolute error."""

    def __post_init__(self) -> None:
        require(0 < self.q <= 1, f"gce.q must be in (0, 1]: {self.q}")


@dataclass(frozen=True)
class CoTeachingConfig:
    """Co-teaching (Han et al., NeurIPS 2018)."""

    forget_rate: float = 0.2
    """τ: share of a batch that is left out in the end, best the noise level."""

    gradual: float = 10.0
    """T_k: epochs over which the share left out rises from 0 to τ."""

    def __post_init__(self) -> None:
        require(0 <= self.forget_rate < 1, f"co_teaching.forget_rate must be in [0, 1): {self.forget_rate}")
        require(self.gradual > 0, f"co_teaching.gradual must be above 0: {self.gradual}")


@dataclass(frozen=True)
class ELRConfig:
    """Early-learning regularization (Liu et al., NeurIPS 2020)."""

    strength: float = 3.0
    """λ; the paper has 3 for CIFAR-10 and 7 for CIFAR-100."""

    memory: float = 0.7
    """β, decay of the running average of each image's predictions; 0.7 for CIFAR-10, 0.9 for CIFAR-100."""

    def __post_init__(self) -> None:
        require(self.strength >= 0, f"elr.strength must not be negative: {self.strength}")
        require(0 <= self.memory < 1, f"elr.memory must be in [0, 1): {self.memory}")


@dataclass(frozen=True)
class DivideMixConfig:
    """DivideMix (Li et al., ICLR 2020)."""

    RENAMED: ClassVar = {"unlabelled_weight": "unlabeled_weight"}

    warmup_epochs: int = 10
    """Epochs of plain training of both networks before the first division; 30 for CIFAR-100."""

    threshold: float = 0.5
    """τ: probability of being clean above which an image keeps its label."""

    temperature: float = 0.5
    """T of sharpening."""

    alpha: float = 4.0
    """λ ~ Beta(alpha, alpha) for each step."""

    unlabeled_weight: float = 25.0
    """λ_u; for symmetric noise of 20, 50, 80, 90 % the paper has 0, 25, 25, 50 (CIFAR-100: 25, 150, 150, 150)."""

    ramp_epochs: float = 16.0
    """Epochs after the warm-up over which λ_u rises from 0."""

    confidence_penalty: bool = False
    """Add −H(p) in the warm-up: for asymmetric noise."""

    def __post_init__(self) -> None:
        require(self.warmup_epochs >= 1, f"dividemix.warmup_epochs must be at least 1: {self.warmup_epochs}")
        require(0 < self.threshold < 1, f"dividemix.threshold must be in (0, 1): {self.threshold}")
        require(self.temperature > 0, f"dividemix.temperature must be above 0: {self.temperature}")
        require(self.alpha > 0, f"dividemix.alpha must be above 0: {self.alpha}")
        require(
            self.unlabeled_weight >= 0, f"dividemix.unlabeled_weight is negative: {self.unlabeled_weight}"
        )
        require(self.ramp_epochs > 0, f"dividemix.ramp_epochs must be above 0: {self.ramp_epochs}")
