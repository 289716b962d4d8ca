"""The training loop: train a configuration on two sets, and write a run folder."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import DataError, UsageError
from training import checkpoint, label_trust, metrics
from training.averaging import AveragedWeights
from training.callbacks import ignore_row, never_stop
from training.config import TrainConfig
from training.data.epoch_plan import EpochPlan
from training.data.shards import ImageSet
from training.device import kernel_settings, use_bf16
from training.distributed import Processes
from training.errors import TRAIN_MORE_GENTLY, DivergedError
from training.features.vectors import FeatureVectors, make_augmenter
from training.hardware import describe_environment
from training.label_trust import LabelTrust
from training.measurement import Measurement
from training.methods.interface import Batch, ForwardPasses, RunFacts, StepOutcome
from training.methods.registry import make_method
from training.models.freezing import freeze_before, train_mode
from training.models.registry import make_head, make_network
from training.models.student import Student
from training.models.synchronized_batch_norm import synchronize_batch_norms
from training.optimizer import learning_rate, make_optimizer
from training.progress import RunProgress
from training.randomness import derive_seed, generator, seed_layers
from training.run_clock import RunClock
from training.run_directory import RESULT, check_folder, describe, locked, open_run, read_result
from training.run_length import held_out_images
from training.state_files import write_json

STOP_CHECK_STEPS = 20  # steps between two checks of several processes whether to stop
PROGRESS_FIELDS = ("step", "epoch", "position")


class Trainer:
    """A training run: its state between steps, and its loop."""

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
        """Move the sets to `device` and build networks, method and optimizer.

        `description`: content of config.json, by default from the configuration and sets. `about`: additional fields of
        the result. Raises DataError if the training set is smaller than a batch (DivideMix: than two batches), UsageError if
        the processes cannot share a batch.
        """
        self.config, self.device, self.processes = config, device, processes or Processes()
        self.description, self.about = description or describe(config, train, test), about or {}
        held_out, train = hold_out(train, config)
        self.train = train.to(device)
        self.bf16 = use_bf16(config.precision, device)
        classes = len(train.class_names)
        self.method = make_method(
            config, RunFacts(classes, len(train), device, config.epochs, config.accumulate)
        )
        self._check_size(train)
        self._check_processes()
        self.networks = self._make_networks(train)
        self.students = [Student(network, self.bf16, config.compile) for network in self.networks]
        self.optimizer = make_optimizer(config.optimizer, self.method, self.networks)
        decay, predicting = config.average_decay, self.networks[: self.method.evaluated]
        self.averages = [AveragedWeights(network, decay) for network in predicting] if decay else []
        self.augmenter = make_augmenter(config, train, device)
        parts = len(train) // config.batch_size * config.accumulate
        self.losses = torch.zeros(self.method.phases * parts, device=device)
        self.tally = metrics.EpochTally(device)
        self.trust = LabelTrust(len(train), device)
        self.measurement = Measurement(
            config=config, train=self.train, test=test.to(device), held_out=held_out.to(device) if held_out else None,
            networks=predicting, averages=self.averages, augmenter=self.augmenter, bf16=self.bf16,
            processes=self.processes, trust=self.trust,
        )  # fmt: skip
        self.step = self.epoch = self.position = 0
        self.clock = RunClock(saves=self.processes.rank == 0)

    def run(
        self,
        directory: Path,
        *,
        resume: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = never_stop,
        log: Callable[[Mapping[str, Any]], object] = ignore_row,
        title: str = "",
    ) -> dict[str, Any]:
        """Train in `directory` and return the content of result.json; `log` receives the row of each epoch.

        If `progress`, stderr says how far the run is and how long it takes, under `title` (default: the folder's name).
        A finished run is not trained again. Raises KeyboardInterrupt after a checkpoint if `stop()` returns true,
        DivergedError if a loss or a prediction is not finite, UsageError if the folder holds another run or other files, or
        if another process trains in it.
        """
        leader = self.processes.rank == 0
        if leader:
            check_folder(directory, self.description, resume)  # before a lock is put into it
        with locked(directory) if leader else nullcontext():
            return self._run_locked(directory, resume, progress, stop, log, title)

    def _run_locked(
        self,
        directory: Path,
        resume: bool,
        progress: bool,
        stop: Callable[[], bool],
        log: Callable[[Mapping[str, Any]], object],
        title: str,
    ) -> dict[str, Any]:
        """Train like `run`, in a folder that is locked."""
        leader = self.processes.rank == 0
        resumable = open_run(directory, self.description, resume) if leader else False
        self.processes.barrier()
        if finished := read_result(directory):
            return finished
        if self.processes.any(resumable, self.device):
            self._load(directory)
        if leader:
            metrics.drop_rows_after(directory, self.step)
        epochs = self.config.epochs
        self.clock.start()
        gpus = [self.device] if self.device.type == "cuda" else []
        kernels = kernel_settings(self.device, self.config.deterministic)
        shown = self._progress(title or directory.name, progress and leader)
        with shown as bar, kernels, torch.random.fork_rng(devices=gpus):
            while self.epoch < epochs:
                row = self._train_epoch(directory, bar, stop)
                self.clock.count()
                if row is not None and leader:
                    row["seconds"] = round(self.clock.seconds, 2)
                    metrics.append_row(directory, row)
                    log(row)
                stopped = self.processes.any(stop(), self.device) and self.epoch < epochs
                if leader and (stopped or self.epoch == epochs or self.clock.checkpoint_is_due):
                    self._save(directory)
                if stopped:
                    raise KeyboardInterrupt
        if leader:
            result = metrics.summarize(metrics.read_rows(directory)) | self._write_label_trust(directory)
            result |= {"test_images": len(self.measurement.test), **self._environment()}
            result["predicted_seconds"] = bar.predicted_seconds and round(bar.predicted_seconds, 2)
            write_json(directory / RESULT, result)
            bar.finished(self.clock.seconds)
        self.processes.barrier()
        return read_result(directory) or {}

    def _progress(self, title: str, shown: bool) -> RunProgress:
        config = self.config
        left = range(self.epoch + 1, config.epochs + 1)
        return RunProgress(
            title=title, shown=shown, steps=(self.step, self._expected_steps()), epochs=config.epochs,
            images_per_step=config.batch_size,
            evaluation_images={epoch: self.measurement.image_count(epoch) for epoch in left},
            earlier_seconds=self.clock.seconds, synchronize=self._synchronize,
        )  # fmt: skip

    def _expected_steps(self) -> int:
        """Return the number of steps of the whole run, if the method plans later epochs as it would plan them now."""
        parts, epochs = self.config.accumulate, range(self.epoch, self.config.epochs)
        left = self.method.count_steps(epochs, len(self.train), self.config.batch_size // parts, parts)
        return self.step - self.position // parts + left

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _train_epoch(
        self, directory: Path, bar: RunProgress, stop: Callable[[], bool]
    ) -> dict[str, Any] | None:
        """Run the remaining steps of the current epoch and return its row of metrics, or None if stopped within it."""
        config, number, parts = self.config, self.epoch, self.config.accumulate
        if self.position == 0:
            self.method.begin_epoch(number, self.students, self._losses_of)
        epoch = EpochPlan.plan(self.method, config, len(self.train), number)
        bar.expect(self._expected_steps())
        started, first, rate = time.monotonic(), self.position, 0.0
        for batch in epoch.batches(self.method, config, self.train, self.augmenter, self.processes, first):
            part = self.step * parts + self.position % parts
            seed_layers(derive_seed(config.seed, part, self._dropout_purpose), self.device)
            if config.compile == "reduce-overhead" and self.position % parts == 0:
                torch.compiler.cudagraph_mark_step_begin()  # once per step: gradients of earlier parts must stay valid
            outcome = self.method.step(self.students, batch)
            (outcome.loss / parts if parts > 1 else outcome.loss).backward()
            self.losses[self.position] = outcome.loss.detach()
            self._count(outcome, batch)
            self.position += 1
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
            bar.step_done()
            inside = self.position < len(epoch)
            if self._must_stop(stop) and inside:
                return None
            if self.clock.checkpoint_is_due and inside:
                self._save(directory)
        self.epoch, self.position = number + 1, 0
        row = {"step": self.step, "epoch": self.epoch, "learning_rate": rate}
        row["train_loss"] = self._mean_loss(len(epoch))  # waits for the GPU, so that the speed below is right
        speed = (len(epoch) - first) * epoch.rows.shape[1] / (time.monotonic() - started)
        row["images_per_second"] = round(speed, 1)
        bar.epoch_trained()
        row |= self.tally.summary() | self.method.report() | self.measurement.row(self.epoch)
        bar.epoch_evaluated(row)
        return row

    @property
    def _dropout_purpose(self) -> str:
        return f"layers{self.processes.rank or ''}"

    def _count(self, outcome: StepOutcome, batch: Batch) -> None:
        """Add weights, losses and differences of a batch of all processes to the tally of the epoch."""
        outputs = (outcome.weights, outcome.losses, outcome.differences)
        if all(output is None for output in outputs):
            return
        assert batch.index is not None
        weights, losses, differences = (
            None if output is None else self.processes.gather(output.detach()) for output in outputs
        )
        index = self.processes.gather(batch.index)
        self.tally.add(weights, losses, differences, self.train.is_clean[index])
        if weights is not None:
            self.trust.add_weights(index, weights, batch.percent / 100)

    def _must_stop(self, stop: Callable[[], bool]) -> bool:
        if self.processes.size > 1 and self.step % STOP_CHECK_STEPS:
            return False
        return self.processes.any(stop(), self.device)

    def _losses_of(self, student: ForwardPasses) -> Tensor:
        """Return the cross-entropy [N] of a student on the training set without augmentation."""
        return self.measurement.losses(
            next(candidate.network for candidate in self.students if candidate is student)
        )

    def _mean_loss(self, count: int) -> float:
        """Return the mean loss of the first `count` parts of steps. Raises DivergedError if one is not finite."""
        losses = self.losses[:count]
        if not bool(losses.isfinite().all()):
            first_bad = int((~losses.isfinite()).nonzero()[0])
            step = self.step - (count - first_bad - 1) // self.config.accumulate - 1
            raise DivergedError(
                f"the loss is {losses[first_bad].item()} at step {step} (epoch {self.epoch}); {TRAIN_MORE_GENTLY}"
            )
        return losses.double().mean().item()

    def _write_label_trust(self, directory: Path) -> dict[str, Any]:
        """Write the table of label trust, and return how well it ranks wrong labels."""
        table = self.trust.table(self.train)
        label_trust.write(table, directory)
        return label_trust.quality(table, self.train.is_clean.cpu().numpy())

    def _make_networks(self, train: ImageSet) -> list[torch.nn.Module]:
        """Return the networks of the method on the device, in training mode; for features, heads."""
        config, classes = self.config, len(train.class_names)
        vectors = train.images.vectors if isinstance(train.images, FeatureVectors) else None
        networks = []
        for number in range(self.method.networks):
            network = (
                make_network(config.network, classes, config.seed, number)
                if vectors is None
                else make_head(vectors, classes, config.seed, number)
            )
            network = synchronize_batch_norms(network.to(self.device), self.processes.size)
            self.method.prepare(network)
            freeze_before(network, config.network.train_from)
            train_mode(network)
            networks.append(network)
        return networks

    def _check_size(self, train: ImageSet) -> None:
        images, size = len(train), self.config.batch_size
        if images < size:
            raise DataError(
                f"{train.name}: {images} images do not fill one batch of {size}; "
                + (f"set batch_size to at most {images}" if images else "set validation to a smaller share")
            )
        if self.method.phases > 1 and images < 2 * size:
            raise DataError(
                f"{train.name}: {self.config.method} needs at least two batches, got {images} images for batches of "
                f"{size}; set batch_size to at most {images // 2}"
            )

    def _check_processes(self) -> None:
        size, part = self.processes.size, self.config.batch_size // self.config.accumulate
        if part % size:
            raise UsageError(
                f"batch_size: parts of {part} images cannot be divided evenly among {size} processes; "
                "change batch_size or accumulate"
            )
        if size > 1 and not self.method.shares_batches:
            raise UsageError(
                f"method: {self.config.method} trains in a single process; start it without torchrun"
            )

    def _environment(self) -> dict[str, Any]:
        """Return the fields of the result about time, hardware and software."""
        return {
            "seconds": round(self.clock.seconds, 2),
            "parameters": sum(parameter.numel() for parameter in self.networks[0].parameters()),
            "weight_decay": self.method.weight_decay(self.config.optimizer.weight_decay),
            "precision": "bf16" if self.bf16 else "fp32",
            **describe_environment(self.device),
            **self.about,
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on, by name."""
        groups: dict[str, Mapping[str, Tensor]] = {
            "momentum": self.optimizer.state,
            "method": self.method.state | {name: p.data for name, p in self.method.parameters.items()},
            "epoch": {"losses": self.losses, **self.tally.state},
            "trust": self.trust.state,
        }
        for number, network in enumerate(self.networks):
            groups[f"network{number}"] = network.state_dict()
        for number, average in enumerate(self.averages):
            # Under all names of a parameter that several modules share, as in the state of the network.
            named = average.network.named_parameters(remove_duplicate=False)
            groups[f"average{number}"] = dict(named)
        return {f"{group}.{name}": tensor for group, part in groups.items() for name, tensor in part.items()}

    def _save(self, directory: Path) -> None:
        """Write a checkpoint, and set the time of the next."""
        self.clock.count()
        state = {name: getattr(self, name) for name in PROGRESS_FIELDS} | {"seconds": self.clock.seconds}
        checkpoint.save(directory, self._tensors(), state, self.step, self.config.keep_checkpoints)
        self.clock.checkpoint_written()

    def _load(self, directory: Path) -> None:
        tensors, state = checkpoint.load(directory, self.device)
        checkpoint.restore(self._tensors(), tensors, directory)
        self.clock.seconds = state["seconds"]
        for name in PROGRESS_FIELDS:
            setattr(self, name, state[name])


def hold_out(train: ImageSet, config: TrainConfig) -> tuple[ImageSet | None, ImageSet]:
    """Split a training set into held-out images, the share `config.validation`, and the rest."""
    count = held_out_images(config, len(train))
    if count == 0:
        return None, train
    order = torch.randperm(len(train), generator=generator(config.seed, 0, "validation"))
    return train.take(order[:count].sort().values), train.take(order[count:].sort().values)
