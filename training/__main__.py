"""The command line of training: `python -m training VERB` (docs/reference/cli.md)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.command_line import Parser, add_verb, make_parser, run_verb
from common.errors import DataError
from common.temporary_folder import use_process_folder
from training.argument_types import finite, inner_share, positive, positive_seconds
from training.config import METHODS

EXTRAS = {
    "torch": "training",
    "simplejpeg": "training",
    "torchvision": "training",
    "safetensors": "training",
    "matplotlib": "report",
    "jinja2": "report",
}


def parser() -> Parser:
    """Return the parser with all verbs and flags."""
    top = make_parser(
        "training", "noise-training", "Train with label noise, and measure the robustness of methods."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_train(verbs)
    _add_evaluate(verbs)
    _add_distrusted(verbs)
    _add_export(verbs)
    _add_study(verbs)
    _add_plot(verbs)
    _add_report(verbs)
    _add_power(verbs)
    return top


def _add_train(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "train",
        "train one network on one training set and evaluate it on the test set",
        "python -m training train --data dataset --set-name red-0.40 --method mentormix --recipe cifar10n_cpu --output runs/one",
    )
    _add_data(sub)
    sub.add_argument(
        "--set-name", required=True, metavar="SET", help="name of the training set, such as red-0.40"
    )
    sub.add_argument(
        "--test", default="test", metavar="SET", help="name of the test set (default: %(default)s)"
    )
    sub.add_argument(
        "--method", choices=METHODS, help="training method (default: vanilla, that of all recipes)"
    )
    sub.add_argument("--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    sub.add_argument(
        "--recipe",
        default="auto",
        metavar="NAME",
        help="network, schedule and augmentation; see docs/explanation/methods.md. auto: the recipe that suits the "
        "machine and the images (default: %(default)s)",
    )
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, such as mentormix.alpha=8; repeat for several",
    )
    sub.add_argument(
        "--resident-gb",
        type=finite,
        default=8.0,
        metavar="GB",
        help="keep decoded images of at most this size in device memory, and stream larger sets; 0: always stream "
        "(default: %(default)s)",
    )
    _add_features(sub)
    sub.add_argument(
        "--logger",
        action="append",
        default=[],
        metavar="NAME",
        help="also send metrics to this logger: tensorboard, or one of an installed package (docs/reference/python.md)",
    )
    sub.add_argument("--tensorboard", action="store_true", help="same as --logger tensorboard")
    sub.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint of the run, if it has one"
    )


def _add_evaluate(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "evaluate",
        "evaluate a trained network on a set",
        "python -m training evaluate --data dataset --run runs/one --set-name test",
    )
    _add_data(sub)
    sub.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of the run")
    sub.add_argument(
        "--set-name", default="test", metavar="SET", help="name of the set (default: %(default)s)"
    )
    _add_features(sub)


def _add_distrusted(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "distrusted",
        "list the labels that a finished run trusts least, and the classes that it predicts",
        "python -m training distrusted runs/one --top 50",
        "All labels are in RUN/label_trust.parquet (docs/reference/tables.md).",
    )
    sub.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    sub.add_argument(
        "--top", type=positive, default=20, metavar="N", help="number of labels (default: %(default)s)"
    )


def _add_export(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "export",
        "export the network of a finished run as a folder for the Hugging Face hub, and as ONNX",
        "python -m training export runs/one --output model",
        "training.load_network reads the folder (docs/reference/python.md).",
    )
    sub.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    sub.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to; must be empty or new"
    )
    sub.add_argument(
        "--onnx",
        action="store_true",
        help="also write model.onnx, with class names and preprocessing in its metadata; needs the extra onnx",
    )
    sub.add_argument(
        "--license",
        default="",
        metavar="ID",
        help="license of the weights for the model card, as the hub writes it, such as apache-2.0 (default: none is stated)",
    )
    sub.add_argument(
        "--dataset-repository",
        default="",
        metavar="OWNER/NAME",
        help="repository of the dataset on the hub for the model card (default: none is stated)",
    )


def _add_study(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "study",
        "train a grid of colors × levels × methods × networks × settings × seeds",
        "python -m training study --data dataset --output study --levels 0.2 0.4 --colors red blue --seeds 0 1 2 --jobs 2",
        "Finished runs are skipped, stopped runs are resumed, failed runs are tried again. Several commands on one machine\n"
        "may share a folder; across machines, give each command its --shard.",
    )
    _add_data(sub)
    sub.add_argument("--output", type=Path, required=True, metavar="STUDY", help="folder of the study")
    sub.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file of a study (docs/reference/config.md); flags replace its values",
    )
    _add_grid(sub)
    _add_scheduling(sub)


def _add_grid(sub: argparse.ArgumentParser) -> None:
    """Add the flags that say which runs there are."""
    sub.add_argument(
        "--levels",
        type=finite,
        nargs="+",
        metavar="P",
        help="noise levels from 0 up to less than 1, such as 0.0 0.4",
    )
    sub.add_argument("--colors", nargs="+", metavar="NAME", help="colors of noise (default: red blue)")
    sub.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="training methods (default: vanilla mixup mentornet mentormix)",
    )
    sub.add_argument("--networks", nargs="+", metavar="NAME", help="networks (default: that of the recipe)")
    sub.add_argument("--seeds", type=int, nargs="+", metavar="N", help="seeds (default: 0 1 2)")
    sub.add_argument("--recipe", metavar="NAME", help="recipe of all runs (default: auto)")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe in all runs",
    )


def _add_scheduling(sub: argparse.ArgumentParser) -> None:
    """Add the flags that say which runs are trained when, and how many at a time."""
    sub.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="number of runs at a time, which share the cores, or the GPU (default: %(default)s)",
    )
    sub.add_argument(
        "--shard",
        metavar="I/N",
        help="train only part I of N of the runs, numbered from 1: one command per part, in one folder or in several "
        "that `plot` merges. For a Slurm job array: --array=1-N and --shard $SLURM_ARRAY_TASK_ID/N",
    )
    sub.add_argument(
        "--order",
        choices=("grid", "priority"),
        default="grid",
        help="grid: set by set; priority: the first seed of every cell in the order of --levels, then the second "
        "seeds, and so on (default: %(default)s)",
    )
    sub.add_argument(
        "--budget",
        type=positive_seconds,
        metavar="SECONDS",
        help="stop after this time, with checkpoints of the runs under way; exit code 75 if runs are left "
        "(default: no limit)",
    )
    sub.add_argument(
        "--plan",
        action="store_true",
        help="train nothing; print the number of runs in each state and the time left",
    )


def _add_plot(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "plot",
        "draw the figures and tables of a study, and a Markdown page with them",
        "python -m training plot study",
    )
    _add_finished_study(sub)


def _add_report(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "report",
        "write an HTML page of a study: figures, tables, and all runs",
        "python -m training report study",
    )
    _add_finished_study(sub)


def _add_power(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "power",
        "compute how many test images, seeds and votes a question needs",
        "python -m training power --accuracy 0.7 --test-images 1000 --difference 0.02 --seeds 3 --deviation 0.01",
        "Formulas, sources and limits: docs/explanation/power.md. Each part needs its own flags, and is left out without.",
    )
    sub.add_argument("--accuracy", type=inner_share, metavar="P", help="expected test accuracy, such as 0.7")
    sub.add_argument("--test-images", type=positive, metavar="N", help="number of test images")
    sub.add_argument(
        "--difference", type=inner_share, metavar="D", help="difference of accuracy to be found, such as 0.02"
    )
    sub.add_argument(
        "--disagreement",
        type=inner_share,
        metavar="D",
        help="share of test images that exactly one of the two networks gets right (default: that of independent errors)",
    )
    sub.add_argument(
        "--seeds", type=positive, metavar="N", help="number of seeds, with a run of each method per seed"
    )
    sub.add_argument(
        "--deviation",
        type=inner_share,
        metavar="S",
        help="standard deviation over seeds of the difference of two methods, such as 0.01",
    )
    sub.add_argument(
        "--study",
        type=Path,
        metavar="STUDY",
        help="folder of a study that gives accuracy, test images and deviation where these flags are missing",
    )
    sub.add_argument(
        "--power",
        type=inner_share,
        default=0.8,
        metavar="P",
        help="probability with which the difference should be found (default: %(default)s)",
    )
    sub.add_argument(
        "--agreement",
        type=inner_share,
        metavar="P",
        help="share of pairs of votes on one image that agree in a pilot, from 0.5 to less than 1",
    )
    sub.add_argument(
        "--noise-level",
        type=inner_share,
        default=0.4,
        metavar="P",
        help="noise level to measure (default: %(default)s)",
    )
    sub.add_argument(
        "--half-width",
        type=inner_share,
        default=0.02,
        metavar="X",
        help="half of the 95%% interval of the noise level (default: %(default)s)",
    )
    sub.add_argument(
        "--votes", type=positive, nargs="+", metavar="N", help="votes per image, odd (default: 1 3 5 7)"
    )


def _add_data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--data", required=True, metavar="DIR", help="folder or address (s3://, gs://, …) of the dataset"
    )
    sub.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="local folder to which sets at an address are copied; required for an address",
    )


def _add_features(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="folder that caches features of frozen networks (default: features/ beside the run)",
    )


def _add_finished_study(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "studies",
        type=Path,
        nargs="+",
        metavar="STUDY",
        help="folder of the study; several folders if its shards were trained into several",
    )
    sub.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: the first STUDY)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code (docs/reference/cli.md)."""
    if argv is None:  # not called from Python
        use_process_folder()
    arguments = parser().parse_args(argv)
    return run_verb(lambda: _run(arguments), EXTRAS)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.verb == "plot":
        from training.study import plot  # without torch

        return plot.verb(arguments)
    if arguments.verb == "report":
        from training.study import report

        return report.verb(arguments)
    if arguments.verb == "power":
        from training.study import power_verb  # without torch

        return power_verb.verb(arguments)
    if arguments.verb == "distrusted":
        from training import distrusted  # without torch

        return distrusted.verb(arguments)
    if arguments.verb == "export":
        from training.export import folder

        return folder.verb(arguments)
    from training.verbs import VERBS  # imports torch, which is slow

    try:
        return VERBS[arguments.verb](arguments)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # compared by name, to avoid importing torch
            raise
        raise DataError(
            f"the GPU is out of memory ({error}); compute each batch in parts with --set accumulate=2 (or more), or "
            "stream the images with --resident-gb 0"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
