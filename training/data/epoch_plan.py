"""The plan of an epoch, and its batches for one process."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config import TrainConfig
from training.data.augment import Augmenter
from training.data.order import epoch_order
from training.data.shards import ImageSet
from training.distributed import Processes
from training.methods.interface import Batch, Method
from training.randomness import generator


@dataclass(frozen=True)
class EpochPlan:
    """The examples of each step of an epoch: a function of the configuration, the method's state and the epoch number."""

    number: int
    rows: Tensor
    """int64 [parts, B]: examples of each part of each step, for all processes."""
    phases: list[tuple[int, float]]
    """Phase of each part, and the share of that phase that precedes it."""

    @classmethod
    def plan(cls, method: Method, config: TrainConfig, examples: int, number: int) -> "EpochPlan":
        """Plan epoch `number`. Each step has `config.accumulate` parts; an incomplete last step is left out."""
        size, parts = config.batch_size // config.accumulate, config.accumulate
        phases = method.plan(number, epoch_order(examples, config.seed, number), size)
        phases = [phase[: len(phase) // parts * parts] for phase in phases]
        phase_of_part = [
            (phase, done / len(rows)) for phase, rows in enumerate(phases) for done in range(len(rows))
        ]
        return cls(number, torch.cat(phases), phase_of_part)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self,
        method: Method,
        config: TrainConfig,
        data: ImageSet,
        augmenter: Augmenter,
        processes: Processes,
        first: int,
    ) -> Iterator[Batch]:
        """Yield this process's share of each part, starting with part `first`, augmented and on the set's device."""
        device, (count, width) = data.labels.device, self.rows.shape
        columns, seed = processes.part(width), config.seed
        view_draws = [
            augmenter.draw(count * width, seed, self.number, device, view) for view in range(method.views)
        ]
        source = generator(seed, self.number, config.method, device)
        draws = method.draw((count, width), source)
        if processes.size > 1:
            draws = {name: values[:, columns] for name, values in draws.items()}
        rows = self.rows[:, columns].to(device)
        batches = data.images.batches(self.rows[first:, columns])
        for position, images in zip(range(first, count), batches, strict=True):
            done, total = self.number * count + position, config.epochs * count
            drawn_rows = slice(position * width + columns.start, position * width + columns.stop)
            views = [augmenter.train(images, one_view, drawn_rows) for one_view in view_draws]
            index = rows[position]
            yield Batch(
                images=views[0],
                labels=data.labels[index],
                percent=100 * done // total,
                progress=done / total,
                draws={name: values[position] for name, values in draws.items()},
                index=index,
                epoch=self.number,
                phase=self.phases[position][0],
                phase_done=self.phases[position][1],
                second_view=views[-1] if len(views) > 1 else None,
                gather=processes.gather,
            )
