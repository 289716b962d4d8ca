"""The verbs that read what others have published."""

import argparse
from collections.abc import Callable
from typing import Any

from common.command_line import add_verb
from pipeline.published.pickles import CONVERT

SETS = ("mini-imagenet", "stanford_cars")


def add_import_cnwl(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "import-cnwl",
        "read the released Controlled Noisy Web Labels, tell what does not match, write lists and build.yaml",
        "python -m pipeline import-cnwl dataset_no_images.zip --images all_images validation "
        "--output lists --contact you@lab.example",
    )
    sub.add_argument("archive", metavar="ARCHIVE", help="dataset_no_images.zip, or the folder it unpacks to")
    sub.add_argument(
        "--images", required=True, nargs="+", metavar="DIR", help="folders with the images, in any layout"
    )
    sub.add_argument("--output", required=True, metavar="DIR", help="where the lists go, beside the images")
    sub.add_argument(
        "--contact",
        default="",
        metavar="ADDRESS",
        help="mail or web address for the user agent, where web images without a file are to be fetched",
    )
    sub.add_argument("--set-name", choices=SETS, default=SETS[0], help="which set (default: %(default)s)")


def add_from_cifar_n(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "from-cifar-n",
        "turn the human labels of CIFAR-10N or CIFAR-100N into votes",
        "python -m pipeline from-cifar-n CIFAR-10_human.npz --output votes",
        CONVERT,
    )
    sub.add_argument(
        "labels", metavar="LABELS", help="CSV or .npz of the human labels; not the pickles, see below"
    )
    sub.add_argument(
        "--output", required=True, metavar="DIR", help="where votes.parquet and pairs.parquet go"
    )
    sub.add_argument("--side-info", metavar="FILE", help="side_info_cifar10N.csv: workers and their times")
    sub.add_argument(
        "--image-order", metavar="FILE", help="image_order_c10.npy, from the order of TFDS to torchvision's"
    )
    sub.add_argument(
        "--tfds-order", action="store_true", help="the labels are in the order of TFDS (…_ordered.npy)"
    )
    sub.add_argument("--classes", metavar="FILE", help="class names, one a line (default: those of CIFAR-10)")
    sub.add_argument(
        "--image-id", default="{index}", metavar="TEXT", help="how images are called (default: %(default)s)"
    )
    sub.add_argument(
        "--pairs",
        metavar="FILE",
        help="list of image_id and class_name to ask about (default: all chosen classes)",
    )


def run_import_cnwl(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run import-cnwl, say what was found, and return it."""
    from pipeline.published.cnwl import import_cnwl

    imported = import_cnwl(
        arguments.archive, arguments.images, arguments.output, arguments.set_name, arguments.contact
    )
    for line in imported.text():
        say(line)
    return imported.to_json()


def run_from_cifar_n(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run from-cifar-n, say what was counted, and return it."""
    from pipeline import files
    from pipeline.published.cifar_n import import_cifar_n

    names = None
    if arguments.classes:
        names = [line.strip() for line in files.read_lines(arguments.classes) if line.strip()]
    told = import_cifar_n(
        arguments.labels,
        arguments.output,
        names,
        arguments.side_info,
        arguments.image_order,
        arguments.tfds_order,
        arguments.image_id,
        arguments.pairs,
    )
    lines = [", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in told.items())]
    if "batch_excess" in told:
        lines.append(
            f"errors vary {told['batch_excess']} times as much between batches as independent ones would; "
            "near 1, the workers do not belong to these labels: check --image-order"
        )
    for line in lines:
        say(line)
    return told
