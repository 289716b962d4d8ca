"""Mini-ImageNet at 32×32 pixels: the protocol of follow-up papers (FaMUS, PLS-LSA), and that of MentorMix."""

from dataclasses import replace

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.cifar import cifar100
from training.recipes.released_settings import RED_MINI_IMAGENET, methods_for


def mini_imagenet_32(noise_level: float) -> TrainConfig:
    """PreAct-ResNet18, 300 epochs of batch 64; images of other sizes are resized to 32.

    Published test accuracy on red noise of 20/40/60/80 %: cross-entropy 47.4/42.7/37.3/29.8, mixup
    49.1/46.4/40.6/33.6. The published MentorMix numbers are of another network and schedule: see
    `mini_imagenet_32_released`. 5·10¹⁶ floating-point operations: half an hour of a fully used data-center GPU. Not
    run yet.
    """
    return TrainConfig(
        epochs=300,
        batch_size=64,
        network=NetworkConfig("preact_resnet18", 64),
        augment=AugmentConfig(resize=32, crop_padding=4, flip=True),
        optimizer=OptimizerConfig(
            learning_rate=0.02, weight_decay=5e-4, schedule="step", milestones=(200, 250), decay=0.1
        ),
        **methods_for(RED_MINI_IMAGENET, noise_level, many_classes=True),
    )


def mini_imagenet_32_released(noise_level: float) -> TrainConfig:
    """Network, schedule and augmentation of the released CIFAR code, with the paper's settings for red noise.

    Published test accuracy on red noise of 20/40/60/80 %, by a follow-up paper: MentorMix 51.0/47.1/43.8/33.5. Takes
    as long as `cifar10`. Not run yet.
    """
    base = cifar100(noise_level)
    sections = methods_for(RED_MINI_IMAGENET, noise_level, many_classes=True, mentor="pd-closed")
    return replace(base, augment=replace(base.augment, resize=32), **sections)
