"""Verbs that import published datasets."""

import argparse
from collections.abc import Callable
from typing import Any

from common.command_line import add_verb
from pipeline.published.pickles import CONVERT

DATASETS = ("mini-imagenet", "stanford_cars")


def add_import_cnwl(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "import-cnwl",
        "import the released Controlled Noisy Web Labels: write lists and build.yaml, and report problems",
        "python -m pipeline import-cnwl dataset_no_images.zip --images all_images validation "
        "--output lists --contact you@lab.example",
    )
    sub.add_argument("archive", metavar="ARCHIVE", help="dataset_no_images.zip or the unpacked folder")
    sub.add_argument(
        "--images",
        required=True,
        nargs="+",
        metavar="DIR",
        help="folders with the image files, in any layout",
    )
    sub.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the lists, next to the images"
    )
    sub.add_argument(
        "--contact",
        default="",
        metavar="ADDRESS",
        help="mail or web address for the user agent, needed to fetch web images without a file",
    )
    sub.add_argument(
        "--dataset",
        choices=DATASETS,
        default=DATASETS[0],
        help="dataset of the release (default: %(default)s)",
    )


def add_from_cifar_n(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "from-cifar-n",
        "convert the human labels of CIFAR-10N or CIFAR-100N to votes",
        "python -m pipeline from-cifar-n CIFAR-10_human.npz --output votes",
        CONVERT,
    )
    sub.add_argument(
        "labels",
        metavar="LABELS",
        help="CSV or .npz file of the human labels; for the released pickles see below",
    )
    sub.add_argument(
        "--output", required=True, metavar="DIR", help="folder for votes.parquet and pairs.parquet"
    )
    sub.add_argument("--side-info", metavar="FILE", help="side_info_cifar10N.csv with worker ids and times")
    sub.add_argument(
        "--image-order",
        metavar="FILE",
        help="image_order_c10.npy, which maps the order of TFDS to that of torchvision",
    )
    sub.add_argument(
        "--tfds-order", action="store_true", help="the labels are in the order of TFDS (…_ordered.npy)"
    )
    sub.add_argument(
        "--classes", metavar="FILE", help="file with class names, one per line (default: those of CIFAR-10)"
    )
    sub.add_argument(
        "--image-id", default="{index}", metavar="TEXT", help="template of image ids (default: %(default)s)"
    )
    sub.add_argument(
        "--pairs",
        metavar="FILE",
        help="list with the columns image_id and class_name to vote on (default: all chosen classes)",
    )


def run_import_cnwl(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run import-cnwl, print its results and return them."""
    from pipeline.published.cnwl import import_cnwl

    imported = import_cnwl(
        arguments.archive, arguments.images, arguments.output, arguments.dataset, arguments.contact
    )
    for line in imported.text():
        say(line)
    return imported.to_json()


def run_from_cifar_n(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run from-cifar-n, print its counts and return them."""
    from pipeline import files
    from pipeline.published.cifar_n import import_cifar_n

    names = None
    if arguments.classes:
        names = [line.strip() for line in files.read_lines(arguments.classes) if line.strip()]
    counts = import_cifar_n(
        arguments.labels,
        arguments.output,
        names,
        arguments.side_info,
        arguments.image_order,
        arguments.tfds_order,
        arguments.image_id,
        arguments.pairs,
    )
    lines = [", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())]
    if "batch_excess" in counts:
        lines.append(
            f"errors vary {counts['batch_excess']} times as much between batches as independent errors; a value near 1 "
            "indicates a wrong --image-order"
        )
    for line in lines:
        say(line)
    return counts
