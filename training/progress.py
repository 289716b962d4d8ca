"""Progress of a run: a bar on a terminal, else a line every 30 seconds; and an estimate of the time that it takes."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from tqdm import tqdm

from common.plural import counted

LINE_SECONDS = 30.0  # between two lines if stderr is not a terminal
WARM_UP_STEPS = 3  # not timed: memory is allocated and kernels are chosen in the first steps
FIRST_SECONDS = 2.0  # of timed steps before the first estimate
QUIET_SECONDS = 5.0  # a shorter run says nothing about its time
# time of an image that is only evaluated over that of one that is trained on, until it was measured
FORWARD_SHARE = 1 / 3


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"


class TimeEstimate:
    """Estimate of the seconds left, from the seconds per image of training and of evaluation so far."""

    def __init__(self) -> None:
        self._training, self._evaluation = [0.0, 0], [0.0, 0]  # seconds, images

    def add_training(self, seconds: float, images: int) -> None:
        """Count the seconds in which images were trained on."""
        self._training[0] += seconds
        self._training[1] += images

    def add_evaluation(self, seconds: float, images: int) -> None:
        """Count the seconds in which images were evaluated."""
        self._evaluation[0] += seconds
        self._evaluation[1] += images

    @property
    def images_per_second(self) -> float | None:
        """Images per second of training alone; None before the first are counted."""
        seconds, images = self._training
        return images / seconds if seconds > 0 and images else None

    def left(self, training_images: int, evaluation_images: int) -> float | None:
        """Return the seconds that so many more images take; None before the first training images are counted."""
        speed = self.images_per_second
        if speed is None:
            return None
        seconds, images = self._evaluation
        per_evaluated = seconds / images if images else FORWARD_SHARE / speed
        return training_images / speed + evaluation_images * per_evaluated


class RunProgress:
    """Shows the progress of one run. `predicted_seconds`: duration of the whole run, as estimated after its first steps.

    Times are those of `clock`. `synchronize` waits for the device before the first times are taken.
    """

    def __init__(
        self,
        *,
        title: str,
        shown: bool,
        steps: tuple[int, int],
        epochs: int,
        images_per_step: int,
        evaluation_images: Mapping[int, int],
        earlier_seconds: float = 0.0,
        synchronize: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`steps`: done, and expected in all (see `expect`). `evaluation_images`: number of images that are evaluated after each
        epoch that is left, by the number of the epoch."""
        self.title, self.shown, self.clock, self.synchronize = title, shown, clock, synchronize
        (self.step, self.steps), self.epochs, self.images_per_step = steps, epochs, images_per_step
        self.evaluation_images = dict(evaluation_images)
        self.epoch = epochs - len(self.evaluation_images)
        self.estimate, self.accuracy = TimeEstimate(), None
        self.predicted_seconds: float | None = None
        self._started = self._mark = clock()
        self._earlier_seconds, self._first_step = earlier_seconds, self.step
        self._timed_from = self.step + WARM_UP_STEPS
        self._next_line = self._started + LINE_SECONDS
        self._bar = tqdm(
            total=self.steps * images_per_step, initial=self.step * images_per_step, desc=title, unit="image",
            unit_scale=True, disable=not (shown and sys.stderr.isatty()), leave=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Return the progress itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the bar."""
        self._bar.close()

    def expect(self, steps: int) -> None:
        """Set the number of steps of the whole run, which may depend on what the method has learned so far."""
        self.steps = steps
        if self._bar.total != steps * self.images_per_step:
            self._bar.total = steps * self.images_per_step
            self._bar.refresh()

    def step_done(self) -> None:
        """Count a step of training."""
        self.step += 1
        self._bar.update(self.images_per_step)
        if self.step == self._timed_from and self.predicted_seconds is None:
            self.synchronize()
            self._mark = self.clock()
        elif self.step > self._timed_from:
            self._count_training(1)
            timed = self.step - self._timed_from
            if (
                self.predicted_seconds is None
                and self.clock() - self._started >= FIRST_SECONDS
                and timed >= WARM_UP_STEPS
            ):
                self.synchronize()
                self._count_training(0)
                self._predict()
        if self.clock() >= self._next_line:
            self._print_line()

    def epoch_trained(self) -> None:
        """Count the end of the training of an epoch, before its evaluation."""
        if self.step <= self._timed_from:  # an epoch of a few steps: those of the warm-up are all there are
            self._mark, self._timed_from = self._started, 0
            self._count_training(self.step - self._first_step)
        else:
            self._count_training(0)
        if self.predicted_seconds is None:
            self._predict()

    def epoch_evaluated(self, row: Mapping[str, Any]) -> None:
        """Count the end of an epoch; `row`: its metrics."""
        self.epoch += 1
        now, images = self.clock(), self.evaluation_images.pop(self.epoch, 0)
        if images:
            self.estimate.add_evaluation(now - self._mark, images)
        self._mark = now
        self.accuracy = row.get("test_accuracy", self.accuracy)
        self._bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "test_accuracy") if k in row})

    def finished(self, seconds: float) -> None:
        """Print how long the run took, and what was predicted."""
        if self.predicted_seconds is not None and max(seconds, self.predicted_seconds) >= QUIET_SECONDS:
            self._write(
                f"{self.title}: took {duration(seconds)}; predicted {duration(self.predicted_seconds)}"
            )

    def seconds_left(self) -> float | None:
        """Return the estimated seconds until the end of the run; None before the first steps."""
        training = max(0, self.steps - self.step) * self.images_per_step
        return self.estimate.left(training, sum(self.evaluation_images.values()))

    def _count_training(self, steps: int) -> None:
        now = self.clock()
        self.estimate.add_training(now - self._mark, steps * self.images_per_step)
        self._mark = now

    def _predict(self) -> None:
        left = self.seconds_left()
        if left is None:
            return
        self.predicted_seconds = self._earlier_seconds + self.clock() - self._started + left
        if self.predicted_seconds < QUIET_SECONDS:
            return
        evaluations = sum(1 for images in self.evaluation_images.values() if images)
        steps, evaluated = counted(self.steps - self.step, "step"), counted(evaluations, "evaluation")
        speed = f"{self.estimate.images_per_second:,.0f} images/s"
        self._write(f"{self.title}: about {duration(left)} for {steps} and {evaluated}, at {speed}")

    def _print_line(self) -> None:
        now = self.clock()
        self._next_line = now + LINE_SECONDS
        if not self._bar.disable:
            return
        speed, left = self.estimate.images_per_second, self.seconds_left()
        parts = [f"{self.epoch:,} of {self.epochs:,} epochs", f"{self.step:,} of {self.steps:,} steps"]
        parts += [f"{speed:,.0f} images/s"] if speed else []
        parts += [f"about {duration(left)} left"] if left is not None else []
        parts += [f"test accuracy {self.accuracy:.1%}"] if self.accuracy is not None else []
        self._write(f"{self.title}: {', '.join(parts)}")

    def _write(self, line: str) -> None:
        if self.shown:
            tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()


class ItemProgress:
    """Progress of computing features of images: a bar on a terminal, else a line every 30 seconds."""

    def __init__(
        self, title: str, total: int, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.total, self.shown, self.clock, self.done = title, total, shown, clock, 0
        self._started = clock()
        self._next_line = self._started + FIRST_SECONDS
        self._bar = tqdm(
            total=total, desc=title, unit="image", leave=False, disable=not (shown and sys.stderr.isatty())
        )

    def __enter__(self) -> Self:
        """Return the progress itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the bar."""
        self._bar.close()

    def update(self, count: int) -> None:
        """Count finished images."""
        self.done += count
        self._bar.update(count)
        now = self.clock()
        if self.shown and self._bar.disable and now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            speed = self.done / (now - self._started)
            left = duration((self.total - self.done) / speed)
            print(
                f"{self.title}: {self.done:,} of {self.total:,} images, {speed:,.0f}/s, about {left} left",
                file=sys.stderr,
                flush=True,
            )
