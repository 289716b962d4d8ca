"""Weight decay: plain training with a stronger ½‖W‖² on the kernels, a baseline of the MentorMix paper."""

from training.method_config import WeightDecayConfig
from training.methods.vanilla import Vanilla


class WeightDecay(Vanilla):
    """Vanilla, with its own strength of weight decay."""

    def __init__(self, config: WeightDecayConfig) -> None:
        super().__init__()
        self.config = config

    def weight_decay(self, _configured: float, /) -> float:
        """Return the method's own strength."""
        return self.config.strength
