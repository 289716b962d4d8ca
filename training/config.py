"""The configuration of a training run. The resolved configuration is saved with the result and names the run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

from common.errors import UsageError
from training import method_config
from training.method_config import MAX_RATE, METHODS, MethodName, require

MAX_THREADS = 1024  # with a hundred thousand, the OpenMP library ends the process


@dataclass(frozen=True)
class NetworkConfig:
    """The network to train."""

    name: str = "preact_resnet18"
    """Network to train: `preact_resnet18`, `wide_resnet32`, `small_cnn`, `tf_efficientnet_lite0` to `2`, or any network
    of torchvision or timm as `torchvision/NAME` or `timm/NAME`."""

    width: int = 64
    """Channels of the stem of `preact_resnet18`, `wide_resnet32` and `small_cnn`, 1 to 65,536; other networks ignore
    it."""

    weights: str = ""
    """Initial weights. Empty: random. `pretrained`: the default weights of torchvision or timm, downloaded on first
    use. Otherwise the path of a .safetensors or .pth file, or of a folder that holds a file named after the network."""

    frozen: bool = False
    """Train only a linear head, on features of the pretrained network that are computed once and not augmented.
    Requires `weights`."""

    train_from: str = ""
    """Name of the first module that is trained, such as `layer3` or `blocks.4`; the modules that the network defines
    before it keep their weights and batch norm statistics. Empty: train all. Requires `weights`."""

    def __post_init__(self) -> None:
        require(1 <= self.width <= 65_536, f"network.width must be 1 to 65,536, got {self.width}")
        require(
            not self.frozen or bool(self.weights),
            "network.frozen=true needs pretrained weights; set network.weights",
        )
        require(
            not self.train_from or bool(self.weights),
            f"network.train_from={self.train_from} needs pretrained weights; set network.weights",
        )
        require(
            not (self.train_from and self.frozen),
            "network.train_from and network.frozen exclude each other; set only one of them",
        )

    def untrained(self) -> "NetworkConfig":
        """Return the same architecture with random weights, of which none is frozen."""
        return replace(self, weights="", frozen=False, train_from="")


@dataclass(frozen=True)
class AugmentConfig:
    """How stored images become inputs of the network."""

    RENAMED: ClassVar = {"colour": "color"}

    crop_padding: int = 4
    """Pixels of black border added on each side of a training image before the random crop, 0 to 65,536."""

    flip: bool = True
    """Mirror each training image horizontally with probability 0.5."""

    resize: int = 0
    """Side in pixels to which images are resized before cropping, 0 to 65,536; 0: keep the stored size."""

    size: int = 0
    """Side in pixels of the crop, 0 to 65,536 and at most that of the (resized) image: random in training, central in
    evaluation; 0: the size of the (resized) image."""

    random_resized_crop: bool = False
    """Crop each training image to a random 8 to 100 % of its area with aspect ratio 3/4 to 4/3 and resize the crop to
    `size`, as torchvision's RandomResizedCrop; requires `crop_padding: 0`."""

    rand_augment: int = 0
    """Magnitude of RandAugment, 1 to 30, usually 9: two random operations of torchvision's RandAugment per training
    image, after the crop; 0: none. It runs image by image on the CPU or GPU."""

    color: bool = False
    """Distort brightness, saturation, hue and contrast of training images as the MentorMix code does."""

    def __post_init__(self) -> None:
        for name in ("crop_padding", "resize", "size"):
            require(
                0 <= getattr(self, name) <= 65_536,
                f"augment.{name} must be 0 to 65,536, got {getattr(self, name)}",
            )
        require(
            not (self.random_resized_crop and self.crop_padding),
            f"augment.random_resized_crop=true needs augment.crop_padding=0, got {self.crop_padding}",
        )
        require(
            0 <= self.rand_augment <= 30, f"augment.rand_augment must be 0 to 30, got {self.rand_augment}"
        )

    def resized_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of images before the crop, given those of the stored images."""
        height, width = stored
        return (self.resize or height, self.resize or width)

    def input_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the network's inputs, given those of the stored images.

        Raises UsageError if `size` is larger than the resized images: the central crop of evaluation adds no border.
        """
        height, width = self.resized_size(stored)
        if self.size > min(height, width):
            raise UsageError(
                f"augment.size={self.size} is larger than the images, {width}×{height} pixels; set augment.resize, or a "
                "smaller augment.size"
            )
        return (self.size or height, self.size or width)


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Optimizer. `sgd`: SGD with heavy-ball momentum, as in the MentorMix code. `adamw`: torch.optim.AdamW with betas
    0.9 and 0.999; its usual weight decay is 0.01 to 0.1."""

    layer_decay: float = 1.0
    """Factor of the learning rate between each stage of the network and the stage after it, above 0 and up to 1; 1: the
    same rate for all stages. Usual for fine-tuning with adamw: 0.65 to 0.9."""

    learning_rate: float = 0.1
    """Peak learning rate, above 0 and up to 1e30, before the schedule reduces it."""

    momentum: float = 0.9
    """Momentum of `sgd`, from 0 to less than 1; `adamw` ignores it."""

    weight_decay: float = 2e-4
    """Weight decay of convolution and dense kernels, 0 to 1e30: the coefficient of ½‖W‖² for `sgd`, the decoupled
    decay per step and unit of learning rate for `adamw`. Nothing else decays: no biases, norms, layer scales, class
    tokens or position embeddings."""

    weight_decays: tuple[float, ...] = ()
    """Candidate values of `weight_decay`. If not empty, each is trained once on part of the training set (90 %, or 1 −
    `validation`), and the value with the best accuracy on the given labels of the rest is used for the run."""

    schedule: Literal["cosine", "step"] = "cosine"
    """Learning-rate schedule. `cosine`: fall to 0 over the run. `step`: multiply by `decay` at each of `milestones`, or
    every `decay_every` steps."""

    milestones: tuple[int, ...] = ()
    """Epochs, in ascending order, at which the `step` schedule multiplies the rate by `decay`."""

    decay_every: float = 0.0
    """Optimizer steps, possibly fractional, between two decays of the `step` schedule, at least 0.001; 0: decay at
    `milestones`."""

    decay: float = 0.1
    """Factor of each decay of the `step` schedule, above 0 and up to 1."""

    warmup_epochs: float = 0.0
    """Epochs, possibly fractional, in which the learning rate rises linearly from 0 at the start; 0: no warm-up."""

    def __post_init__(self) -> None:
        require(
            0 < self.learning_rate <= MAX_RATE,
            f"optimizer.learning_rate must be above 0 and at most {MAX_RATE:g}, got {self.learning_rate}",
        )
        require(
            0 < self.layer_decay <= 1,
            f"optimizer.layer_decay must be above 0 and at most 1, got {self.layer_decay}",
        )
        require(
            0 <= self.momentum < 1, f"optimizer.momentum must be at least 0 and below 1, got {self.momentum}"
        )
        for decay in (self.weight_decay, *self.weight_decays):
            require(0 <= decay <= MAX_RATE, f"optimizer.weight_decay must be 0 to {MAX_RATE:g}, got {decay}")
        require(
            self.warmup_epochs >= 0, f"optimizer.warmup_epochs must be at least 0, got {self.warmup_epochs}"
        )
        require(
            self.decay_every == 0 or self.decay_every >= 0.001,
            f"optimizer.decay_every must be 0, or at least 0.001, got {self.decay_every}",
        )
        require(
            not (self.decay_every and self.milestones),
            "optimizer.decay_every and optimizer.milestones exclude each other; set only one of them",
        )
        require(0 < self.decay <= 1, f"optimizer.decay must be above 0 and at most 1, got {self.decay}")
        require(
            min(self.milestones, default=0) >= 0,
            f"optimizer.milestones must be at least 0, got {self.milestones}",
        )
        require(
            list(self.milestones) == sorted(self.milestones),
            f"optimizer.milestones must be in ascending order, got {self.milestones}",
        )


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of one run."""

    RENAMED: ClassVar = {"memorised_every": "memorized_every"}

    method: MethodName = "vanilla"
    """Robust-learning method. The section of the same name configures it; sections of other methods are ignored."""

    seed: int = 0
    """Seed of all random numbers: initial weights, order of examples, augmentation, and draws of the method."""

    epochs: int = 100
    """Passes over the training set, 1 to 10,000,000."""

    batch_size: int = 128
    """Images per optimizer step over all processes, 1 to 10,000,000. Images that do not fill a last batch are left out
    of the epoch; each epoch leaves out others."""

    accumulate: int = 1
    """Equal parts into which each batch is split to save memory; gradients are averaged over the parts. It must divide
    `batch_size`. Each part has its own batch norm statistics, loss percentile and mixing partners."""

    validation: float = 0.0
    """Share of the training set, from 0 to less than 1, held out with its given labels to select an epoch; 0: none."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`fp32`, `bf16` (autocast), or `auto`: bf16 on GPUs with bf16 units, and on CPUs with bf16 instructions if a few
    timed steps, of at least 10 ms, are 1.1 times as fast. A resumed run keeps its precision."""

    threads: int = 0
    """CPU threads, up to 1,024; 0: 1 for a small network, else as many as the process may use. A resumed run keeps the
    number it started with, because the last bits of the results may depend on it."""

    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """Mode of torch.compile for training passes: `off`, `default`, or `reduce-overhead` (CUDA graphs). Compiling takes
    about a minute and gains little on a CPU."""

    deterministic: bool = False
    """Use only GPU kernels with bit-identical results on every run; an error for networks with a layer that has none, such as
    AlexNet and VGG of torchvision. CPU results are always bit-identical."""

    keep_checkpoints: int = 1
    """Number of newest checkpoints kept on disk, at least 1."""

    average_decay: float = 0.9999
    """Decay of the moving average of weights used in evaluation, from 0 to less than 1, limited to (1 + step)/(10 +
    step); 0: evaluate the raw weights."""

    evaluate_every: int = 0
    """Epochs between measurements of test accuracy; 0: a fiftieth of `epochs`, at least 1. The last epoch is always
    measured."""

    memorized_every: int = 5
    """Epochs between measurements of accuracy on the training set without augmentation, at least 1. The last epoch is
    always measured."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    weight_decay: method_config.WeightDecayConfig = field(default_factory=method_config.WeightDecayConfig)
    dropout: method_config.DropoutConfig = field(default_factory=method_config.DropoutConfig)
    s_model: method_config.SModelConfig = field(default_factory=method_config.SModelConfig)
    reed: method_config.ReedConfig = field(default_factory=method_config.ReedConfig)
    mixup: method_config.MixupConfig = field(default_factory=method_config.MixupConfig)
    mentornet: method_config.MentorNetConfig = field(default_factory=method_config.MentorNetConfig)
    mentormix: method_config.MentorMixConfig = field(default_factory=method_config.MentorMixConfig)
    label_smoothing: method_config.LabelSmoothingConfig = field(
        default_factory=method_config.LabelSmoothingConfig
    )
    gce: method_config.GCEConfig = field(default_factory=method_config.GCEConfig)
    co_teaching: method_config.CoTeachingConfig = field(default_factory=method_config.CoTeachingConfig)
    elr: method_config.ELRConfig = field(default_factory=method_config.ELRConfig)
    dividemix: method_config.DivideMixConfig = field(default_factory=method_config.DivideMixConfig)

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
        for name, most in {"threads": MAX_THREADS, "evaluate_every": 10_000_000}.items():
            require(
                0 <= getattr(self, name) <= most,
                f"{name} must be 0 to {most:,}, got {getattr(self, name)}",
            )
        require(
            0 <= self.average_decay < 1,
            f"average_decay must be at least 0 and below 1, got {self.average_decay}",
        )

        require(
            self.batch_size % self.accumulate == 0,
            f"accumulate must divide batch_size={self.batch_size}, got {self.accumulate}",
        )
        require(0 <= self.validation < 1, f"validation must be at least 0 and below 1, got {self.validation}")

    @property
    def evaluation_interval(self) -> int:
        """Return the number of epochs between measurements of test accuracy."""
        return self.evaluate_every or max(1, self.epochs // 50)

    def resolved(self) -> dict[str, Any]:
        """Return the keys that determine the run, without the sections of other methods."""
        others = {name for name in METHODS if name != self.method}
        values = {key: value for key, value in asdict(self).items() if key not in others}
        if not self.network.train_from:  # runs keep the names that they had before this key
            del values["network"]["train_from"]
        return values

    def digest(self, *inputs: str) -> str:
        """Return 16 hex digits that identify this configuration together with `inputs`, digests of its sets.

        `keep_checkpoints` affects no result, so its value does not count.
        """
        text = json.dumps([self.resolved() | {"keep_checkpoints": 1}, *inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
