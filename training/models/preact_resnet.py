"""PreAct-ResNet18 for small images (He et al., ECCV 2016), as the follow-up papers train it at 32×32."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu


class PreActBlock(nn.Module):
    """Twice batch norm, ReLU and 3×3 convolution, with a 1×1 convolution on the shortcut if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, H/stride, W/stride] for x [B, inputs, H, W]."""
        active = relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return torch.add(shortcut, self.conv2(relu(self.norm2(self.conv1(active)))))


class PreActResNet18(nn.Module):
    """Four stages of two blocks with `width`, 2, 4 and 8 times `width` channels; 11.2 M parameters at width 64."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks += [PreActBlock(inputs, outputs, 1 if stage == 0 else 2), PreActBlock(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] for images float [B, 3, H, W]."""
        features = relu(self.norm(self.blocks(self.stem(images))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
