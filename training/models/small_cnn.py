"""A small convolutional network for machines without a GPU."""

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Five 3×3 convolutions with 1, 2, 4, 4 and 8 times `width` channels; 0.54 M parameters at width 32.

    The first convolution has stride 2 and pooling precedes batch norm, since on a CPU operations on large activations
    cost more than the convolutions.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            *_block(3, w, stride=2),
            *_block(w, 2 * w, pool=True),
            *_block(2 * w, 4 * w),
            *_block(4 * w, 4 * w, pool=True),
            *_block(4 * w, 8 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * w, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] for images float [B, 3, H, W] of at least 8×8 pixels."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _block(inputs: int, outputs: int, stride: int = 1, pool: bool = False) -> list[nn.Module]:
    """Return convolution, optional pooling, batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pool else []
    return [convolution, *pooling, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
