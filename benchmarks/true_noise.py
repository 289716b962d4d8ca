"""Coverage of the 95 % interval of the true noise: simulated crowds with known truth, and CIFAR-10N's real votes.

    python -m benchmarks.true_noise --runs 50            # simulated worlds: bias and coverage, with and without gold
    python -m benchmarks.true_noise --runs 50 --worlds skilled "shared mistakes" --gold 0 200 --method dawid-skene
    python -m benchmarks.true_noise --ask 10             # votes that --next-questions --for-noise saves
    python -m benchmarks.true_noise --dataset OUTPUT/dataset --truth TRUTH.csv --source SOURCE    # sets of a build

A world is a crowd that votes on web images, from which the images with the verdict no become the wrong images
of a set with two clean images for each. SOURCE holds the web list (image_id, path), TRUTH has path and class_name.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.error_estimates import (
    fit_error_model,
    p_wrong_of_votes,
    sample_images,
    tabulate_draws,
)
from pipeline.aggregate.error_model import ErrorModel
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import METHODS
from pipeline.aggregate.noise_questions import noise_questions
from pipeline.aggregate.verdicts import majority_verdicts, set_p_wrong, verdicts_by_method
from pipeline.aggregate.vote_columns import QUESTION_COLUMNS, VoteColumns
from pipeline.noise.examples import ExamplePool, as_examples
from pipeline.noise.true_level import TrueLevels, describe
from pipeline.shards import directory
from schemas.example import EXAMPLE

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")


@dataclass(frozen=True)
class World:
    """A crowd and its questions.

    images: number of web images; asked: classes asked about each, at most; precision: share of images that show one of
    these. votes: per question. skills: share of right answers of the workers, drawn from these. difficulty: intraclass
    correlation of the errors on a question. spammers: share of workers who answer at random. unsure: share of unsure votes.
    shared: share of the questions whose image does not show the class, but looks to everybody as if it did. hidden: the
    reverse, a share of the questions whose image shows the class. confused:
    whether the last class is taken for the first by half of the workers. class_answers: whether the workers of an image each
    chose a class (then difficulty is the chance of a wrong answer to be the same for all). listed_twice: share of the
    images that are asked about under two classes.
    """

    images: int = 3000
    asked: int = 1
    precision: float = 0.6
    votes: int = 3
    skills: tuple[float, ...] = (0.85,)
    difficulty: float = 0.1
    spammers: float = 0.0
    unsure: float = 0.0
    shared: float = 0.0
    hidden: float = 0.0
    confused: bool = False
    class_answers: bool = False
    listed_twice: float = 0.0


WORLDS = {
    "skilled": World(skills=(0.9,), difficulty=0.05),
    "average": World(),
    "five votes": World(votes=5, skills=(0.75, 0.85, 0.95)),
    "four votes, ties": World(votes=4, skills=(0.75, 0.9)),
    "mixed skills": World(skills=(0.65, 0.8, 0.95)),
    "spammers": World(spammers=0.15, votes=5),
    "unsure votes": World(unsure=0.15, votes=5),
    "hard questions": World(difficulty=0.25, skills=(0.8, 0.9)),
    "several classes": World(asked=3, precision=0.8),
    "low precision": World(precision=0.3),
    "few images": World(images=400),
    "confused classes": World(asked=2, confused=True),
    "shared mistakes": World(shared=0.1),
    "hidden classes": World(hidden=0.1),
    "class answers": World(class_answers=True, difficulty=0.4),
    "class answers, 5 images twice": World(class_answers=True, difficulty=0.4, listed_twice=5 / 3000),
    "class answers, 10 % twice": World(class_answers=True, difficulty=0.4, listed_twice=0.1),
    "5 images twice": World(listed_twice=5 / 3000),
}


@dataclass(frozen=True)
class Outcome:
    """Expected, low, high and true share of wrong labels of the set of one simulated world."""

    value: float
    low: float
    high: float
    true: float

    @property
    def is_covered(self) -> bool:
        """Whether the interval holds the true share."""
        return self.low - 1e-9 <= self.true <= self.high + 1e-9


def vote(world: World, seed: int) -> tuple[VoteColumns, np.ndarray]:
    """Return the votes of a world, and whether the image of each question shows the class, bool (n,)."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, world.asked + 1, world.images)
    sizes[: round(world.images * world.listed_twice)] = 2
    image = np.repeat(np.arange(world.images), sizes)
    label = np.concatenate([random.permutation(len(CLASSES))[:size] for size in sizes])
    order = np.lexsort((label, image))
    image, label = image[order], label[order]
    number = len(image)
    position = np.arange(number) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = random.integers(0, sizes)  # the question whose class an image shows
    shows = (position == chosen[image]) & (random.random(world.images) < world.precision)[image]
    looks = shows | (~shows & (random.random(number) < world.shared))
    if world.hidden:
        looks &= ~(shows & (random.random(number) < world.hidden))
    if world.confused:
        looks |= (label == len(CLASSES) - 1) & (random.random(number) < 0.2)
    workers = random.choice(world.skills, 60)
    total = 1 / world.difficulty - 1
    voters = np.argsort(random.random((number, 60)), axis=1)[:, : world.votes]
    mean = workers[voters]
    # One quantile of the beta distribution per question, so that a hard question is hard for everybody.
    easy = random.beta(np.mean(world.skills) * total, (1 - np.mean(world.skills)) * total, number)[:, None]
    logit = (
        np.log(easy / (1 - easy))
        + np.log(mean / (1 - mean))
        - np.log(np.mean(world.skills) / (1 - np.mean(world.skills)))
    )
    right = random.random(mean.shape) < 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    says_yes = np.where(right, looks[:, None], ~looks[:, None])
    blind = voters < 60 * world.spammers
    says_yes = np.where(blind, random.random(mean.shape) < 0.5, says_yes)
    answers = np.where(says_yes, 0, 1)
    answers = np.where(random.random(mean.shape) < world.unsure, 2, answers)
    names = pa.array([f"image-{i:06d}" for i in range(world.images)])
    questions = pa.table(
        [names.take(pa.array(image)), pa.array(CLASSES).take(pa.array(label)), pa.nulls(number, pa.string())],
        names=QUESTION_COLUMNS,
    )
    sorted_voters = np.sort(voters, axis=1)
    columns = VoteColumns(
        questions,
        np.array([f"w{i:02d}" for i in range(60)], object),
        np.repeat(np.arange(number), world.votes).astype(np.int32),
        sorted_voters.ravel().astype(np.int32),
        np.take_along_axis(answers, np.argsort(voters, axis=1), axis=1).ravel().astype(np.int8),
    )
    return columns, shows


def choose(world: World, seed: int) -> tuple[VoteColumns, np.ndarray]:
    """Return the votes of a world of class answers, and whether the image of each question shows the class."""
    random = np.random.default_rng(seed)
    sizes = 1 + (random.random(world.images) < world.listed_twice)
    first, other = (random.integers(0, len(CLASSES), world.images) for _ in range(2))
    truth = np.where(random.random(world.images) < world.precision, first, other)
    looks = random.integers(0, len(CLASSES), world.images)  # the class that an image is most often taken for
    shape = (world.images, world.votes)
    wrong = np.where(
        random.random(shape) < world.difficulty, looks[:, None], random.integers(0, len(CLASSES), shape)
    )
    chosen = np.where(random.random(shape) < random.choice(world.skills, shape), truth[:, None], wrong)
    image = np.repeat(np.arange(world.images), sizes)
    second = np.append(False, image[1:] == image[:-1])
    label = (first[image] + second) % len(CLASSES)
    return _columns(image, label, chosen[image] == label[:, None]), truth[image] == label


def _columns(image: np.ndarray, label: np.ndarray, says_yes: np.ndarray) -> VoteColumns:
    number, votes = says_yes.shape
    questions = pa.table(
        [
            pa.array([f"image-{i:06d}" for i in image]),
            pa.array(CLASSES).take(pa.array(label)),
            pa.nulls(number, pa.string()),
        ],
        names=QUESTION_COLUMNS,
    )
    return VoteColumns(
        questions,
        np.array([f"w{i:02d}" for i in range(votes)], object),
        np.repeat(np.arange(number), votes).astype(np.int32),
        np.tile(np.arange(votes), number).astype(np.int32),
        np.where(says_yes, 0, 1).ravel().astype(np.int8),
    )


def run(world: World, seed: int, gold_questions: int = 0, method: str = "majority") -> Outcome:
    """Simulate a world, and estimate the noise of a set whose wrong images are all with the verdict no, by a method."""
    votes, shows = choose(world, seed) if world.class_answers else vote(world, seed)
    random = np.random.default_rng(seed + 1_000_000)
    gold = np.full(len(shows), -1)
    known = random.permutation(len(shows))[:gold_questions]
    gold[known] = np.where(shows[known], 0, 1)
    model = fit_error_model([sample_images(votes, gold, len(shows))], CLASSES, world.class_answers)
    verdicts = _verdicts(votes, gold, method, min(3, world.votes), model)
    is_no = np.array(verdicts["verdict"].to_pylist()) == "no"
    labels = np.array([CLASSES.index(name) for name in votes.questions["class_name"].to_pylist()])
    p_wrong = verdicts["p_wrong"].combine_chunks().filter(pa.array(is_no))
    wrong = as_examples(pa.table({"label": labels[is_no]}), is_clean=False, source="web", p_wrong=p_wrong)
    clean = as_examples(pa.table({"label": np.tile(labels[is_no], 2)}), is_clean=True, source="clean")
    table = pa.concat_tables([wrong, clean])
    sample = sample_images(votes, gold, len(shows), verdicts["p_wrong"])
    levels = TrueLevels(tabulate_draws(model, [sample], CLASSES), CLASSES)
    rows = np.arange(table.num_rows)
    levels.add(ExamplePool(table, rows.astype(np.uint64), {"set": rows}))
    found = levels.estimate("set")
    assert found is not None
    return Outcome(found["value"], found["low"], found["high"], float((~shows[is_no]).sum()) / table.num_rows)


def _verdicts(
    votes: VoteColumns, gold: np.ndarray, method: str, min_votes: int, model: ErrorModel | None
) -> pa.Table:
    """Return the verdicts of a method, with `p_wrong`; `gold` are the `gold_codes` of the questions."""
    if method == "majority":
        return set_p_wrong(majority_verdicts(votes, min_votes), p_wrong_of_votes(model, votes, gold, CLASSES))
    known = np.flatnonzero(gold >= 0)
    answers = pa.array(np.array(["yes", "no"])[gold[known]], pa.string())
    questions = votes.questions.select(["image_id", "class_name"]).take(pa.array(known))
    settings = MethodSettings(smoothing=0.1)
    return verdicts_by_method(
        votes, method, settings, min_votes, 0.5, questions.append_column("answer", answers)
    )[0]


def simulate(names: list[str], runs: int, golds: list[int], method: str) -> None:
    """Print nominal, true and estimated noise of each world, and how often the interval covers the truth."""
    print("| world | gold questions | true, mean | estimated, mean | mean width | covered |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in names:
        for gold in golds:
            outcomes = [run(WORLDS[name], seed, gold, method) for seed in range(runs)]
            true, value = (np.mean([getattr(o, key) for o in outcomes]) for key in ("true", "value"))
            width = np.mean([o.high - o.low for o in outcomes])
            covered = np.mean([o.is_covered for o in outcomes])
            print(f"| {name} | {gold} | {true:.1%} | {value:.1%} | {width:.1%} | {covered:.0%} |", flush=True)


def ask(
    world: World, seed: int, tolerance: float, level: float = 0.8
) -> tuple[float, dict[str, tuple[int, float]]]:
    """Return the error of the level after three votes, and (votes, error) after more votes, by the way of asking.

    The error is the true share of right images among those with the verdict no, times the level.
    """
    columns, shows = vote(replace(world, votes=9), seed)
    answers = columns.answers.reshape(len(shows), -1)
    gold = np.full(len(shows), -1)

    def verdicts(number: np.ndarray) -> tuple[VoteColumns, pa.Table]:
        used = (np.arange(answers.shape[1]) < number[:, None]).ravel()
        votes = replace(
            columns, items=columns.items[used], voters=columns.voters[used], answers=columns.answers[used]
        )
        return votes, majority_verdicts(votes, 3)

    def error(table: pa.Table) -> float:
        is_no = np.array(table["verdict"].to_pylist()) == "no"
        return level * float(shows[is_no].mean())

    def reveal(number: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame, float]:
        votes, table = verdicts(number)
        model = fit_error_model([sample_images(votes, gold, len(shows))], CLASSES)
        table = set_p_wrong(table, p_wrong_of_votes(model, votes, gold, CLASSES))
        frame = table.to_pandas()
        return frame[["image_id", "class_name"]].assign(path="", url=None), frame, error(table)

    number = np.full(len(shows), 3)
    *batch, before = reveal(number)
    results = {"every question once more": (len(shows), error(verdicts(number + 1)[1]))}
    is_no = (batch[1]["verdict"] == "no").to_numpy()
    results["every verdict no once more"] = (int(is_no.sum()), error(verdicts(number + is_no)[1]))
    for more in range(1, answers.shape[1] - 2):
        results["every question as often as needed"] = (more * len(shows), error(verdicts(number + more)[1]))
        if results["every question as often as needed"][1] <= tolerance:
            break
    cost = 0
    for _ in range(3):
        plan = noise_questions([(batch[0], batch[1])], tolerance, level, None)
        asked = plan.questions.select(["image_id", "class_name", "votes_wanted"]).to_pandas()
        wanted = batch[0].merge(asked, on=["image_id", "class_name"], how="left")["votes_wanted"]
        more = np.minimum(wanted.fillna(0).to_numpy(int), answers.shape[1] - number)
        if not more.any():
            break
        cost, number = cost + int(more.sum()), number + more
        *batch, after = reveal(number)
        results["--for-noise, up to three rounds"] = (cost, after)
    return before, results


def show_asking(runs: int, tolerance: float) -> None:
    """Print the votes and the remaining error of each way of asking, means over simulated worlds."""
    print(f"tolerance {tolerance:.0%} at the level 80 %")
    print("| world | way of asking | votes | error before | error after |")
    print("|---|---|---:|---:|---:|")
    for name in ("average", "mixed skills"):
        outcomes = [ask(WORLDS[name], seed, tolerance) for seed in range(runs)]
        before = np.mean([each for each, _ in outcomes])
        for way in outcomes[0][1]:
            votes, after = np.mean([results[way] for _, results in outcomes if way in results], axis=0)
            print(f"| {name} | {way} | {votes:,.0f} | {before:.1%} | {after:.1%} |", flush=True)


def compare(dataset: str, truth: str, source: str) -> Iterator[str]:
    """Yield nominal, estimated and true noise of each red set of a build, as the rows of a table."""
    known = pd.read_csv(truth).set_index("path")["class_name"]
    web = (
        pd.read_csv(Path(source) / "retrieval.csv").drop_duplicates("image_id").set_index("image_id")["path"]
    )
    yield "| set | nominal | estimated (95 % interval) | true |"
    yield "|---|---:|---:|---:|"
    for name, entry in directory.read_manifest(dataset).about["sets"].items():
        if "estimated_noise" not in entry:
            continue
        columns = ["image_id", "label", "is_clean"]
        rows = directory.read_table(f"{dataset}/{name}", EXAMPLE, columns).to_pandas()
        names = directory.read_manifest(f"{dataset}/{name}").about["class_names"]
        wrong = rows[~rows["is_clean"]]
        shown = known.reindex(web.reindex(wrong["image_id"])).to_numpy()
        true = (shown != np.array(names)[wrong["label"]]).sum() / len(rows)
        text = describe(None, entry["estimated_noise"]).removeprefix("estimated ")
        yield f"| {name} | {entry['noise_level']:.0%} | {text} | {100 * true:.1f} % |"


def main() -> None:
    """Run the simulation, or compare the sets of a build with the truth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="simulations of each world [50]")
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--gold", nargs="*", type=int, default=[0, 200], help="numbers of gold questions")
    parser.add_argument(
        "--method", default="majority", choices=list(METHODS), help="of the verdicts [majority]"
    )
    parser.add_argument("--dataset", help="folder of a dataset whose truth is known")
    parser.add_argument("--truth", help="CSV file with path and class_name")
    parser.add_argument("--source", help="folder with the web list retrieval.csv")
    parser.add_argument("--ask", type=int, metavar="RUNS", help="simulate more votes for the noise level")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of --ask [0.02]")
    arguments = parser.parse_args()
    if arguments.ask:
        show_asking(arguments.ask, arguments.tolerance)
    elif arguments.dataset:
        print("\n".join(compare(arguments.dataset, arguments.truth, arguments.source)))
    else:
        simulate(arguments.worlds, arguments.runs, arguments.gold, arguments.method)


if __name__ == "__main__":
    main()
