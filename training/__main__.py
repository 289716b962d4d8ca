"""The command line of training: `python -m training VERB` (docs/reference/cli.md)."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from common.command_line import Parser, add_overrides, add_verb, escape_unencodable, make_parser, run_verb
from common.errors import DataError
from common.temporary_folder import use_process_folder
from training.config import METHODS
from training.errors import NO_MEMORY
from training.flags import add_data, add_resident, positive
from training.study.flags import add_study_verbs

MODULES = {
    "train": "training.train_verb",
    "evaluate": "training.evaluate_verb",
    "distrusted": "training.distrusted",
    "export": "training.export.folder",
    "study": "training.study.study_verb",
    "plot": "training.study.plot",
    "report": "training.study.report",
    "power": "training.study.power_verb",
}
"""The module of each verb; its function `verb` takes the parsed arguments and returns the exit code."""

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
    add_study_verbs(verbs)
    return top


def _add_train(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "train",
        "train one network on one training set and evaluate it on the test set",
        "python -m training train --data dataset --set-name red-0.40 --method mentormix --recipe cifar10n_cpu --output runs/one",
    )
    add_data(sub)
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
    add_overrides(sub, "the recipe", "mentormix.alpha=8")
    add_resident(sub)
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
    add_data(sub)
    sub.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of the run")
    sub.add_argument(
        "--set-name", default="test", metavar="SET", help="name of the set (default: %(default)s)"
    )
    add_resident(sub)
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
        "--top",
        type=positive,
        default=20,
        metavar="N",
        help="at most N labels, of those with a trust below 0.5 (default: %(default)s)",
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


def _add_features(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="folder that caches features of frozen networks (default: features/ beside the run)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code (docs/reference/cli.md)."""
    if argv is None:  # not called from Python
        escape_unencodable()
        use_process_folder()
    arguments = parser().parse_args(argv)
    return run_verb(lambda: _run(arguments), EXTRAS)


def _run(arguments: argparse.Namespace) -> int:
    module = import_module(MODULES[arguments.verb])  # torch, which is slow, only where the verb needs it
    try:
        code: int = module.verb(arguments)
        return code
    except (RuntimeError, MemoryError) as error:
        remedies = _memory_remedies(arguments)
        if isinstance(error, MemoryError) or NO_MEMORY in str(error):
            reason = str(error).split(NO_MEMORY)[-1] or "no memory left"
            raise DataError(
                f"this machine is out of memory ({reason}); end other programs{remedies}, or use a machine with more memory"
            ) from error
        if type(error).__name__ != "OutOfMemoryError":  # compared by name, to avoid importing torch
            raise
        raise DataError(
            f"the GPU is out of memory ({error}); end other programs that use it{remedies}, or run on the CPU by setting "
            "CUDA_VISIBLE_DEVICES to an empty value"
        ) from error


def _memory_remedies(arguments: argparse.Namespace) -> str:
    """Return how the verb can do with less memory, each remedy after a comma."""
    remedies = []
    if "resident_gb" in arguments:
        remedies.append("stream the images with --resident-gb 0")
    if arguments.verb in ("train", "study"):
        remedies.append("use smaller images (augment.resize)")
    if arguments.verb == "train":
        remedies.append("compute each batch in parts with --set accumulate=2 (or more)")
    return "".join(f", {remedy}" for remedy in remedies)


if __name__ == "__main__":
    sys.exit(main())
