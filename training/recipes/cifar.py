"""CIFAR-10 and CIFAR-100 as in the MentorMix paper (ICML 2020, section 5.2) and its released code."""

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.released_settings import CIFAR10, CIFAR100, LevelSettings, methods_for


def cifar10(noise_level: float) -> TrainConfig:
    """The released network of 29.4 M parameters, 199,680 steps of batch 128 (512 epochs of 50,000 images).

    Published test accuracy at 20/40/60/80 % symmetric noise: MentorMix 95.6/94.2/91.3/81.0 (released code
    96.2/94.4/89.0/82.0), MentorNet 92.0/91.2/74.2/60.0, mixup 94.0/91.5/86.8/76.9. Vanilla takes about
    7·10¹⁷ floating-point operations (an hour of a data-center GPU), MentorMix a third more. Not run yet.

        python -m training train --data dataset --set-name blue-0.40 --method mentormix --recipe cifar10 \\
            --output runs/cifar10-0.40
    """
    return _released(CIFAR10, noise_level, many_classes=False)


def cifar100(noise_level: float) -> TrainConfig:
    """The same on CIFAR-100, with its own row of MentorMix settings for each level.

    Published at 20/40/60/80 %: MentorMix 78.6/71.3/64.6/41.2, MentorNet 73.5/68.5/61.2/35.5, mixup
    73.9/66.8/58.8/40.1. Takes as long as CIFAR-10. Not run yet.
    """
    return _released(CIFAR100, noise_level, many_classes=True)


def _released(settings: LevelSettings, noise_level: float, *, many_classes: bool) -> TrainConfig:
    epochs = 512
    return TrainConfig(
        epochs=epochs,
        batch_size=128,
        average_decay=0.9999,
        network=NetworkConfig("wide_resnet32", 64),
        augment=AugmentConfig(crop_padding=2, flip=True, color=True),
        optimizer=OptimizerConfig(
            learning_rate=0.1, momentum=0.9, weight_decay=2e-4,
            schedule="step", decay_every=11_718.75, decay=0.9,
        ),
        **methods_for(settings, noise_level, many_classes=many_classes, mentor="pd-closed"),
    )  # fmt: skip
