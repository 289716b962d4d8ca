"""Contact sheets: some pictures of each class, chosen by a keyed hash, by what became of them."""

import base64
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.keyed_hash import keyed_hash
from pipeline.report.images import StoredImages, thumbnail
from pipeline.report.tables import BuildTables

SIDE = 112  # pixels; of smaller pictures their own
EACH, PAIRS_EACH = 10, 6  # pictures of a class and kind
BYTES = 2_400_000  # of all pictures together, encoded: a third more in the page

SINGLE = "SELECT class_name, image_id, source, url, method, rank, verdict, yes, no, unsure, confidence FROM pairs WHERE "
PAIR = (
    "SELECT class_name, image_id, source, url, reason, distance, distance_256, orientation, rule, keeper_id, keeper_source "
    "FROM duplicates JOIN (SELECT image_id, min(class_name) AS class_name, min(url) AS url FROM retrievals GROUP BY image_id) "
    "USING (image_id) WHERE "
)
KINDS = {
    "clean": ("Clean, kept", SINGLE + "source = 'clean' AND removed IS NULL"),
    "wrong": ("Wrong, kept", SINGLE + "source = 'web' AND verdict = 'no' AND removed IS NULL"),
    "undecided": ("Undecided", SINGLE + "source = 'web' AND verdict = 'undecided'"),
    "right": ("Found right", SINGLE + "source = 'web' AND verdict = 'yes' AND removed IS NULL"),
    "copy": ("Removed as copy, beside what stays", PAIR + "removed AND reason <> 'leak'"),
    "leak": ("Removed as leak, beside the test picture", PAIR + "removed AND reason = 'leak'"),
}
NAMES = {
    "url": "URL",
    "class_name": "class",
    "distance": "of 64 bits differ",
    "distance_256": "of 256 bits differ",
}


@dataclass(frozen=True)
class ImageFigure:
    """A picture as the page shows it; `beside` is the one that it was compared with."""

    name: str
    source: str
    caption: str
    facts: tuple[tuple[str, Any], ...]
    beside: str | None = None
    beside_name: str = ""


def sheets(tables: BuildTables, class_names: Sequence[str]) -> dict[str, dict[str, list[ImageFigure]]]:
    """StoredImages by class and kind. What is shown fits into BYTES: with very many classes each has fewer."""
    chosen: list[tuple[int, str, str, dict[str, Any]]] = []
    for kind, (_, query) in KINDS.items():
        names, rows = _rows(tables, query)
        order = keyed_hash([row[1] for row in rows], 0, f"contact sheet, {kind}").argsort(kind="stable")
        counts: dict[str, int] = defaultdict(int)
        limit = PAIRS_EACH if kind in ("copy", "leak") else EACH
        for index in order:
            row = dict(zip(names, rows[index], strict=True))
            turn = counts[row["class_name"]]
            if turn < limit:
                counts[row["class_name"]] += 1
                chosen.append((turn, row["class_name"], kind, row))
    chosen.sort(
        key=lambda one: (one[0], one[1], one[2], one[3]["image_id"])
    )  # the first of all, then the second
    found: dict[str, dict[str, list[ImageFigure]]] = {name: defaultdict(list) for name in class_names}
    for (_, name, kind, row), picture in zip(chosen, _encoded(tables, chosen), strict=False):
        if name in found:
            found[name][kind].append(_described(kind, row, *picture))
    return {name: {kind: kinds[kind] for kind in KINDS if kinds.get(kind)} for name, kinds in found.items()}


def _rows(tables: BuildTables, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = [column[0] for column in tables.rows(f"DESCRIBE {query}")]
    return names, tables.rows(f"{query} ORDER BY image_id, class_name")


def _encoded(
    tables: BuildTables, chosen: Sequence[tuple[int, str, str, dict[str, Any]]]
) -> list[tuple[str, str | None]]:
    """Data URIs of the pictures of a row, and of the one beside it, until the room for them is used up."""
    at = dict(tables.rows("SELECT image_id, position FROM images"))
    wanted = {row[key] for *_, row in chosen for key in ("image_id", "keeper_id") if row.get(key)}
    pictures, small = StoredImages(tables.build), dict[str | None, bytes]()
    for image_id in sorted(wanted, key=lambda one: at[one]):  # as they lie: each row group is read once
        small[image_id] = thumbnail(pictures.read(at[image_id]), SIDE)
    shown, room = [], BYTES
    for *_, row in chosen:
        first, second = small[row["image_id"]], small.get(row.get("keeper_id"))
        room -= len(first) + len(second or b"")
        if room < 0:
            break
        shown.append((_uri(first), _uri(second) if second else None))
    return shown


def _uri(encoded: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"


def _described(kind: str, row: dict[str, Any], source: str, beside: str | None) -> ImageFigure:
    votes = ""
    if row.get("yes") is not None:
        votes = f"{row['yes']} yes, {row['no']} no" + (f", {row['unsure']} unsure" if row["unsure"] else "")
    caption = {
        "wrong": votes, "undecided": votes, "right": votes,
        "copy": f"{row.get('keeper_source')} stays, {row.get('distance_256')} bits",
        "leak": f"{row['source']}, {row.get('distance_256')} bits",
    }.get(kind, "")  # fmt: skip
    facts = {
        NAMES.get(name, name.replace("_", " ")): value
        for name, value in row.items()
        if name not in ("yes", "no", "unsure")
    }
    facts["votes"] = votes or None
    if facts.get("confidence") is not None:
        facts["confidence"] = f"{facts['confidence']:.2f}"
    return ImageFigure(
        row["image_id"], source, caption, tuple(facts.items()), beside, str(row.get("keeper_id") or "")
    )
