"""A linear head on frozen features."""

from dataclasses import replace

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.released_settings import CIFAR10, methods_for

EPOCHS = 6


def linear_probe(noise_level: float) -> TrainConfig:
    """Features of EfficientNet-Lite0 at 96 pixels, 6 epochs of SGD for the head, weight decay chosen on held-out labels.

    Sets of fewer than 5,000 images get smaller batches and more epochs (default.py).
    Requires --set network.weights=FILE. Measured accuracies: docs/results/study.md.
    """
    methods = methods_for(CIFAR10, noise_level, many_classes=False)
    # the second weighting excludes weight decay, which a probe needs
    methods["mentormix"] = replace(methods["mentormix"], second_reweight=False)
    return TrainConfig(
        epochs=EPOCHS,
        batch_size=256,
        average_decay=0.99,
        evaluate_every=3,
        memorized_every=2,
        network=NetworkConfig("tf_efficientnet_lite0", weights="pretrained", frozen=True),
        augment=AugmentConfig(crop_padding=0, flip=False, resize=96),
        optimizer=OptimizerConfig(
            learning_rate=0.03, weight_decay=0.3, weight_decays=(0.03, 0.1, 0.3, 1.0, 3.0)
        ),
        **methods,
    )
