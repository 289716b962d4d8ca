"""DivideMix (Li et al., ICLR 2020, Algorithm 1, and its released code for CIFAR).

After a warm-up, each epoch first fits a Gaussian mixture to each network's losses on the whole set. Then each network
is trained on the division made by the other network: images with probably clean labels keep refined labels, the others
get the mean prediction of both networks as label, and all are mixed (MixMatch).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from training.method_config import DivideMixConfig
from training.methods.interface import Batch, ForwardPasses, Method, RunFacts, StepOutcome
from training.methods.mixture import clean_probability
from training.randomness import draw_beta


class DivideMix(Method):
    """DivideMix with two networks, two views and two phases per epoch. Evaluation adds the logits of both networks."""

    networks = evaluated = views = phases = 2
    shares_batches = False

    def __init__(self, config: DivideMixConfig, facts: RunFacts) -> None:
        super().__init__()
        self.config, self.classes, self.accumulate = config, facts.classes, facts.accumulate
        self.clean = torch.ones(2, facts.examples, dtype=torch.float64, device=facts.device)
        self.state = {"clean": self.clean}

    def begin_epoch(
        self, epoch: int, students: Sequence[ForwardPasses], losses_of: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Compute the probability that each label is clean, for each network."""
        if epoch >= self.config.warmup_epochs:
            for probability, student in zip(self.clean, students, strict=True):
                probability.copy_(clean_probability(losses_of(student)))

    def plan(self, epoch: int, order: Tensor, size: int, /) -> list[Tensor]:
        """Plan plain training in the warm-up, then for each network steps of B labeled and B unlabeled images.

        The labeled images are at least one whole step, the unlabeled ones at least one part of a step, so the set must have
        two batches. If too few probabilities exceed the threshold, the largest are added.
        """
        if epoch < self.config.warmup_epochs:
            return super().plan(epoch, order, size)
        phases = []
        for division, mixed in zip((self.clean[1], self.clean[0]), (order, order.flip(0)), strict=True):
            probable = division.to(order.device)[mixed]
            count = self._labeled_count(division, size)
            ranked = probable.argsort(descending=True, stable=True)
            labeled, unlabeled = (
                mixed[part.sort().values] for part in ranked.split([count, len(order) - count])
            )
            steps = count // size
            repeated = unlabeled.repeat(-(-steps * size // len(unlabeled)))
            pair = (labeled[: steps * size].view(steps, size), repeated[: steps * size].view(steps, size))
            phases.append(torch.cat(pair, dim=1))
        return phases

    def count_steps(self, epochs: range, examples: int, size: int, parts: int, /) -> int:
        """Count one phase for epochs of the warm-up, and both divisions for the others; before the first division all labels
        count as clean."""
        warm_up = range(epochs.start, min(epochs.stop, self.config.warmup_epochs))
        divided = sum(self._labeled_count(division, size) // size // parts for division in self.clean)
        others = len(epochs) - len(warm_up)
        return super().count_steps(warm_up, examples, size, parts) + others * divided

    def _labeled_count(self, division: Tensor, size: int) -> int:
        """Return how many images keep their label, of a division [N] into probabilities."""
        count = int((division > self.config.threshold).sum())
        return max(min(count, len(division) - size), size * self.accumulate)

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw one λ ~ Beta(α, α) per step, and a partner for both views of each image."""
        steps, size = shape
        partner = torch.rand(steps, 2 * size, generator=source, device=source.device).argsort(dim=1)
        return {"lam": draw_beta(self.config.alpha, (steps,), source), "partner": partner}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the loss of the warm-up, or of the network of the phase on its mixed batch."""
        if batch.epoch < self.config.warmup_epochs:
            return self._warm_up(students, batch)
        student, peer = students[batch.phase], students[1 - batch.phase]
        assert batch.second_view is not None
        assert batch.index is not None
        size = len(batch.labels) // 2
        views = (batch.images, batch.second_view)
        with torch.no_grad():
            own = [student.preview(view).softmax(dim=1) for view in views]
            others = [peer.infer(view[size:]).softmax(dim=1) for view in views]
            guess = (own[0][size:] + own[1][size:] + others[0] + others[1]) / 4
            w = self.clean[1 - batch.phase][batch.index[:size], None].float()
            given = one_hot(batch.labels[:size], self.classes).float()
            refined = w * given + (1 - w) * (own[0][:size] + own[1][:size]) / 2
            targets = torch.cat([self._sharpen(refined), self._sharpen(guess)]).repeat(2, 1)

            lam = torch.maximum(batch.draws["lam"], 1 - batch.draws["lam"])
            images, partner = torch.cat(views), batch.draws["partner"]
            mixed = torch.lerp(images[partner], images, lam)
            targets = torch.lerp(targets[partner], targets, lam)
        logits = student(mixed)
        return StepOutcome(self._loss(logits, targets, batch))

    def _warm_up(self, students: Sequence[ForwardPasses], batch: Batch) -> StepOutcome:
        """Return the cross-entropy of both networks, plus −H(p) with the confidence penalty."""
        loss, first = torch.zeros((), device=batch.labels.device), None
        for student in students:
            logits = student(batch.images)
            losses = cross_entropy(logits, batch.labels, reduction="none")
            loss = loss + losses.mean()
            if self.config.confidence_penalty:
                loss = loss + (logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()
            first = losses if first is None else first
        return StepOutcome(loss, losses=first)

    def _sharpen(self, p: Tensor) -> Tensor:
        """Return p^(1/T), normalized, [B, classes]."""
        # Relative to the largest: p^(1/T) of many classes underflows to 0 at low temperatures.
        power = (p / p.amax(dim=1, keepdim=True)) ** (1 / self.config.temperature)
        return power / power.sum(dim=1, keepdim=True)

    def _loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return L_x + λ_u·L_u + L_reg: cross-entropy, squared error of probabilities, and Σ π·log(π/p̄) with uniform
        π.

        Rows are the first view of B labeled and B unlabeled images, then the second view of both.
        """
        log_p = logits.log_softmax(dim=1)
        parts = (2, 2, -1, self.classes)  # view, labeled or not, image, class
        supervised = -(targets * log_p).view(parts)[:, 0].sum(dim=-1).mean()
        unsupervised = ((log_p.exp() - targets).view(parts)[:, 1] ** 2).mean()
        prior = 1 / self.classes
        regular = (prior * (prior / log_p.exp().mean(dim=0)).log()).sum()
        since = batch.epoch + batch.phase_done - self.config.warmup_epochs
        ramp = min(since / self.config.ramp_epochs, 1.0)
        return supervised + self.config.unlabeled_weight * ramp * unsupervised + regular
