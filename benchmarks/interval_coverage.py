"""How often the 95 % intervals of agreement hold the value of the population, by simulation.

    python -m benchmarks.interval_coverage --runs 400

Workers are right with probabilities of their own; three of them, drawn at random, answer each question. The questions
are drawn anew in each run, the workers stay. An interval is right if it holds the value of infinitely many questions:
of Cohen's kappa by its formula, of the others from 200,000 questions.
"""

import argparse

import numpy as np

from pipeline.aggregate.agreement import MEASURES, mean_cohen_kappa, with_intervals
from pipeline.aggregate.wilson import wilson_interval
from tests.pipeline.aggregate.agreement_simulation import asked, patterns, population

SKILLED, CAREFUL = (0.6, 0.95), (0.95, 0.99)  # range of the probabilities to be right
DESIGNS = [  # workers, questions, shares of the answers, skills
    (10, 20, (0.5, 0.5), CAREFUL),
    (10, 60, (0.5, 0.5), CAREFUL),
    (10, 20, (0.5, 0.5), SKILLED),
    (10, 60, (0.5, 0.5), SKILLED),
    (40, 200, (0.5, 0.5), SKILLED),
    (40, 200, (0.9, 0.1), SKILLED),
    (40, 1000, (0.95, 0.05), SKILLED),
    (150, 600, (0.2, 0.3, 0.5), SKILLED),
    (400, 2000, (0.3, 0.7), SKILLED),
]


def measure(
    workers: int, items: int, prior: tuple[float, ...], skills: tuple[float, float], runs: int
) -> dict[str, float]:
    """Return the share of runs whose interval holds the value, by measure."""
    rng, shares = np.random.default_rng(0), np.array(prior)
    skill = rng.uniform(*skills, workers)
    counts, often = patterns(asked(rng, skill, shares, 200_000))
    truths = {name: float(of(counts, often[None].astype(float))[0]) for name, of in MEASURES.items()}
    truths["mean_cohen_kappa"] = population(skill, shares)
    held = dict.fromkeys(truths, 0)
    for _ in range(runs):
        votes = asked(rng, skill, shares, items)
        result = with_intervals(*patterns(votes)) | {"mean_cohen_kappa": mean_cohen_kappa(votes)}
        for name, interval in result.items():
            held[name] += interval.low <= truths[name] <= interval.high
    return {name: count / runs for name, count in held.items()}


def main() -> None:
    """Print the coverage of each measure and design, and of the precision of retrieval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    names = [*MEASURES, "mean_cohen_kappa"]
    print("| workers | questions | answers | skills | " + " | ".join(names) + " |")
    print("|---:|---:|---|---|" + "---:|" * len(names))
    for workers, items, prior, skills in DESIGNS:
        result = measure(workers, items, prior, skills, runs)
        numbers = " | ".join(f"{100 * result[name]:.1f}" for name in names)
        answers, right = ", ".join(map(str, prior)), " to ".join(map(str, skills))
        print(f"| {workers} | {items} | {answers} | {right} | {numbers} |", flush=True)
    rng = np.random.default_rng(0)
    for share, n in ((0.5, 20), (0.9, 50), (0.98, 200)):
        _, low, high = wilson_interval(rng.binomial(n, share, 100_000), np.full(100_000, n))
        held = ((low <= share) & (share <= high)).mean()
        print(f"retrieval precision (Wilson), share {share} of {n}: {100 * held:.1f} %")


if __name__ == "__main__":
    main()
