"""What one training run is. The resolved configuration is saved beside the result and names the run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from training import method_config as methods
from training.method_config import METHODS, MethodName, require


@dataclass(frozen=True)
class NetworkConfig:
    """The network that is trained."""

    name: str = "preact_resnet18"
    """preact_resnet18, wide_resnet32, small_cnn, tf_efficientnet_lite0, 1 or 2; or torchvision/NAME, timm/NAME, any
    network of theirs."""

    width: int = 64
    """Channels of the stem of our own networks."""

    weights: str = ""
    """Where training starts: empty: from scratch; pretrained: what torchvision or timm offers first; else the path of a
    .safetensors or .pth file of the same network, or of a folder that has it under the network's name."""

    frozen: bool = False
    """Train a linear head alone, on features of the pretrained network that are computed once; nothing is augmented."""

    def __post_init__(self) -> None:
        require(1 <= self.width <= 65_536, f"network.width must be 1 to 65,536, got {self.width}")
        require(not self.frozen or bool(self.weights), "network.frozen needs pretrained network.weights")


@dataclass(frozen=True)
class AugmentConfig:
    """How a stored picture becomes a network's input."""

    RENAMED: ClassVar = {"colour": "color"}

    crop_padding: int = 4
    """Pixels of black border from which a crop is cut in training."""

    flip: bool = True
    """Mirror each picture with probability one half in training."""

    resize: int = 0
    """Side to which pictures are resized first; 0: as they are stored."""

    size: int = 0
    """Side of the crop: at random in training, in the middle in evaluation; 0: that of the picture."""

    color: bool = False
    """Distort colors in training as the MentorMix code does."""

    def __post_init__(self) -> None:
        for name in ("crop_padding", "resize", "size"):
            require(
                0 <= getattr(self, name) <= 65_536,
                f"augment.{name} must be 0 to 65,536, got {getattr(self, name)}",
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights follow the gradients."""

    name: Literal["sgd", "adamw"] = "sgd"
    """sgd: with momentum, not Nesterov, as in the MentorMix code. adamw: torch's, with betas 0.9 and 0.999; its weight
    decay is decoupled, and 0.01 to 0.1 is usual."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each stage of the network to the one before it; 1: one rate for all. Fine-tuning
    with adamw takes 0.65 to 0.9."""

    learning_rate: float = 0.1
    """Rate before any decay."""

    momentum: float = 0.9
    """Of sgd."""

    weight_decay: float = 2e-4
    """Strength of ½‖W‖² (adamw: share of W that a step at rate 1 takes off) on convolution and dense kernels; biases and batch norm are never decayed."""

    weight_decays: tuple[float, ...] = ()
    """Candidates for weight_decay. Each is trained on nine tenths of the training set (or 1 − validation of it), and the
    one with the best accuracy on the given, noisy labels of the rest is taken. Empty: weight_decay."""

    schedule: Literal["cosine", "step"] = "cosine"
    """cosine: to zero over the whole run. step: times `decay` at each of `milestones`, or every `decay_every` steps."""

    milestones: tuple[int, ...] = ()
    """Epochs at which the step schedule decays."""

    decay_every: float = 0.0
    """Steps between two decays of the step schedule, which may be a fraction; 0: decay at the milestones."""

    decay: float = 0.1
    """Factor of one decay of the step schedule."""

    warmup_epochs: float = 0.0
    """Length of a linear rise from zero at the start."""

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, f"optimizer.learning_rate must be above 0: {self.learning_rate}")
        require(0 < self.layer_decay <= 1, f"optimizer.layer_decay must be in (0, 1]: {self.layer_decay}")
        require(0 <= self.momentum < 1, f"optimizer.momentum must be in [0, 1): {self.momentum}")
        for decay in (self.weight_decay, *self.weight_decays):
            require(decay >= 0, f"optimizer.weight_decay must not be negative: {decay}")
        require(
            self.warmup_epochs >= 0, f"optimizer.warmup_epochs must not be negative: {self.warmup_epochs}"
        )
        require(self.decay_every >= 0, f"optimizer.decay_every must not be negative: {self.decay_every}")
        require(
            not (self.decay_every and self.milestones),
            "optimizer.decay_every and optimizer.milestones exclude each other; leave one at its default",
        )
        require(self.decay > 0, f"optimizer.decay must be above 0: {self.decay}")
        require(
            min(self.milestones, default=0) >= 0,
            f"optimizer.milestones must not be negative: {self.milestones}",
        )
        require(
            list(self.milestones) == sorted(self.milestones),
            f"optimizer.milestones must be in order: {self.milestones}",
        )


@dataclass(frozen=True)
class TrainConfig:
    """One run."""

    RENAMED: ClassVar = {"memorised_every": "memorized_every"}

    method: MethodName = "vanilla"
    """How the loss treats the labels; the section of the same name sets it, the others are ignored."""

    seed: int = 0
    """All randomness is a function of seed, epoch and purpose."""

    epochs: int = 100

    batch_size: int = 128
    """The last images of an epoch that do not fill a batch are left out; each epoch leaves out others."""

    accumulate: int = 1
    """Parts in which a batch is computed one after the other, for networks that do not fit; each part has its own
    batch norm, loss percentile and partners."""

    validation: float = 0.0
    """Share of the training set that is held out, with its given labels, to choose an epoch by."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the hardware multiplies bf16 matrices, else fp32."""

    threads: int = 0
    """Threads on a CPU; 0: one for a small network, else as many as the process may use. A run keeps the number that it
    began with, since the last bits may depend on it."""

    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """torch.compile of the network's training passes; reduce-overhead captures them as CUDA graphs. Takes a minute
    to start, and gains next to nothing on a CPU."""

    deterministic: bool = False
    """On a GPU, allow only kernels that repeat to the bit; a CPU always repeats."""

    keep_checkpoints: int = 1
    """Newest checkpoints that stay on disk."""

    average_decay: float = 0.9999
    """Decay of the averaged weights used in evaluation, at most (1+step)/(10+step); 0: no averaging."""

    evaluate_every: int = 0
    """Epochs between measurements of test accuracy; the last epoch is always measured. 0: a fiftieth of the epochs."""

    memorized_every: int = 5
    """Epochs between measurements on the training set, without augmentation; the last always."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    weight_decay: methods.WeightDecayConfig = field(default_factory=methods.WeightDecayConfig)
    dropout: methods.DropoutConfig = field(default_factory=methods.DropoutConfig)
    s_model: methods.SModelConfig = field(default_factory=methods.SModelConfig)
    reed: methods.ReedConfig = field(default_factory=methods.ReedConfig)
    mixup: methods.MixupConfig = field(default_factory=methods.MixupConfig)
    mentornet: methods.MentorNetConfig = field(default_factory=methods.MentorNetConfig)
    mentormix: methods.MentorMixConfig = field(default_factory=methods.MentorMixConfig)
    label_smoothing: methods.LabelSmoothingConfig = field(default_factory=methods.LabelSmoothingConfig)
    gce: methods.GCEConfig = field(default_factory=methods.GCEConfig)
    co_teaching: methods.CoTeachingConfig = field(default_factory=methods.CoTeachingConfig)
    elr: methods.ELRConfig = field(default_factory=methods.ELRConfig)
    dividemix: methods.DivideMixConfig = field(default_factory=methods.DivideMixConfig)

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "batch_size",
            "accumulate",
            "keep_checkpoints",
            "memorized_every",
        ):
            require(
                1 <= getattr(self, name) <= 10_000_000,
                f"{name} must be 1 to 10,000,000, got {getattr(self, name)}",
            )
        for name in ("threads", "evaluate_every"):
            require(
                0 <= getattr(self, name) <= 10_000_000,
                f"{name} must be 0 to 10,000,000, got {getattr(self, name)}",
            )
        require(0 <= self.average_decay < 1, f"average_decay must be in [0, 1): {self.average_decay}")

        require(
            self.batch_size % self.accumulate == 0,
            f"accumulate={self.accumulate} does not divide batch_size={self.batch_size}",
        )
        require(0 <= self.validation < 1, f"validation must be in [0, 1): {self.validation}")

    @property
    def evaluation_interval(self) -> int:
        """Epochs between measurements of test accuracy."""
        return self.evaluate_every or max(1, self.epochs // 50)

    def resolved(self) -> dict[str, Any]:
        """Return what decides this run: every key, less the sections of the other methods."""
        others = {name for name in METHODS if name != self.method}
        return {key: value for key, value in asdict(self).items() if key not in others}

    def digest(self, *inputs: str) -> str:
        """Return 16 hex digits that name this configuration on these inputs (digests of data sets)."""
        text = json.dumps([self.resolved(), *inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
