"""Kill a training run at random times with SIGKILL, resume it each time, and compare the weights with an uninterrupted run.

    python -m benchmarks.kill_train --kills 5 --method dividemix

Takes some minutes, since each start imports torch. The exit code is 1 if a bit differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training.conftest import striped, write_set
from training import checkpoint
from training.config import METHODS, NetworkConfig, TrainConfig
from training.data.shards import load_pair
from training.method_config import DivideMixConfig
from training.run_directory import read_result
from training.trainer import Trainer

VICTIM = """
import sys, torch
from pathlib import Path
from benchmarks.kill_train import config
from training import run_clock
from training.data.shards import load_pair
from training.trainer import Trainer
torch.set_num_threads(1)
run_clock.CHECKPOINT_SECONDS, run_clock.CHECKPOINT_TIME_SHARE = 0, float("inf")
sets = load_pair(Path(sys.argv[1]), "blue-0.40", "test")
Trainer(config(sys.argv[3]), *sets, torch.device("cpu")).run(Path(sys.argv[2]), resume=True)
"""


def config(method: str) -> TrainConfig:
    return TrainConfig(
        method=method,  # type: ignore[arg-type]
        epochs=60, batch_size=32, precision="fp32", network=NetworkConfig("small_cnn", 8), evaluate_every=50,
        memorized_every=50, dividemix=DivideMixConfig(warmup_epochs=4),
    )  # fmt: skip


def main() -> int:
    """Compare the weights of a killed and resumed run with those of an uninterrupted one; return 1 if a bit differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--method", choices=METHODS, default="mentormix")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        data, killed, whole = (Path(temporary) / name for name in ("data", "killed", "whole"))
        write_set(data / "blue-0.40", striped(320, 0.4, seed=1), noise_level=0.4)
        write_set(data / "test", striped(60, 0.0, seed=2), color=None)
        sets = load_pair(data, "blue-0.40", "test")
        Trainer(config(arguments.method), *sets, torch.device("cpu")).run(whole)
        generator, kills = random.Random(arguments.seed), 0
        while kills < arguments.kills and read_result(killed) is None:
            process = subprocess.Popen(
                [sys.executable, "-c", VICTIM, str(data), str(killed), arguments.method]
            )
            before = checkpoint.newest(killed)
            while checkpoint.newest(killed) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 0.3))
            if process.poll() is None:
                process.kill()
                kills += 1
            process.wait()
            print(f"kill {kills}: newest checkpoint {getattr(checkpoint.newest(killed), 'name', None)}")
        Trainer(config(arguments.method), *sets, torch.device("cpu")).run(killed, resume=True)
        one, other = (load_file(checkpoint.newest(folder) or "") for folder in (whole, killed))
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    print(f"{arguments.method}: {len(one)} tensors, {len(differing)} differ after {kills} kills")
    return 1 if differing or kills < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
