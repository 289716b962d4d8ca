"""Ten thousand CIFAR-10N images on a two-core machine."""

from training.config import Augment, MentorNet, Network, Optimizer, TrainConfig
from training.recipes.released import CIFAR10, mentormix_for


def cifar10n_cpu(noise_level: float) -> TrainConfig:
    """Small CNN, 30 epochs, flips only."""
    mentormix = mentormix_for(CIFAR10, noise_level)
    return TrainConfig(
        epochs=30,
        batch_size=128,
        average_decay=0.99,
        evaluate_every=3,
        memorised_every=6,
        network=Network("small_cnn", 32),
        augment=Augment(crop_padding=0, flip=True),
        optimizer=Optimizer(learning_rate=0.1, weight_decay=2e-4),
        mentornet=MentorNet(loss_percentile=mentormix.loss_percentile),
        mentormix=mentormix,
    )
