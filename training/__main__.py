"""The command line of training: `python -m training VERB` (docs/cli.md)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.command_line import add_verb, carry_out
from schemas.errors import DataError
from training.config import METHODS

EXTRAS = {
    "torch": "training",
    "simplejpeg": "training",
    "torchvision": "training",
    "safetensors": "training",
    "matplotlib": "report",
    "jinja2": "report",
}


def parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs."""
    top = argparse.ArgumentParser(
        prog="python -m training",
        description="Train robustly on label noise, and measure how robustly.",
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, about: str, example: str) -> argparse.ArgumentParser:
        return add_verb(verbs, name, about, f"python -m training {example}")

    train = verb(
        "train",
        "Train one network on one split and measure it on the test set.",
        "train --data dataset --split red-0.40 --method mentormix --recipe cifar10n_cpu --output runs/one",
    )
    train.add_argument("--data", required=True, metavar="DIR", help="folder or address of the built sets")
    train.add_argument(
        "--cache", type=Path, metavar="DIR", help="where an address (s3://, gs://, …) is copied to"
    )
    train.add_argument("--split", required=True, metavar="NAME", help="training set in it, such as red-0.40")
    train.add_argument("--test", default="test", metavar="NAME", help="test set in it (default: test)")
    train.add_argument("--method", choices=METHODS, help="default: the recipe's, vanilla")
    train.add_argument("--output", type=Path, required=True, metavar="RUN", help="folder for this run")
    train.add_argument("--recipe", default="mini_imagenet_32", metavar="NAME", help="default: %(default)s")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the recipe, e.g. mentormix.alpha=8",
    )
    train.add_argument(
        "--resident-gb",
        type=float,
        default=8.0,
        metavar="GB",
        help="decoded pictures up to this size stay on the device, others are streamed (default: %(default)s)",
    )
    train.add_argument("--tensorboard", action="store_true", help="write for TensorBoard, too")
    train.add_argument(
        "--resume", action="store_true", help="go on from the run's checkpoint, if there is one"
    )

    evaluate = verb(
        "evaluate",
        "Measure a trained network on a set.",
        "evaluate --data dataset --run runs/one --split test",
    )
    evaluate.add_argument("--data", required=True, metavar="DIR", help="folder or address of the built sets")
    evaluate.add_argument(
        "--cache", type=Path, metavar="DIR", help="where an address (s3://, gs://, …) is copied to"
    )
    evaluate.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of the run")
    evaluate.add_argument("--split", default="test", metavar="NAME", help="set to measure on (default: test)")

    study = verb(
        "study",
        "Train a grid of colour × level × method × network × setting × seed. Finished runs are skipped, killed ones "
        "resumed, failed ones tried again. Start it as often as you like, on as many machines as see the folder.",
        "study --data dataset --output study --levels 0.2 0.4 --colours red blue --seeds 0 1 2 --jobs 2",
    )
    study.add_argument("--data", required=True, metavar="DIR", help="folder or address of the built sets")
    study.add_argument(
        "--cache", type=Path, metavar="DIR", help="where an address (s3://, gs://, …) is copied to"
    )
    study.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder of the study")
    study.add_argument(
        "--config", type=Path, metavar="YAML", help="file with these keys; the command line wins"
    )
    study.add_argument("--levels", type=float, nargs="+", metavar="P", help="noise levels, such as 0.0 0.4")
    study.add_argument("--colours", nargs="+", metavar="NAME", help="kinds of noise (default: red blue)")
    study.add_argument(
        "--methods", nargs="+", metavar="NAME", help="default: vanilla mixup mentornet mentormix"
    )
    study.add_argument("--networks", nargs="+", metavar="NAME", help="default: the recipe's")
    study.add_argument("--seeds", type=int, nargs="+", metavar="N", help="default: 0 1 2")
    study.add_argument("--recipe", metavar="NAME", help="for all runs (default: cifar10n_cpu)")
    study.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    study.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="runs at a time, which share the cores, or the GPU",
    )
    study.add_argument(
        "--plan", action="store_true", help="train nothing: tell what there is to do, and how long it takes"
    )

    plot = verb("plot", "Draw a study: its figures and tables, and a page that shows them.", "plot study")
    plot.add_argument("output", type=Path, metavar="OUT", help="folder of the study")

    report = verb(
        "report", "Show a study on one HTML page: figures, tables, and every run behind them.", "report study"
    )
    report.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    report.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write report.html (default: STUDY)"
    )

    advise = verb(
        "advise",
        "Say which method a study speaks for at an estimated share of wrong labels, and how surely.",
        "advise study --noise 0.3 --colour red",
    )
    advise.add_argument("output", type=Path, metavar="OUT", help="folder of the study")
    advise.add_argument(
        "--noise", type=float, required=True, metavar="P", help="estimated share of wrong labels, such as 0.3"
    )
    advise.add_argument("--colour", default="", metavar="NAME", help="kind of noise (default: each)")
    advise.add_argument("--setting", default="", metavar="NAME", help="where the study has several")
    advise.add_argument("--network", default="", metavar="NAME", help="where the study has several")
    return top


def positive(text: str) -> int:
    """Read a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 ok, 1 failed, 2 bad usage, 130 interrupted."""
    arguments = parser().parse_args(argv)
    return carry_out(lambda: _run(arguments), EXTRAS)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.verb == "plot":
        from training.study import plot  # draws with matplotlib, and does not wait for torch

        return plot.verb(arguments)
    if arguments.verb == "report":
        from training.study import report

        return report.verb(arguments)
    if arguments.verb == "advise":
        from training.study import advice  # reads a table

        return advice.verb(arguments)
    from training.verbs import VERBS  # imports torch; --help must not wait for it

    try:
        return VERBS[arguments.verb](arguments)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which must not be imported for this
            raise
        raise DataError(
            f"the GPU is out of memory ({error}); --set accumulate=2 (or more) computes a batch in parts, "
            "--resident-gb 0 streams the pictures"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
