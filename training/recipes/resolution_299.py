"""Mini-ImageNet, Stanford Cars and WebVision at 299 pixels, from scratch and fine-tuned (MentorMix paper, section 5).

The network is Inception-ResNet-v2 of timm (extra `timm`). Build the sets at 342 pixels (299 is 87.5 % of it); other
sizes are resized. The paper does not print all schedules and learning rates; these are similar to the published ones.
None of these recipes has been run yet.
"""

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.released_settings import RED_MINI_IMAGENET, methods_for

INCEPTION_RESNET = "timm/inception_resnet_v2"


def mini_imagenet_scratch(noise_level: float) -> TrainConfig:
    """100 classes, 50,000–60,000 images, from scratch, 200 epochs.

    Published, blue, mean ± deviation over ten levels: vanilla 58.3±10.3, MentorNet 61.8±10.3, mixup 60.7±9.8,
    MentorMix 70.9±3.4. 10¹⁸ operations (13 G multiply-adds · 2 · 3 per image): several hours of a data-center GPU.
    """
    return _at_299(noise_level, epochs=200, learning_rate=0.1, pretrained=False)


def mini_imagenet_fine_tuned(noise_level: float) -> TrainConfig:
    """The same from ImageNet weights, 20 epochs.

    Published, blue: vanilla 82.3±1.9, MentorNet 82.9±1.7, mixup 81.7±1.8, MentorMix 84.2±0.7. A tenth of the
    time from scratch. The ImageNet weights were trained on the test classes too.
    """
    return _at_299(noise_level, epochs=20, learning_rate=0.01, pretrained=True)


def cars_scratch(noise_level: float) -> TrainConfig:
    """196 classes, 8,144 images, from scratch, 400 epochs. A third of the time of Mini-ImageNet.

    Published: no mean; the range of final accuracy over the levels is .347 (blue) and .146 (red).
    """
    return _at_299(noise_level, epochs=400, learning_rate=0.1, pretrained=False)


def cars_fine_tuned(noise_level: float) -> TrainConfig:
    """The same from ImageNet weights, 100 epochs.

    Published, red: vanilla 82.4±6.9, MentorNet 82.6±6.6, mixup 85.0±6.2, MentorMix 86.9±5.5.
    """
    return _at_299(noise_level, epochs=100, learning_rate=0.01, pretrained=True)


def webvision(noise_level: float) -> TrainConfig:
    """WebVision 1.0: 1,000 classes, 2.4 M images with their original noise, from scratch, 50 epochs.

    Published top-1 (top-5): MentorMix 74.3 (90.5), on ILSVRC12 67.5 (87.2). Over 10¹⁹ operations: days of a
    data-center GPU; use several (torchrun). The noise level only sets the mentor's percentile; 0.2 is typical.
    """
    return _at_299(noise_level, epochs=50, learning_rate=0.1, pretrained=False)


def _at_299(noise_level: float, *, epochs: int, learning_rate: float, pretrained: bool) -> TrainConfig:
    return TrainConfig(
        epochs=epochs,
        batch_size=64,
        memorized_every=max(1, epochs // 10),
        network=NetworkConfig(INCEPTION_RESNET, weights="pretrained" if pretrained else ""),
        augment=AugmentConfig(resize=342, size=299, crop_padding=0, flip=True, color=True),
        optimizer=OptimizerConfig(
            learning_rate=learning_rate, weight_decay=4e-5, warmup_epochs=min(5.0, epochs / 20)
        ),
        **methods_for(RED_MINI_IMAGENET, noise_level, many_classes=True),
    )
