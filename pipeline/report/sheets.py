"""Contact sheets: sample images of each class by outcome, selected by a keyed hash."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.keyed_hash import keyed_hash
from pipeline.report.tables import BuildTables
from pipeline.report.thumbnails import data_uri, thumbnails

SIDE = 112  # pixels; smaller images keep their size
AT_ONCE = 500  # images read before the next look at BYTES
EACH, PAIRS_EACH = 10, 6  # images per class and outcome
BYTES = 2_400_000  # of all encoded images; base64 makes this a third larger in the page

SINGLE = "SELECT class_name, image_id, source, url, method, rank, verdict, yes, no, unsure, confidence FROM pairs WHERE "
PAIR = (
    "SELECT class_name, image_id, source, url, reason, distance, distance_256, orientation, rule, keeper_id, keeper_source "
    "FROM duplicates JOIN (SELECT image_id, min(class_name) AS class_name, min(url) AS url FROM retrievals GROUP BY image_id) "
    "USING (image_id) WHERE "
)
KINDS = {
    "clean": ("Clean, kept", SINGLE + "source = 'clean' AND removed IS NULL"),
    "wrong": ("Verified wrong, kept", SINGLE + "source = 'web' AND verdict = 'no' AND removed IS NULL"),
    "undecided": ("Undecided", SINGLE + "source = 'web' AND verdict = 'undecided'"),
    "right": ("Verified right", SINGLE + "source = 'web' AND verdict = 'yes' AND removed IS NULL"),
    "copy": ("Removed near-duplicates, next to the kept image", PAIR + "removed AND reason <> 'leak'"),
    "leak": ("Removed leaks, next to the test image", PAIR + "removed AND reason = 'leak'"),
}
NAMES = {
    "url": "URL",
    "class_name": "class",
    "distance": "differing bits (of 64)",
    "distance_256": "differing bits (of 256)",
}


@dataclass(frozen=True)
class ImageFigure:
    """An image to display; `beside` is the image that it was compared with."""

    name: str
    source: str
    caption: str
    facts: tuple[tuple[str, Any], ...]
    beside: str | None = None
    beside_name: str = ""


def sheets(tables: BuildTables, class_names: Sequence[str]) -> dict[str, dict[str, list[ImageFigure]]]:
    """Return images by class and outcome, at most BYTES in all: with many classes, each class gets fewer."""
    chosen: list[tuple[int, str, str, dict[str, Any]]] = []
    for kind, (_, query) in KINDS.items():
        names, rows = _rows(tables, query)
        order = keyed_hash([row[1] for row in rows], 0, f"contact sheet, {kind}").argsort(kind="stable")
        counts: dict[str, int] = defaultdict(int)
        limit = PAIRS_EACH if kind in ("copy", "leak") else EACH
        for index in order:
            row = dict(zip(names, rows[index], strict=True))
            index_in_class = counts[row["class_name"]]
            if index_in_class < limit:
                counts[row["class_name"]] += 1
                chosen.append((index_in_class, row["class_name"], kind, row))
    # The first image of every class and outcome, then the second of each, and so on.
    chosen.sort(key=lambda choice: (*choice[:3], choice[3]["image_id"]))
    figures: dict[str, dict[str, list[ImageFigure]]] = {name: defaultdict(list) for name in class_names}
    for (_, name, kind, row), uris in zip(chosen, _encoded(tables, chosen), strict=False):
        if name in figures:
            figures[name][kind].append(_described(kind, row, *uris))
    return {name: {kind: kinds[kind] for kind in KINDS if kinds.get(kind)} for name, kinds in figures.items()}


def _rows(tables: BuildTables, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = [column[0] for column in tables.rows(f"DESCRIBE {query}")]
    return names, tables.rows(f"{query} ORDER BY image_id, class_name")


def _encoded(
    tables: BuildTables, chosen: Sequence[tuple[int, str, str, dict[str, Any]]]
) -> list[tuple[str, str | None]]:
    """Return data URIs of each chosen image and the image beside it, until BYTES are used up."""
    uris: list[tuple[str, str | None]] = []
    bytes_left = BYTES
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        wanted = {row[key] for *_, row in part for key in ("image_id", "keeper_id") if row.get(key)}
        encoded = thumbnails(tables, wanted, SIDE)
        for *_, row in part:
            first, second = encoded[row["image_id"]], encoded.get(row.get("keeper_id") or "")
            bytes_left -= len(first) + len(second or b"")
            if bytes_left < 0:
                return uris
            uris.append((data_uri(first), data_uri(second) if second else None))
    return uris


def _described(kind: str, row: dict[str, Any], source: str, beside: str | None) -> ImageFigure:
    votes = ""
    if row.get("yes") is not None:
        votes = f"{row['yes']} yes, {row['no']} no" + (f", {row['unsure']} unsure" if row["unsure"] else "")
    caption = {
        "wrong": votes, "undecided": votes, "right": votes,
        "copy": f"{row.get('keeper_source')} image kept, {row.get('distance_256')} bits differ",
        "leak": f"{row['source']}, {row.get('distance_256')} bits differ",
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
