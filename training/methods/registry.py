"""Methods by name."""

from collections.abc import Callable
from typing import Any

from training.config import TrainConfig
from training.method_config import MethodName
from training.methods.co_teaching import CoTeaching
from training.methods.dividemix import DivideMix
from training.methods.dropout import Dropout
from training.methods.elr import ELR
from training.methods.gce import GCE
from training.methods.interface import Method, RunFacts
from training.methods.label_smoothing import LabelSmoothing
from training.methods.mentormix import MentorMix
from training.methods.mentornet import MentorNet
from training.methods.mixup import Mixup
from training.methods.reed import Reed
from training.methods.s_model import SModel
from training.methods.vanilla import Vanilla
from training.methods.weight_decay import WeightDecay

Arguments = Callable[[TrainConfig, RunFacts], tuple[Any, ...]]

_METHODS: dict[MethodName, tuple[type[Method], Arguments]] = {
    "vanilla": (Vanilla, lambda _config, _facts: ()),
    "weight_decay": (WeightDecay, lambda config, _facts: (config.weight_decay,)),
    "dropout": (Dropout, lambda config, _facts: (config.dropout,)),
    "s_model": (SModel, lambda config, facts: (config.s_model, facts)),
    "reed": (Reed, lambda config, _facts: (config.reed,)),
    "mixup": (Mixup, lambda config, _facts: (config.mixup,)),
    "mentornet": (MentorNet, lambda config, facts: (config.mentornet, facts)),
    "mentormix": (MentorMix, lambda config, facts: (config.mentormix, facts)),
    "label_smoothing": (LabelSmoothing, lambda config, _facts: (config.label_smoothing,)),
    "gce": (GCE, lambda config, _facts: (config.gce,)),
    "co_teaching": (CoTeaching, lambda config, _facts: (config.co_teaching,)),
    "elr": (ELR, lambda config, facts: (config.elr, facts)),
    "dividemix": (DivideMix, lambda config, facts: (config.dividemix, facts)),
}
"""Class of each method, and the arguments of its constructor."""


def make_method(config: TrainConfig, facts: RunFacts) -> Method:
    """Return the configured method, with its state on the device of `facts`.

    Raises DataError if the weights of MentorNet-PD cannot be read.
    """
    method, arguments = _METHODS[config.method]
    return method(*arguments(config, facts))


def evaluated_networks(name: MethodName) -> int:
    """Return the number of networks of a method whose logits are added for evaluation."""
    return _METHODS[name][0].evaluated
