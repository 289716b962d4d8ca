"""DivideMix (Li et al., ICLR 2020, Algorithm 1, and its released code for CIFAR).

After a warm-up each epoch first fits, for each network, a mixture to its losses on the whole set. Then each
network in turn is trained on the division that the *other* one made: the probably clean keep their labels,
refined; the others get the guess of both networks; and all are mixed (MixMatch).
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
    """Two networks, two views, and two phases an epoch. The logits of both are added up for evaluation."""

    networks = evaluated = views = phases = 2
    shares_batches = False

    def __init__(self, config: DivideMixConfig, facts: RunFacts) -> None:
        super().__init__()
        self.config, self.classes = config, facts.classes
        self.clean = torch.ones(2, facts.examples, dtype=torch.float64, device=facts.device)
        self.state = {"clean": self.clean}

    def begin_epoch(
        self, epoch: int, students: Sequence[ForwardPasses], survey: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Divide: the probability of each label to be clean, as each network sees it."""
        if epoch >= self.config.warmup_epochs:
            for mine, student in zip(self.clean, students, strict=True):
                mine.copy_(clean_probability(survey(student)))

    def plan(self, epoch: int, order: Tensor, size: int, /) -> list[Tensor]:
        """In the warm-up as plain training; then for each network steps of B labeled and B unlabeled images.

        There is at least one batch of each: where fewer are above the threshold, the most probable join them.
        """
        if epoch < self.config.warmup_epochs:
            return super().plan(epoch, order, size)
        phases = []
        for division, mixed in zip((self.clean[1], self.clean[0]), (order, order.flip(0)), strict=True):
            probable = division.to(order.device)[mixed]
            count = int((probable > self.config.threshold).sum())
            count = max(min(count, len(order) - size), size)
            ranked = probable.argsort(descending=True, stable=True)
            kept = torch.zeros(len(order), dtype=torch.bool).index_fill_(0, ranked[:count].cpu(), True)
            labeled, unlabeled = mixed[kept.to(order.device)], mixed[~kept.to(order.device)]
            steps = count // size
            again = unlabeled.repeat(-(-steps * size // len(unlabeled)))
            pair = (labeled[: steps * size].view(steps, size), again[: steps * size].view(steps, size))
            phases.append(torch.cat(pair, dim=1))
        return phases

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """One λ ~ Beta(α, α) a step, and a partner for each of the two views of each image."""
        steps, size = shape
        partner = torch.rand(steps, 2 * size, generator=source, device=source.device).argsort(dim=1)
        return {"lam": draw_beta(self.config.alpha, (steps,), source), "partner": partner}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """One step of the warm-up, or of the phase's network on its mixed batch."""
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
        """Cross-entropy of both networks, with −H(p) for asymmetric noise."""
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
        """p^(1/T), normalized again, [B, classes]."""
        power = p ** (1 / self.config.temperature)
        return power / power.sum(dim=1, keepdim=True)

    def _loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """L_x + λ_u·L_u + L_reg: cross-entropy, squared error of probabilities, and Σ π·log(π/p̄), π uniform.

        Rows: the first view of the B labeled images and of the B others, then the second view of both.
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
