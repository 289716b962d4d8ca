"""The "ResNet-32" of the MentorMix code: a wide pre-activation residual network for small images.

Source: google-research/mentormix/code/resnet_model.py. The first unit applies leaky ReLU before batch norm and takes
its shortcut after both. Shortcuts have no parameters. Leaky ReLU has slope 0.1, batch norm momentum 0.9 and eps 1e-3.
Convolutions are drawn from N(0, 2/(9·outputs)), the head from U(±√(3/inputs)) with bias 0.
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
    """Twice batch norm, leaky ReLU and 3×3 convolution, with average pooling and zero padding on the shortcut.

    The first unit of the network starts with leaky ReLU and batch norm and takes its shortcut from there.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.stride, self.extra_channels, self.first = stride, outputs - inputs, first
        self.norm1, self.norm2 = _norm(inputs), _norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, H/stride, W/stride] for x [B, inputs, H, W]."""
        active = self.norm1(leaky_relu(x, LEAK)) if self.first else leaky_relu(self.norm1(x), LEAK)
        shortcut = active if self.first else x
        if self.stride > 1:
            shortcut = avg_pool2d(shortcut, self.stride)
        if self.extra_channels:
            shortcut = pad(
                shortcut,
                (0, 0, 0, 0, self.extra_channels // 2, self.extra_channels - self.extra_channels // 2),
            )
        return torch.add(shortcut, self.conv2(leaky_relu(self.norm2(self.conv1(active)), LEAK)))


class WideResNet32(nn.Module):
    """Stem of `width` channels, three stages of five units with 2, 4 and 8 times as many.

    29,442,378 parameters at width 64 and 10 classes.
    """

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
        """Return logits [B, classes] for images float [B, 3, H, W]."""
        features = leaky_relu(self.norm(self.units(self.stem(images))), LEAK)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
