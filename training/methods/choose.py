"""Methods by name."""

import torch

from training.config import TrainConfig
from training.methods.interface import Method
from training.methods.mentormix import MentorMix
from training.methods.mentornet import MentorNet
from training.methods.mixup import Mixup
from training.methods.vanilla import Vanilla


def make_method(config: TrainConfig, device: torch.device) -> Method:
    """Return the method that the configuration names, with its state on `device`."""
    if config.method == "mixup":
        return Mixup(config.mixup)
    if config.method == "mentornet":
        return MentorNet(config.mentornet, device)
    if config.method == "mentormix":
        return MentorMix(config.mentormix, device)
    return Vanilla()
