"""Dropout before the last layer (Srivastava et al., JMLR 2014), a baseline of the MentorMix paper."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import dropout

from common.errors import UsageError
from training.method_config import DropoutConfig
from training.methods.vanilla import Vanilla


class Dropout(Vanilla):
    """Plain training with random dropout of features. The trainer seeds torch's generator before each step."""

    def __init__(self, config: DropoutConfig) -> None:
        super().__init__()
        self.config = config

    def prepare(self, network: nn.Module) -> None:
        """Add dropout to the inputs of the last dense layer, active in training mode only.

        Raises UsageError for a network without a dense layer.
        """
        dense = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not dense:
            raise UsageError(
                "method: dropout needs a network with a dense layer; choose another network.name"
            )

        def drop(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
            return dropout(inputs[0], self.config.rate, layer.training)

        dense[-1].register_forward_pre_hook(drop)
