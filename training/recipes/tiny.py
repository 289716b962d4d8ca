"""A recipe for a few thousand small images, for demonstrations and tests."""

from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.recipes.short_run_settings import short_methods


def tiny(noise_level: float) -> TrainConfig:
    """Small CNN of width 16, 30 epochs, no augmentation."""
    return TrainConfig(
        epochs=30,
        batch_size=64,
        average_decay=0.98,
        evaluate_every=1,
        memorized_every=5,
        network=NetworkConfig("small_cnn", 16),
        augment=AugmentConfig(crop_padding=0, flip=False),
        optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=2e-4),
        **short_methods(noise_level, many_classes=False),
    )
