"""The section `aggregate` of a build's configuration: how votes become verdicts."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.config import operational, output, require_share
from pipeline.values import MISSING


@dataclass(frozen=True)
class AggregateConfig:
    """How votes become verdicts (docs/explanation/aggregation.md)."""

    RENAMED: ClassVar = {
        "duplicates": "repeated_votes",
        "answers": "answer_words",
        "choices": "class_answers",
        "passes_above": "distribute_above",
    }

    method: Literal[
        "majority",
        "weighted-majority",
        "dawid-skene",
        "one-coin",
        "glad",
        "mace",
        "wawa",
        "zero-based-skill",
    ] = output("majority")
    """Aggregation method. majority is the paper's rule and has no size limit; the others model the workers and hold all
    votes in the memory of one worker process (see distribute_above)."""
    min_votes: int = output(3)
    """Votes below which a question stays undecided, 1 to 1,000,000."""
    max_votes: int = operational(5)
    """Votes after which `--next-questions` no longer asks about an undecided question, min_votes or more; ignored with
    ties: ask."""
    min_confidence: float = output(0.5)
    """Posterior probability that a verdict must exceed, 0 to 1; ignored by method: majority."""
    ties: Literal["drop", "ask", "posterior", "seeded"] = output("drop")
    """What happens to an undecided question with min_votes or more votes. drop: the image is not used; ask: the same, and
    more votes are requested, beyond max_votes if needed; posterior: take the more probable answer (method: majority uses
    the posterior of Dawid-Skene); seeded: draw yes or no by a keyed hash of the question."""
    repeated_votes: Literal["first", "last", "reject"] = output("first")
    """Which vote counts if a worker answers a question more than once, in order of time, file and line. reject: none."""
    answer_words: dict[str, str] | None = output(None)
    """Other words for yes, no and unsure in vote files, such as {maybe: unsure, right: yes}; none by default."""
    class_answers: bool = output(False)
    """Accept votes with an empty class_name whose answer is a class: yes to that class, and no to the other classes asked
    about the image."""
    unsure_offered: bool | None = output(None)
    """Whether workers could answer unsure, which Gwet's AC1 depends on; null: true if any worker did."""
    gold: str | None = output(None)
    """File of questions with known answers (image_id, class_name, answer); none by default. Majority uses them only to
    calibrate `p_wrong`, which needs a random sample of the questions."""
    max_iterations: int = output(100)
    """Maximum number of iterations of an iterative method, 1 to 1,000,000."""
    smoothing: float = output(0.0)
    """Pseudo-count added to each count of the Dawid-Skene and one-coin estimates, 0 to 1,000,000; 0 is maximum
    likelihood."""
    distribute_above: int = output(2_500_000)
    """Number of questions above which Dawid-Skene runs as one Beam job per iteration, bucket by bucket. Up to this number
    one worker process holds all votes, about 3 GB for ten million votes."""
    max_rejected_share: float = operational(0.1)
    """Share of rejected votes above which the stage fails, 0 to 1."""

    def __post_init__(self) -> None:
        if self.distribute_above < 0:
            raise ValueError(f"distribute_above must be 0 or more, got {self.distribute_above}")
        for name in ("min_votes", "max_iterations"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} must be 1 to 1,000,000, got {getattr(self, name)}")
        if self.max_votes < self.min_votes:
            raise ValueError(
                f"max_votes {self.max_votes} is below min_votes {self.min_votes}; raise max_votes or lower min_votes"
            )
        if not 0 <= self.smoothing <= 1_000_000:
            raise ValueError(f"smoothing must be 0 to 1,000,000, got {self.smoothing:g}")
        for word, answer in (self.answer_words or {}).items():
            if word.strip() in MISSING:
                raise ValueError(
                    f"answer_words: {word!r} marks a missing value in vote files, so it cannot be an answer"
                )
            if answer not in ("yes", "no", "unsure"):
                raise ValueError(f"answer_words: {word!r} is mapped to {answer!r}; use yes, no or unsure")
        require_share("min_confidence", self.min_confidence)
        require_share("max_rejected_share", self.max_rejected_share)

    @property
    def needs_all_votes(self) -> bool:
        """Whether one worker process must see all votes at once, unless the method is distributed."""
        return self.method != "majority" or self.ties == "posterior"

    def is_distributed(self, questions: int) -> bool:
        """Whether the votes on this many questions are aggregated by one Beam job per iteration."""
        uses_dawid_skene = self.method == "dawid-skene" or (
            self.method == "majority" and self.ties == "posterior"
        )
        return uses_dawid_skene and questions > self.distribute_above
