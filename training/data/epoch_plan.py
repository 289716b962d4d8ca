"""One epoch as a process sees it: which examples in which order, how each is changed, and the batches themselves."""

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
    """The plan of one epoch: a pure function of the configuration, the method's state and the epoch's number."""

    number: int
    rows: Tensor
    """int64 [parts, B]: examples of each part of a step, in the whole world."""
    places: list[tuple[int, float]]
    """For each part its phase, and the share of that phase done before it."""

    @classmethod
    def plan(cls, method: Method, config: TrainConfig, examples: int, number: int) -> "EpochPlan":
        """Lay out the epoch. A step is made of `config.accumulate` parts; steps that would lack some are left out."""
        size, parts = config.batch_size // config.accumulate, config.accumulate
        phases = method.plan(number, epoch_order(examples, config.seed, number), size)
        phases = [phase[: len(phase) // parts * parts] for phase in phases]
        places = [(phase, done / len(rows)) for phase, rows in enumerate(phases) for done in range(len(rows))]
        return cls(number, torch.cat(phases), places)

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
        """Yield this process's share of each part from number `first` on, augmented, on the set's device."""
        device, (count, width) = data.labels.device, self.rows.shape
        mine, seed = processes.share(width), config.seed
        changes = [
            augmenter.draw(count * width, seed, self.number, device, view) for view in range(method.views)
        ]
        source = generator(seed, self.number, config.method, device)
        draws = method.draw((count, width), source)
        if processes.size > 1:
            draws = {name: one[:, mine] for name, one in draws.items()}
        rows = self.rows[:, mine].to(device)
        pictures = data.images.batches(self.rows[first:, mine])
        for position, images in zip(range(first, count), pictures, strict=True):
            done, total = self.number * count + position, config.epochs * count
            at = slice(position * width + mine.start, position * width + mine.stop)
            views = [augmenter.train(images, change, at) for change in changes]
            index = rows[position]
            yield Batch(
                images=views[0],
                labels=data.labels[index],
                percent=100 * done // total,
                progress=done / total,
                draws={name: one[position] for name, one in draws.items()},
                index=index,
                epoch=self.number,
                phase=self.places[position][0],
                phase_done=self.places[position][1],
                second_view=views[-1] if len(views) > 1 else None,
                gather=processes.gather,
            )
