"""Photographs and a pretrained network on one GPU."""

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.short_run_settings import short_methods


def fine_tune(noise_level: float) -> TrainConfig:
    """ResNet-50 of torchvision from ImageNet weights at 224 pixels: AdamW with layer-wise rates, RandAugment, 20 epochs.

    Other networks: --set network.name=torchvision/vit_b_16, torchvision/efficientnet_v2_s, timm/NAME. Build the sets at
    224 pixels or more. 25 GFLOP per image and step: 10,000 images take 5·10¹⁵ operations, minutes of a data-center GPU.
    Not run on a GPU yet; without one, use `linear_probe`.

        python -m training train --data dataset --set-name red-0.40 --method mentormix --recipe fine_tune \\
            --output runs/one
    """
    return TrainConfig(
        epochs=20,
        batch_size=64,
        average_decay=0.999,
        evaluate_every=5,
        memorized_every=5,
        network=NetworkConfig("torchvision/resnet50", weights="pretrained"),
        augment=AugmentConfig(
            crop_padding=0, flip=True, resize=224, random_resized_crop=True, rand_augment=9
        ),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=5e-4, weight_decay=0.05, layer_decay=0.75, warmup_epochs=1.0
        ),
        **short_methods(noise_level, many_classes=True),
    )
