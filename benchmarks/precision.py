"""Training steps in fp32 beside bf16 on one CPU thread, as ratio: what `precision: auto` decides by.

python -m benchmarks.precision
"""

import torch

from common.text_table import aligned
from training.config import AugmentConfig, NetworkConfig, TrainConfig
from training.precision import MIN_GAIN, bf16_gain, has_bf16
from training.threads import cpu_threads

CASES = (("small_cnn", 32), ("preact_resnet18", 32), ("torchvision/resnet18", 96), ("tf_efficientnet_lite0", 64),
         ("torchvision/mobilenet_v2", 64))  # fmt: skip


def main() -> None:
    capabilities = torch.cpu.get_capabilities()
    print(f"{capabilities.get('cpu_name')}; bf16 instructions: {'yes' if has_bf16(capabilities) else 'no'}")
    rows = [["network", "pixels", "times as fast in bf16", "auto"]]
    with cpu_threads(1):
        for name, side in CASES:
            config = TrainConfig(network=NetworkConfig(name, 16), augment=AugmentConfig(crop_padding=0))
            gain = bf16_gain(config, (side, side), classes=10)
            rows.append([name, str(side), f"{gain:.2f}", "bf16" if gain >= MIN_GAIN else "fp32"])
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    main()
