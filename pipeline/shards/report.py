"""The report of a build: its funnel as text, and sheets of the pictures that were removed."""

from collections.abc import Sequence

import pyarrow as pa
from PIL import Image, ImageDraw
from pyarrow import csv

from pipeline import files
from pipeline.dedupe.cross_label import cross_labels, summary
from pipeline.ingest.normalise import open_stored
from pipeline.jobs import dedupe, ingest, label, metrics, split, web_report
from pipeline.jobs.stage import counts
from pipeline.keyed_hash import keyed_hash
from pipeline.shards import directory
from schemas.duplicate import DUPLICATE
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

CELL, COLUMNS, MARGIN = 64, 12, 14
SHEETS = {"leaks": ("leak",), "duplicates": ("near", "exact")}
PAIRS_SHOWN = 48


def write_report(build: str, output: str | None = None) -> list[str]:
    """Write report.md, cross-labels.csv, and sheets of pairs of leaks and duplicates; return the paths written.

    `build` is the folder that `build --output` wrote. The pairs shown are drawn by a keyed hash.
    """
    place = output or files.join(build, "report")
    table = directory.read_table(dedupe.folder(build), DUPLICATE)
    written = []
    for name, reasons in SHEETS.items():
        pairs = _drawn(table.filter(pa.compute.is_in(table["reason"], pa.array(reasons))))
        if pairs:
            path = _sheet(place, name)
            with files.replace(path) as file:
                contact_sheet(pairs, ingest.folders(build)["images"]).save(file, "PNG", optimize=True)
            written.append(path)
    labels = cross_labels(
        table,
        directory.read_table(ingest.folders(build)["retrievals"], RETRIEVAL),
        directory.read_table(label.folders(build)["verdicts"], VERDICT),
    )
    path = files.join(place, "cross-labels.csv")
    with files.replace(path) as file:
        csv.write_csv(labels, file)
    written.append(path)
    path = files.join(place, "report.md")
    files.write_text(path, _text(build, [name for name in SHEETS if _sheet(place, name) in written], labels))
    return [path, *written]


def _sheet(place: str, name: str) -> str:
    return files.join(place, f"{name}.png")


def _drawn(table: pa.Table) -> list[dict[str, object]]:
    """Some of the pairs, the most different ones last."""
    rows = table.to_pylist()
    hashes = keyed_hash([row["image_id"] for row in rows], 0, "contact sheet")
    some = [rows[i] for i in hashes.argsort(kind="stable")[:PAIRS_SHOWN]]
    return sorted(some, key=lambda row: (row["distance_256"], row["image_id"]))


def contact_sheet(pairs: Sequence[dict[str, object]], images: str) -> Image.Image:
    """Pairs one above the other: what was removed, and what stays for it, with their distance of 256 bits."""
    wanted = pa.array([str(row[key]) for row in pairs for key in ("image_id", "keeper_id")])
    found: dict[str, Image.Image] = {}
    for shard in directory.read_shards(images, ["image_id", "image"]):
        rows = shard.filter(pa.compute.is_in(shard["image_id"], wanted))
        for image_id, image in zip(rows["image_id"].to_pylist(), rows["image"].to_pylist(), strict=True):
            found[image_id] = open_stored(image["bytes"]).resize((CELL, CELL))
    height = -(-len(pairs) // COLUMNS) * (2 * CELL + MARGIN + 6)
    sheet = Image.new("RGB", (COLUMNS * (CELL + 4), height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(pairs):
        x, y = number % COLUMNS * (CELL + 4), number // COLUMNS * (2 * CELL + MARGIN + 6)
        draw.text((x, y), f"{row['keeper_source']} {row['distance_256']}", fill="black")
        sheet.paste(found[str(row["image_id"])], (x, y + MARGIN))
        sheet.paste(found[str(row["keeper_id"])], (x, y + MARGIN + CELL))
    return sheet


def _text(build: str, sheets: Sequence[str], labels: pa.Table) -> str:
    root = directory.read_manifest(split.folder(build))
    steps = {
        "ingest: rows in": counts(directory.read_manifest(ingest.folders(build)["retrievals"]))["rows_in"],
        "ingest: images": directory.read_manifest(ingest.folders(build)["images"]).rows,
    }
    for stage, folder in (
        ("ingest", ingest.folders(build)["rejections"]),
        ("label", label.folders(build)["rejections"]),
    ):
        for code, count in counts(directory.read_manifest(folder)).items():
            steps[f"{stage}: rejected, {code}"] = count
    for what, count in counts(directory.read_manifest(label.folders(build)["verdicts"])).items():
        steps[f"label: {what.replace('_', ' ')}"] = count
    for what, count in counts(directory.read_manifest(dedupe.folder(build))).items():
        steps[f"dedupe: {what.replace('_', ' ')}"] = count
    for what, count in root.about["funnel"].items():
        steps[f"split: {what.replace('_', ' ')}"] = count
    lines = [f"# {root.about['name']}", "", "| step | count |", "|---|---:|"]
    lines += [f"| {step} | {count:,} |" for step, count in steps.items()]
    lines += ["", "| set | examples |", "|---|---:|"]
    lines += [f"| {name} | {entry['rows']:,} |" for name, entry in root.about["splits"].items()]
    lines += web_report.lines(build, metrics.read(build, "ingest"))
    lines += ["", "## One picture, several classes", "All of them are in cross-labels.csv.", ""]
    lines += ["| what | count |", "|---|---:|"]
    lines += [f"| {what} | {count:,} |" for what, count in summary(labels).items()]
    for kind in sheets:
        lines += [
            "",
            f"## {kind.title()}",
            "Above what was removed, below what it looks like.",
            "",
            f"![{kind}]({kind}.png)",
        ]
    return "\n".join(lines) + "\n"
