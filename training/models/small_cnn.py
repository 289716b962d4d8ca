"""A small convolutional network for machines without a GPU."""

from torch import Tensor, nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    """3×3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class SmallCNN(nn.Module):
    """Six 3×3 convolutions in three stages of `width`, 2·`width` and 4·`width` channels, a pooling after each."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            block(3, w), nn.MaxPool2d(2), block(w, 2 * w), block(2 * w, 2 * w), nn.MaxPool2d(2),
            block(2 * w, 4 * w), block(4 * w, 4 * w), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(16 * w, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images float [B, 3, H, W] to logits [B, classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits
