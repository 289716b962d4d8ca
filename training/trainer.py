"""The training loop: from a configuration and two resident sets to a finished run folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from schemas.errors import DataError
from training import checkpoint, metrics
from training.averaging import AveragedWeights
from training.config import TrainConfig
from training.data.augment import Augmenter, draw
from training.data.order import epoch_order
from training.data.shards import ImageSet
from training.device import fast_kernels, use_bf16
from training.errors import DivergedError
from training.evaluation import accuracy, memorisation, predict
from training.methods.choose import make_method
from training.methods.interface import Batch
from training.models.choose import make_network
from training.models.student import Student
from training.optimizer import MomentumSGD, learning_rate
from training.randomness import generator
from training.run_directory import RESULT, describe, open_run, read_result, write_json

CHECKPOINT_SECONDS = 20.0


class Trainer:
    """Everything that one run keeps between two steps, and the loop over it."""

    def __init__(self, config: TrainConfig, train: ImageSet, test: ImageSet, device: torch.device) -> None:
        """The sets may be on any device; they are moved to `device`.

        Raises DataError if the training set does not fill one batch.
        """
        if len(train) < config.batch_size:
            raise DataError(
                f"{train.name}: {len(train)} images do not fill one batch of {config.batch_size}; "
                "--set batch_size=… to at most that"
            )
        self.config, self.device = config, device
        self.train, self.test = train.to(device), test.to(device)
        self.bf16 = use_bf16(config.precision, device)
        self.network = make_network(config.network, len(train.class_names), config.seed).to(device).train()
        self.student = Student(self.network, self.bf16)
        self.method = make_method(config, device)
        self.optimizer = MomentumSGD(self.network, config.optimizer, self.method.decays_weights)
        self.averages = AveragedWeights(self.network, config.average_decay) if config.average_decay else None
        self.augmenter = Augmenter(self.train.images, config.augment)
        self.steps_per_epoch = len(train) // config.batch_size
        self.losses = torch.zeros(self.steps_per_epoch, device=device)
        self.trust = metrics.Trust(device)
        self.step = 0
        self.seconds = 0.0

    def run(
        self,
        directory: Path,
        *,
        resume: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = bool,
    ) -> dict[str, Any]:
        """Train to the end, or until `stop()`, and return what result.json holds.

        A run that has finished is not trained again. Raises KeyboardInterrupt, after a checkpoint, when
        stopped; DivergedError; UsageError if the folder holds something else.
        """
        if open_run(directory, describe(self.config, self.train, self.test), resume):
            if finished := read_result(directory):
                return finished
            self._load(directory)
        metrics.keep_until(directory, self.step)
        total, saved = self.config.epochs * self.steps_per_epoch, time.monotonic()
        bar = tqdm(
            total=total,
            initial=self.step,
            desc=self.config.method,
            unit="step",
            disable=None if progress else True,
            leave=False,
        )
        with bar, fast_kernels(self.device):
            while self.step < total:
                began = time.monotonic()
                row = self._epoch(bar, stop)
                self.seconds += time.monotonic() - began
                if row is not None:
                    metrics.append(directory, row)
                    bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "test_accuracy") if k in row})
                stopped = stop() and self.step < total
                if stopped or self.step == total or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save(directory)
                    saved = time.monotonic()
                if stopped:
                    raise KeyboardInterrupt
        result = metrics.result(metrics.read(directory)) | self._circumstances()
        write_json(directory / RESULT, result)
        return result

    def _epoch(self, bar: tqdm, stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Run the steps of the current epoch that are left, then measure; None if stopped in between."""
        config, size, count = self.config, self.config.batch_size, self.steps_per_epoch
        epoch, first = divmod(self.step, count)
        order = epoch_order(len(self.train), config.seed, epoch).to(self.device)
        changes = draw(config.augment, count * size, config.seed, epoch, self.device)
        draws = self.method.draw((count, size), generator(config.seed, epoch, config.method, self.device))
        began = time.monotonic()
        rate = 0.0
        for position in range(first, count):
            chosen = slice(position * size, (position + 1) * size)
            index = order[chosen]
            batch = Batch(
                self.augmenter.batch(index, changes, chosen),
                self.train.labels[index],
                100 * self.step // (config.epochs * count),
                {name: numbers[position] for name, numbers in draws.items()},
            )
            outcome = self.method.step(self.student, batch)
            outcome.loss.backward()
            rate = learning_rate(config.optimizer, self.step, count, config.epochs)
            self.optimizer.step(rate)
            if self.averages:
                self.averages.update(self.step)
            self.losses[position] = outcome.loss.detach()
            if outcome.weights is not None:
                self.trust.add(outcome.weights, self.train.is_clean[index])
            self.step += 1
            bar.update()
            if stop() and self.step % count:
                return None
        loss = self._mean_loss(epoch)
        speed = (count - first) * size / (time.monotonic() - began)
        row = {"step": self.step, "epoch": epoch + 1, "learning_rate": rate, "train_loss": loss}
        row |= self.trust.summary() | {"images_per_second": round(speed, 1)} | self._measure(epoch + 1)
        self.trust.counts.zero_()
        return row

    def _mean_loss(self, epoch: int) -> float:
        if not bool(self.losses.isfinite().all()):
            bad = int((~self.losses.isfinite()).nonzero()[0])
            raise DivergedError(
                f"the loss is {self.losses[bad].item()} at step {epoch * self.steps_per_epoch + bad} "
                f"(epoch {epoch + 1}); try a smaller optimizer.learning_rate, optimizer.warmup_epochs=1 or "
                "precision=fp32"
            )
        return self.losses.double().mean().item()

    def _measure(self, epoch: int) -> dict[str, Any]:
        """Measure what is due after `epoch` epochs; the averaged weights count where there are any."""
        config, last = self.config, epoch == self.config.epochs
        row: dict[str, Any] = {}
        network = self.averages.for_evaluation() if self.averages else self.network
        if last or epoch % config.evaluate_every == 0:
            row["test_accuracy"] = accuracy(predict(network, self.test.images, self.bf16), self.test.labels)
            raw = predict(self.network, self.test.images, self.bf16) if self.averages else None
            row["test_accuracy_raw"] = (
                row["test_accuracy"] if raw is None else accuracy(raw, self.test.labels)
            )
        if last or epoch % config.memorised_every == 0:
            row |= memorisation(predict(network, self.train.images, self.bf16), self.train)
        return row

    def _circumstances(self) -> dict[str, Any]:
        """What the numbers were made on."""
        return {
            "seconds": round(self.seconds, 2),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "device": self.device.type,
            "precision": "bf16" if self.bf16 else "fp32",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name."""
        groups: dict[str, dict[str, Tensor]] = {
            "network": self.network.state_dict(),
            "momentum": self.optimizer.momenta,
            "average": dict(self.averages.network.named_parameters()) if self.averages else {},
            "method": self.method.state,
            "epoch": {"losses": self.losses, "trust": self.trust.counts},
        }
        return {f"{group}.{name}": tensor for group, part in groups.items() for name, tensor in part.items()}

    def _save(self, directory: Path) -> None:
        checkpoint.save(directory, self._tensors(), {"step": self.step, "seconds": self.seconds})

    def _load(self, directory: Path) -> None:
        tensors, state = checkpoint.load(directory, self.device)
        checkpoint.restore(self._tensors(), tensors, str(directory / checkpoint.FILE))
        self.step, self.seconds = state["step"], state["seconds"]
