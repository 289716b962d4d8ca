"""The verb `leaks A B`: its flags, and what it prints."""

import argparse
import time
from collections.abc import Callable
from typing import Any

from common.command_line import add_overrides, add_verb
from common.errors import UsageError
from common.plural import counted


def add_leaks(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "leaks",
        "find near-duplicates of test images B among training images A",
        "python -m pipeline leaks photos/train photos/test --output leaks.csv --cache prints.parquet",
        "A and B are folders of images, Parquet files with encoded images, folders of such files (a set of a dataset), or\n"
        "folders written by Dataset.save_to_disk of Hugging Face datasets.",
    )
    sub.add_argument("train", metavar="A", help="training images, among which copies are searched")
    sub.add_argument("test", metavar="B", help="test images")
    sub.add_argument("--output", metavar="FILE", help="new .csv, .jsonl or .parquet file for the pairs")
    sub.add_argument(
        "--rejected", metavar="FILE", help="new file for the images that were rejected, with codes"
    )
    sub.add_argument(
        "--cache",
        metavar="FILE",
        help="Parquet file that keeps the fingerprints of images by their bytes, so that a later run decodes new images only",
    )
    sub.add_argument(
        "--weights",
        metavar="FILE",
        help="safetensors file of --network: also find crops, borders and text over images",
    )
    sub.add_argument(
        "--network", metavar="NAME", help="name of a network in timm, such as tf_efficientnet_lite0"
    )
    sub.add_argument("--network-size", type=int, metavar="N", help="side of the network's input in pixels")
    add_overrides(sub, "the section dedupe (docs/reference/config.md)", "radius=6")


def run_leaks(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Search, report the pairs, and return the counts."""
    from common.config import build, parse_overrides
    from pipeline.config import DedupeConfig
    from pipeline.leaks.search import search_leaks
    from pipeline.retrieve.search import check_different, check_new

    paths = {"--output": arguments.output, "--rejected": arguments.rejected}
    check_different({**paths, "--cache": arguments.cache})
    for flag, path in paths.items():
        if path:
            check_new(flag, path)
    rules = build(DedupeConfig, parse_overrides(arguments.set), "dedupe")
    start = time.monotonic()
    found = search_leaks(arguments.train, arguments.test, rules, arguments.cache, _spec(arguments))
    pairs = found.pairs.to_pylist()
    rejected = [
        {"collection": name, "image_id": image_id, "code": code, "detail": detail}
        for name, each in (("A", found.train), ("B", found.test))
        for image_id, code, detail in each.rejections
    ]
    _write(arguments, found.pairs, rejected)
    counts = {
        "train_images": len(found.train.ids),
        "test_images": len(found.test.ids),
        "decoded": found.train.decoded + found.test.decoded,
        "rejected": {"A": found.train.rejected, "B": found.test.rejected},
        "pairs": len(pairs),
        "leaked_train_images": len({pair["train_id"] for pair in pairs}),
        "leaked_test_images": len({pair["test_id"] for pair in pairs}),
        "search": found.search,
    }
    _report(counts, arguments, say, time.monotonic() - start)
    return counts


def _write(arguments: argparse.Namespace, pairs: Any, rejected: list[dict[str, Any]]) -> None:
    """Write the files that were asked for: both or none."""
    from pyarrow import parquet

    from pipeline import files
    from pipeline.retrieve.search import write_rows

    asked = [path for path in (arguments.output, arguments.rejected) if path]
    with files.replace_together(asked) as opened:
        for path, file in zip(asked, opened, strict=True):
            if path == arguments.rejected:
                write_rows(file, rejected, path, ("collection", "image_id", "code", "detail"))
            elif path.endswith(".parquet"):
                parquet.write_table(pairs, file)
            else:
                write_rows(file, pairs.to_pylist(), path, pairs.column_names)


def _spec(arguments: argparse.Namespace) -> Any:
    from pipeline import files
    from pipeline.embed.loading import check_libraries
    from pipeline.embed.spec import NetworkSpec, check_weights

    if not arguments.weights and not arguments.network:
        return None
    if not arguments.weights or not arguments.network:
        raise UsageError("--weights and --network belong together; give both, or neither")
    check_weights(arguments.network, arguments.weights)
    check_libraries()
    digest = files.sha256(arguments.weights)
    return NetworkSpec(
        arguments.network,
        arguments.weights,
        digest,
        arguments.network_size,
        "exact",
        None,
        None,
        None,
        32,
        "float32",
    )


def _report(
    counts: dict[str, Any], arguments: argparse.Namespace, say: Callable[[str], None], seconds: float
) -> None:
    for name, path, images in (
        ("A", arguments.train, counts["train_images"]),
        ("B", arguments.test, counts["test_images"]),
    ):
        codes = ", ".join(f"{n:,} {code}" for code, n in sorted(counts["rejected"][name].items()))
        say(f"{name} {path}: {counted(images, 'image')}{f'; rejected: {codes}' if codes else ''}")
    say(
        f"{counted(counts['leaked_train_images'], 'image of A is', 'images of A are')} near-duplicates of "
        f"{counted(counts['leaked_test_images'], 'image')} of B ({counted(counts['pairs'], 'pair')}; "
        f"{counted(counts['decoded'], 'image')} decoded; {seconds:.1f} s)"
    )
    say(counts["search"])
    if arguments.output:
        say(f"pairs: {arguments.output}")
