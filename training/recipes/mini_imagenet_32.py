"""Mini-ImageNet at 32×32, the protocol of the follow-up papers (FaMUS, PLS-LSA)."""

from training.config import Augment, Network, Optimizer, TrainConfig
from training.method_config import MentorNet
from training.recipes.released import RED_MINI_IMAGENET, mentormix_for


def mini_imagenet_32(noise_level: float) -> TrainConfig:
    """PreAct-ResNet18, 300 epochs of batch 64; needs a GPU.

    Published test accuracy on red noise of 20/40/60/80 %: cross-entropy 47.4/42.7/37.3/29.8, mixup
    49.1/46.4/40.6/33.6, MentorMix 51.0/47.1/43.8/33.5. Not yet run by us.
    """
    mentormix = mentormix_for(RED_MINI_IMAGENET, noise_level)
    return TrainConfig(
        epochs=300,
        batch_size=64,
        network=Network("preact_resnet18", 64),
        augment=Augment(crop_padding=4, flip=True),
        optimizer=Optimizer(
            learning_rate=0.02, weight_decay=5e-4, schedule="step", milestones=(200, 250), decay=0.1
        ),
        mentornet=MentorNet(loss_percentile=mentormix.loss_percentile),
        mentormix=mentormix,
    )
