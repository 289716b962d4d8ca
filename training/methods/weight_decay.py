"""Plain training with stronger weight decay on kernels, a baseline of the MentorMix paper."""

from training.method_config import WeightDecayConfig
from training.methods.vanilla import Vanilla


class WeightDecay(Vanilla):
    """Plain training with the weight decay `weight_decay.strength`."""

    def __init__(self, config: WeightDecayConfig) -> None:
        super().__init__()
        self.config = config

    def weight_decay(self, _configured: float, /) -> float:
        """Return `weight_decay.strength`."""
        return self.config.strength
