"""The verbs that read what others have published."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from pipeline.published.pickles import CONVERT

IMPORT_CNWL = (
    "read the released Controlled Noisy Web Labels, tell what does not match, write lists and build.yaml"
)
FROM_CIFAR_N = "turn the human labels of CIFAR-10N or CIFAR-100N into votes"
SETS = ("mini-imagenet", "stanford_cars")


def add_import_cnwl(sub: argparse.ArgumentParser) -> None:
    """Flags of import-cnwl."""
    sub.add_argument("archive", metavar="ARCHIVE", help="dataset_no_images.zip, or the folder it unpacks to")
    sub.add_argument(
        "--images", required=True, nargs="+", metavar="DIR", help="folders with the images, in any layout"
    )
    sub.add_argument("--output", required=True, metavar="DIR", help="where the lists go, beside the images")
    sub.add_argument("--set-name", choices=SETS, default=SETS[0], help=f"which set [{SETS[0]}]")


def add_from_cifar_n(sub: argparse.ArgumentParser) -> None:
    """Flags of from-cifar-n."""
    sub.epilog = f"{CONVERT}\n{sub.epilog}"
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
    sub.add_argument("--classes", metavar="FILE", help="class names, one a line [those of CIFAR-10]")
    sub.add_argument("--image-id", default="{index}", metavar="TEXT", help="how images are called [{index}]")
    sub.add_argument(
        "--pairs", metavar="FILE", help="list of image_id and class_name to ask about [all chosen classes]"
    )


def run_import_cnwl(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Run import-cnwl and print what was found."""
    from pipeline.published.cnwl import import_cnwl

    imported = import_cnwl(arguments.archive, arguments.images, arguments.output, arguments.set_name)
    _tell(arguments, imported.to_json(), imported.text(), say)


def run_from_cifar_n(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Run from-cifar-n and print what was counted."""
    from pipeline import files
    from pipeline.published.cifar_n import import_cifar_n

    names = None
    if arguments.classes:
        names = [line.strip() for line in files.read_text(arguments.classes).splitlines() if line.strip()]
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
    _tell(arguments, told, lines, say)


def _tell(
    arguments: argparse.Namespace, told: dict[str, Any], lines: list[str], say: Callable[[str], None]
) -> None:
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))
    for line in lines:
        say(line)
