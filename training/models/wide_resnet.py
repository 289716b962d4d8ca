"""The "ResNet-32" of the MentorMix code: a wide pre-activation residual network for small images.

google-research/mentormix/code/resnet_model.py: the first unit has leaky ReLU before batch norm and takes its shortcut
after both, shortcuts have no parameters, leaky ReLU of 0.1, batch norm with momentum 0.9 and eps 1e-3, convolutions
drawn from N(0, 2/(9·outputs)), the head from U(±√(3/inputs)) with bias 0.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu, pad

LEAK = 0.1
UNITS = 5


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)  # TensorFlow's momentum is 1 − torch's


class WideUnit(nn.Module):
    """Batch norm, leaky ReLU, 3×3 convolution, twice; average-pool and zero-pad on the shortcut.

    The first unit of the network begins with leaky ReLU, batch norm, and takes its shortcut from there.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.stride, self.more, self.first = stride, outputs - inputs, first
        self.norm1, self.norm2 = _norm(inputs), _norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        active = self.norm1(leaky_relu(x, LEAK)) if self.first else leaky_relu(self.norm1(x), LEAK)
        kept = active if self.first else x
        if self.stride > 1:
            kept = avg_pool2d(kept, self.stride)
        if self.more:
            kept = pad(kept, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return torch.add(kept, self.conv2(leaky_relu(self.norm2(self.conv1(active)), LEAK)))


class WideResNet32(nn.Module):
    """Stem of `width`, three stages of five units of 2, 4 and 8 times that; 29,442,378 parameters at 64 and 10."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        units: list[nn.Module] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2 ** (stage + 1)
            for unit in range(UNITS):
                stride = 2 if stage and unit == 0 else 1
                units.append(WideUnit(inputs, outputs, stride, first=stage == unit == 0))
                inputs = outputs
        self.units = nn.Sequential(*units)
        self.norm = _norm(inputs)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (9 * module.out_channels)))
        bound = math.sqrt(3 / inputs)
        nn.init.uniform_(self.head.weight, -bound, bound)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images float [B, 3, H, W] to logits [B, classes]."""
        features = leaky_relu(self.norm(self.units(self.stem(images))), LEAK)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
