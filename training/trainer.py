"""The training loop: from a configuration and two sets to a finished run folder."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from common.errors import DataError, UsageError
from training import checkpoint, label_trust, metrics
from training.averaging import AveragedWeights
from training.config import TrainConfig
from training.data.epoch_plan import EpochPlan
from training.data.shards import ImageSet
from training.device import kernel_settings, use_bf16
from training.distributed import Processes, synchronize_batch_norms
from training.errors import DivergedError
from training.evaluation import accuracy, memorization, predict, summed_logits
from training.exact import exact_fraction
from training.features.vectors import FeatureVectors, make_augmenter
from training.hardware import describe_environment
from training.label_trust import LabelTrust
from training.methods.interface import Batch, ForwardPasses, RunFacts, StepOutcome
from training.methods.registry import make_method
from training.models.registry import make_head, make_network
from training.models.student import Student
from training.optimizer import learning_rate, make_optimizer
from training.randomness import derive_seed, generator
from training.run_directory import RESULT, describe, open_run, read_result
from training.state_files import write_json

CHECKPOINT_SECONDS = 20.0  # between two checkpoints
CHECKPOINT_TIME_SHARE = 0.02  # share of the time that they may take: those of large networks come less often
STOP_CHECK_STEPS = 20  # steps between which several processes ask each other whether to stop
COUNTERS = ("step", "epoch", "position", "seconds")


class Trainer:
    """Everything that one run keeps between two steps, and the loop over it."""

    def __init__(
        self,
        config: TrainConfig,
        train: ImageSet,
        test: ImageSet,
        device: torch.device,
        processes: Processes | None = None,
        *,
        description: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """The sets may be on any device; they are moved to `device`.

        `description`: what the run is called by, where that is not `config`; `about`: goes into the result. Raises
        DataError if the training set does not fill one batch, UsageError if the processes cannot share one.
        """
        self.config, self.device, self.processes = config, device, processes or Processes()
        self.description, self.about = description or describe(config, train, test), about or {}
        held_out, train = hold_out(train, config)
        if len(train) < config.batch_size:
            raise DataError(
                f"{train.name}: {len(train)} images do not fill one batch of {config.batch_size}; "
                "--set batch_size=… to at most that"
            )
        self.train, self.test = train.to(device), test.to(device)
        self.held_out = held_out.to(device) if held_out else None
        self.bf16 = use_bf16(config.precision, device)
        classes = len(train.class_names)
        steps = config.epochs * (len(train) // config.batch_size)
        self.method = make_method(config, RunFacts(classes, len(train), device, config.epochs, steps))
        self._check_world()
        vectors = train.images.vectors if isinstance(train.images, FeatureVectors) else None
        networks = [
            make_network(config.network, classes, config.seed, number)
            if vectors is None
            else make_head(vectors, classes, config.seed, number)
            for number in range(self.method.networks)
        ]
        self.networks = [
            synchronize_batch_norms(network.to(device).train(), self.processes, device)
            for network in networks
        ]
        for network in self.networks:
            self.method.prepare(network)
        self.students = [Student(network, self.bf16, config.compile) for network in self.networks]
        self.optimizer = make_optimizer(config.optimizer, self.method, self.networks)
        decay, measured = config.average_decay, self.networks[: self.method.evaluated]
        self.averages = [AveragedWeights(network, decay) for network in measured] if decay else []
        self.augmenter = make_augmenter(config, train, device)
        parts = len(train) // config.batch_size * config.accumulate
        self.losses = torch.zeros(self.method.phases * parts, device=device)
        self.tally = metrics.EpochTally(device)
        self.trust = LabelTrust(len(train), device)
        self.step = self.epoch = self.position = 0
        self.seconds = 0.0
        self.clocked = 0.0  # moment up to which seconds are counted
        self.due = math.inf  # moment of the next checkpoint, in the process that writes them

    def run(
        self,
        directory: Path,
        *,
        resume: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = bool,
        log: Callable[[Mapping[str, Any]], object] = dict,
    ) -> dict[str, Any]:
        """Train to the end, or until `stop()`, and return what result.json holds; `log` gets each epoch's row.

        A run that has finished is not trained again. Raises KeyboardInterrupt, after a checkpoint, when
        stopped; DivergedError; UsageError if the folder holds something else.
        """
        leader = self.processes.rank == 0
        there = open_run(directory, self.description, resume) if leader else False
        self.processes.barrier()
        if finished := read_result(directory):
            return finished
        if self.processes.any(there, self.device):
            self._load(directory)
        if leader:
            metrics.drop_rows_after(directory, self.step)
        epochs, self.clocked = self.config.epochs, time.monotonic()
        if leader:
            self.due = self.clocked + CHECKPOINT_SECONDS
        gpus = [self.device] if self.device.type == "cuda" else []
        fast = kernel_settings(self.device, self.config.deterministic)
        shown = progress and leader
        with self._bar(shown) as bar, fast, torch.random.fork_rng(devices=gpus):
            while self.epoch < epochs:
                row = self._epoch(directory, bar, stop)
                self._clock()
                if row is not None and leader:
                    row["seconds"] = round(self.seconds, 2)
                    metrics.append_row(directory, row)
                    log(row)
                    bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "test_accuracy") if k in row})
                stopped = self.processes.any(stop(), self.device) and self.epoch < epochs
                if leader and (stopped or self.epoch == epochs or time.monotonic() > self.due):
                    self._save(directory)
                if stopped:
                    raise KeyboardInterrupt
        if leader:
            result = metrics.summarize(metrics.read_rows(directory)) | self._judge_labels(directory)
            result |= self._circumstances()
            write_json(directory / RESULT, result)
        self.processes.barrier()
        return read_result(directory) or {}

    def _bar(self, shown: bool) -> tqdm:
        return tqdm(
            total=self.config.epochs * len(self.losses) * (self.config.batch_size // self.config.accumulate),
            initial=self.step * self.config.batch_size,
            desc=self.config.method,
            unit="image",
            unit_scale=True,
            disable=None if shown else True,
            leave=False,
        )

    def _clock(self) -> None:
        """Count the seconds since the last time."""
        now = time.monotonic()
        self.seconds += now - self.clocked
        self.clocked = now

    def _epoch(self, directory: Path, bar: tqdm, stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Run the steps of the current epoch that are left, then measure; None if stopped in between."""
        config, number, parts = self.config, self.epoch, self.config.accumulate
        if self.position == 0:
            self.method.begin_epoch(number, self.students, self._survey)
        epoch = EpochPlan.plan(self.method, config, len(self.train), number)
        began, first, rate = time.monotonic(), self.position, 0.0
        for batch in epoch.batches(self.method, config, self.train, self.augmenter, self.processes, first):
            # dropout inside networks draws from torch's own generator
            torch.manual_seed(
                derive_seed(config.seed, self.step * parts + self.position % parts, self._layers)
            )
            if config.compile == "reduce-overhead" and self.position % parts == 0:
                torch.compiler.cudagraph_mark_step_begin()  # not between parts: gradients have to stay
            outcome = self.method.step(self.students, batch)
            (outcome.loss / parts if parts > 1 else outcome.loss).backward()
            self.losses[self.position] = outcome.loss.detach()
            self._count(outcome, batch)
            self.position += 1
            bar.update(epoch.rows.shape[1])
            if self.position % parts:
                continue
            rate = learning_rate(
                config.optimizer,
                (number * len(epoch) + self.position) // parts - 1,
                len(epoch) // parts,
                config.epochs,
            )
            self.processes.average_(
                [*self.optimizer.gradients(), self.losses[self.position - parts : self.position]]
            )
            self.optimizer.step(rate)
            for average in self.averages:
                average.update(self.step)
            self.step += 1
            inside = self.position < len(epoch)
            if self._asked_to_stop(stop) and inside:
                return None
            if time.monotonic() > self.due and inside:
                self._save(directory)
        self.epoch, self.position = number + 1, 0
        row = {"step": self.step, "epoch": self.epoch, "learning_rate": rate}
        row["train_loss"] = self._mean_loss(len(epoch))  # waits for a GPU to end its steps; then the clock
        speed = (len(epoch) - first) * epoch.rows.shape[1] / (time.monotonic() - began)
        row["images_per_second"] = round(speed, 1)
        return row | self.tally.summary() | self.method.report() | self._measure()

    @property
    def _layers(self) -> str:
        return f"layers{self.processes.rank or ''}"

    def _count(self, outcome: StepOutcome, batch: Batch) -> None:
        """Add what all processes learned about a batch to the epoch's tally."""
        told = (outcome.weights, outcome.losses, outcome.differences)
        if all(one is None for one in told):
            return
        assert batch.index is not None
        v, loss, difference = (None if one is None else self.processes.gather(one.detach()) for one in told)
        index = self.processes.gather(batch.index)
        self.tally.add(v, loss, difference, self.train.is_clean[index])
        if v is not None:
            self.trust.add_weights(index, v, batch.percent / 100)

    def _asked_to_stop(self, stop: Callable[[], bool]) -> bool:
        if self.processes.size > 1 and self.step % STOP_CHECK_STEPS:
            return False
        return self.processes.any(stop(), self.device)

    def _survey(self, student: ForwardPasses) -> Tensor:
        """Cross-entropy [N] of a student on the training set as it is."""
        network = next(one.network for one in self.students if one is student)
        logits = torch.cat(list(summed_logits([network], self.train, self.augmenter, self.bf16)))
        return cross_entropy(logits, self.train.labels, reduction="none")

    def _mean_loss(self, count: int) -> float:
        """Mean over the `count` parts of steps of the epoch that has ended."""
        losses = self.losses[:count]
        if not bool(losses.isfinite().all()):
            bad = int((~losses.isfinite()).nonzero()[0])
            step = self.step - (count - bad - 1) // self.config.accumulate - 1
            raise DivergedError(
                f"the loss is {losses[bad].item()} at step {step} (epoch {self.epoch}); try a smaller "
                "optimizer.learning_rate, optimizer.warmup_epochs=1 or precision=fp32"
            )
        return losses.double().mean().item()

    def _measure(self) -> dict[str, Any]:
        """Measure what is due after this epoch; the averaged weights count where there are any."""
        config, last = self.config, self.epoch == self.config.epochs
        row: dict[str, Any] = {}
        raw = self.networks[: self.method.evaluated]
        networks = [average.for_evaluation() for average in self.averages] or raw

        def hits(these: list[Any], data: ImageSet) -> float:
            return accuracy(predict(these, data, self.augmenter, self.bf16), data.labels)

        if last or self.epoch % config.evaluation_interval == 0:
            row["test_accuracy"] = hits(networks, self.test)
            if (
                last or not self.averages
            ):  # a look costs as much as the other: the raw weights wait for the end
                row["test_accuracy_raw"] = hits(raw, self.test) if self.averages else row["test_accuracy"]
            if self.held_out:
                row["validation_accuracy"] = hits(networks, self.held_out)
        if last or self.epoch % config.memorized_every == 0:
            logits = summed_logits(networks, self.train, self.augmenter, self.bf16)
            predicted = self.trust.add_logits(logits, self.train.labels, self.epoch / config.epochs)
            row |= memorization(predicted, self.train)
        return row

    def _judge_labels(self, directory: Path) -> dict[str, Any]:
        """Write the table of distrusted labels, and return how well they are those that are wrong."""
        table = self.trust.table(self.train)
        label_trust.write(table, directory)
        return label_trust.quality(table, self.train.is_clean.cpu().numpy())

    def _check_world(self) -> None:
        size, part = self.processes.size, self.config.batch_size // self.config.accumulate
        if part % size:
            raise UsageError(
                f"batch_size: {part} images at a time cannot be shared by {size} processes evenly"
            )
        if size > 1 and not self.method.shares_batches:
            raise UsageError(f"method: {self.config.method} trains in one process; start it without torchrun")

    def _circumstances(self) -> dict[str, Any]:
        """What the numbers were made on."""
        return {
            "seconds": round(self.seconds, 2),
            "parameters": sum(parameter.numel() for parameter in self.networks[0].parameters()),
            "weight_decay": self.method.weight_decay(self.config.optimizer.weight_decay),
            "precision": "bf16" if self.bf16 else "fp32",
            **describe_environment(self.device),
            **self.about,
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name."""
        groups: dict[str, Mapping[str, Tensor]] = {
            "momentum": self.optimizer.state,
            "method": self.method.state | {name: p.data for name, p in self.method.parameters.items()},
            "epoch": {"losses": self.losses, **self.tally.state},
            "trust": self.trust.state,
        }
        for number, network in enumerate(self.networks):
            groups[f"network{number}"] = network.state_dict()
        for number, average in enumerate(self.averages):
            groups[f"average{number}"] = dict(average.network.named_parameters())
        return {f"{group}.{name}": tensor for group, part in groups.items() for name, tensor in part.items()}

    def _save(self, directory: Path) -> None:
        """Write a checkpoint, and set when the next is due."""
        self._clock()
        state = {name: getattr(self, name) for name in COUNTERS}
        checkpoint.save(directory, self._tensors(), state, self.step, self.config.keep_checkpoints)
        began, self.clocked = self.clocked, time.monotonic()
        self.due = self.clocked + max(CHECKPOINT_SECONDS, (self.clocked - began) / CHECKPOINT_TIME_SHARE)

    def _load(self, directory: Path) -> None:
        tensors, state = checkpoint.load(directory, self.device)
        checkpoint.restore(self._tensors(), tensors, directory)
        for name in COUNTERS:
            setattr(self, name, state[name])


def hold_out(train: ImageSet, config: TrainConfig) -> tuple[ImageSet | None, ImageSet]:
    """Split off the share `config.validation`, the same for all epochs of a seed; the given labels stay."""
    count = round(exact_fraction(config.validation) * len(train))
    if count == 0:
        return None, train
    order = torch.randperm(len(train), generator=generator(config.seed, 0, "validation"))
    return train.take(order[:count].sort().values), train.take(order[count:].sort().values)
