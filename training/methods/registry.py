"""Methods by name."""

from collections.abc import Callable

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

METHOD_FACTORIES: dict[MethodName, Callable[[TrainConfig, RunFacts], Method]] = {
    "vanilla": lambda _config, _facts: Vanilla(),
    "weight_decay": lambda config, _facts: WeightDecay(config.weight_decay),
    "dropout": lambda config, _facts: Dropout(config.dropout),
    "s_model": lambda config, facts: SModel(config.s_model, facts),
    "reed": lambda config, _facts: Reed(config.reed),
    "mixup": lambda config, _facts: Mixup(config.mixup),
    "mentornet": lambda config, facts: MentorNet(config.mentornet, facts),
    "mentormix": lambda config, facts: MentorMix(config.mentormix, facts),
    "label_smoothing": lambda config, _facts: LabelSmoothing(config.label_smoothing),
    "gce": lambda config, _facts: GCE(config.gce),
    "co_teaching": lambda config, _facts: CoTeaching(config.co_teaching),
    "elr": lambda config, facts: ELR(config.elr, facts),
    "dividemix": lambda config, facts: DivideMix(config.dividemix, facts),
}


def make_method(config: TrainConfig, facts: RunFacts) -> Method:
    """Return the configured method, with its state on the device of `facts`."""
    return METHOD_FACTORIES[config.method](config, facts)
