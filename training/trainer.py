"""The training loop: from a configuration and two resident sets to a finished run folder."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
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
from training.evaluation import accuracy, memorisation, predict, scores
from training.methods.choose import make_method
from training.methods.interface import Batch, Facts, Passes
from training.models.choose import make_network
from training.models.student import Student
from training.optimizer import learning_rate, make_optimizer
from training.randomness import generator, key
from training.run_directory import RESULT, describe, open_run, read_result, write_json

CHECKPOINT_SECONDS = 20.0
COUNTERS = ("step", "epoch", "position", "seconds")


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
        classes = len(train.class_names)
        self.method = make_method(config, Facts(classes, len(train), device))
        self.networks = [
            make_network(config.network, classes, config.seed, number).to(device).train()
            for number in range(self.method.networks)
        ]
        for network in self.networks:
            self.method.prepare(network)
        self.students = [Student(network, self.bf16) for network in self.networks]
        self.optimizer = make_optimizer(config.optimizer, self.method, self.networks)
        decay, measured = config.average_decay, self.networks[: self.method.evaluated]
        self.averages = [AveragedWeights(network, decay) for network in measured] if decay else []
        self.augmenter = Augmenter(self.train.images, config.augment)
        self.losses = torch.zeros(self.method.phases * (len(train) // config.batch_size), device=device)
        self.trust = metrics.Trust(device)
        self.step = self.epoch = self.position = 0
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
        epochs, saved = self.config.epochs, time.monotonic()
        bar = tqdm(
            total=epochs * len(self.losses) * self.config.batch_size,
            desc=self.config.method,
            unit="image",
            unit_scale=True,
            disable=None if progress else True,
            leave=False,
        )
        with bar, fast_kernels(self.device), torch.random.fork_rng(devices=self._gpus()):
            while self.epoch < epochs:
                began = time.monotonic()
                row = self._epoch(bar, stop)
                self.seconds += time.monotonic() - began
                if row is not None:
                    metrics.append(directory, row)
                    bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "test_accuracy") if k in row})
                stopped = stop() and self.epoch < epochs
                if stopped or self.epoch == epochs or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save(directory)
                    saved = time.monotonic()
                if stopped:
                    raise KeyboardInterrupt
        result = metrics.result(metrics.read(directory)) | self._circumstances()
        write_json(directory / RESULT, result)
        return result

    def _epoch(self, bar: tqdm, stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Run the steps of the current epoch that are left, then measure; None if stopped in between."""
        config, epoch, method = self.config, self.epoch, self.method
        if self.position == 0:
            method.begin(epoch, self.students, self._survey)
        order = epoch_order(len(self.train), config.seed, epoch)
        phases = method.plan(epoch, order, config.batch_size)
        rows = torch.cat(phases).to(self.device)
        place = [(phase, step / len(part)) for phase, part in enumerate(phases) for step in range(len(part))]
        count, width = rows.shape
        changes = [
            draw(config.augment, rows.numel(), config.seed, epoch, self.device, view)
            for view in range(method.views)
        ]
        draws = method.draw((count, width), generator(config.seed, epoch, config.method, self.device))
        began, first, rate = time.monotonic(), self.position, 0.0
        for position in range(first, count):
            index, chosen = rows[position], slice(position * width, (position + 1) * width)
            views = [self.augmenter.batch(index, change, chosen) for change in changes]
            batch = Batch(
                images=views[0],
                labels=self.train.labels[index],
                percent=100 * (epoch * count + position) // (config.epochs * count),
                draws={name: numbers[position] for name, numbers in draws.items()},
                index=index,
                epoch=epoch,
                phase=place[position][0],
                phase_done=place[position][1],
                second_view=views[-1] if len(views) > 1 else None,
            )
            torch.manual_seed(key(config.seed, self.step, "layers"))  # dropout inside networks draws from it
            outcome = method.step(self.students, batch)
            outcome.loss.backward()
            rate = learning_rate(config.optimizer, epoch * count + position, count, config.epochs)
            self.optimizer.step(rate)
            for average in self.averages:
                average.update(self.step)
            self.losses[position] = outcome.loss.detach()
            if outcome.weights is not None:
                self.trust.add(outcome.weights, self.train.is_clean[index])
            self.step, self.position = self.step + 1, position + 1
            bar.update(width)
            if stop() and self.position < count:
                return None
        self.epoch, self.position = epoch + 1, 0
        speed = (count - first) * width / (time.monotonic() - began)
        row = {"step": self.step, "epoch": epoch + 1, "learning_rate": rate}
        row |= {"train_loss": self._mean_loss(count), "images_per_second": round(speed, 1)}
        row |= self.trust.summary() | self._measure(epoch + 1)
        self.trust.counts.zero_()
        return row

    def _survey(self, student: Passes) -> Tensor:
        """Cross-entropy [N] of a student on the training set as it is."""
        network = next(one.network for one in self.students if one is student)
        logits = torch.cat(list(scores([network], self.train.images, self.bf16)))
        return cross_entropy(logits.float(), self.train.labels, reduction="none")

    def _mean_loss(self, count: int) -> float:
        """Mean over the `count` steps of the epoch that has ended."""
        losses = self.losses[:count]
        if not bool(losses.isfinite().all()):
            bad = int((~losses.isfinite()).nonzero()[0])
            raise DivergedError(
                f"the loss is {losses[bad].item()} at step {self.step - count + bad} (epoch {self.epoch}); try a "
                "smaller optimizer.learning_rate, optimizer.warmup_epochs=1 or precision=fp32"
            )
        return losses.double().mean().item()

    def _measure(self, epoch: int) -> dict[str, Any]:
        """Measure what is due after `epoch` epochs; the averaged weights count where there are any."""
        config, last = self.config, epoch == self.config.epochs
        row: dict[str, Any] = {}
        raw = self.networks[: self.method.evaluated]
        networks = [average.for_evaluation() for average in self.averages] or raw
        if last or epoch % config.evaluate_every == 0:
            row["test_accuracy"] = accuracy(predict(networks, self.test.images, self.bf16), self.test.labels)
            plain = predict(raw, self.test.images, self.bf16) if self.averages else None
            row["test_accuracy_raw"] = (
                row["test_accuracy"] if plain is None else accuracy(plain, self.test.labels)
            )
        if last or epoch % config.memorised_every == 0:
            row |= memorisation(predict(networks, self.train.images, self.bf16), self.train)
        return row

    def _circumstances(self) -> dict[str, Any]:
        """What the numbers were made on."""
        return {
            "seconds": round(self.seconds, 2),
            "parameters": sum(parameter.numel() for parameter in self.networks[0].parameters()),
            "device": self.device.type,
            "precision": "bf16" if self.bf16 else "fp32",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name."""
        groups: dict[str, Mapping[str, Tensor]] = {
            "momentum": self.optimizer.momenta,
            "method": self.method.state | {name: p.data for name, p in self.method.parameters.items()},
            "epoch": {"losses": self.losses, "trust": self.trust.counts},
        }
        for number, network in enumerate(self.networks):
            groups[f"network{number}"] = network.state_dict()
        for number, average in enumerate(self.averages):
            groups[f"average{number}"] = dict(average.network.named_parameters())
        return {f"{group}.{name}": tensor for group, part in groups.items() for name, tensor in part.items()}

    def _save(self, directory: Path) -> None:
        state = {name: getattr(self, name) for name in COUNTERS}
        checkpoint.save(directory, self._tensors(), state)

    def _load(self, directory: Path) -> None:
        tensors, state = checkpoint.load(directory, self.device)
        checkpoint.restore(self._tensors(), tensors, str(directory / checkpoint.FILE))
        for name in COUNTERS:
            setattr(self, name, state[name])

    def _gpus(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []
