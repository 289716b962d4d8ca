"""The section of the report about suspects: the estimated shares of wrong labels, and the most suspect images."""

from typing import Any

from page.table import Column, IntervalCell, PageTable
from pipeline.audit.facts import levels_with_label_errors
from pipeline.layout import Layout
from pipeline.report.sheets import SIDE, ImageFigure
from pipeline.report.tables import BuildTables
from pipeline.report.thumbnails import data_uri, thumbnails
from pipeline.shards import directory

EACH = 18  # images of each kind
KINDS = {
    "Verdict no, most probably wrong": "source = 'web' AND verdict = 'no'",
    "Verdict yes, most probably wrong": "source = 'web' AND verdict = 'yes'",
    "Clean labels, most probably wrong": "source = 'clean'",
    "Test labels, most probably wrong": "source = 'test'",
}
_QUERY = (
    "SELECT image_id, class_name, verdict, p_error, p_wrong_votes, p_wrong_features, neighbor_share, probable_class, "
    "probable_share FROM suspects WHERE {} ORDER BY p_error DESC, CASE WHEN verdict = 'no' THEN p_wrong_features ELSE -p_wrong_features END, image_id, class_name"
)
_TITLES = {
    "class_name": "class", "p_error": "P(wrong)", "p_wrong_votes": "P(not this class), by votes",
    "p_wrong_features": "P(not this class), by features", "neighbor_share": "share of nearest images in this class",
    "probable_class": "probably shows", "probable_share": "with probability",
}  # fmt: skip


def audit_tables(tables: BuildTables) -> list[PageTable]:
    """Return the tables of wrong labels and wrong verdicts; none without an audit."""
    if not tables.has("audit"):
        return []
    facts = directory.read_manifest(Layout(tables.build).suspects).about
    labels = [
        [source, of["images"], IntervalCell(*(of["wrong"][name] for name in ("share", "low", "high")))]
        for source, of in facts["labels"].items()
    ]
    verdicts = [
        [verdict, of["questions"], of["wrong_by_votes"], of["wrong"]]
        for verdict, of in facts["verdicts"].items()
    ]
    share = Column("wrong", "share")
    note = (
        "The interval reaches from the share of labels that are as implausible as planted errors to the share that the "
        "features cannot confirm."
    )
    return [
        PageTable(
            "Given labels that are wrong, estimated",
            [Column("list"), Column("images", "count"), share],
            labels,
            note,
        ),
        PageTable(
            "Verdicts that are wrong, expected",
            [Column("verdict"), Column("questions", "count"), Column("by votes alone", "share"), share],
            verdicts,
        ),
        *_levels(tables.build),
    ]


def _levels(build: str) -> list[PageTable]:
    """Return the table of the sets' true noise with wrong clean labels."""
    levels = levels_with_label_errors(build)
    if not levels:
        return []
    rows = [[name, IntervalCell(level.share, level.low, level.high)] for name, level in levels.items()]
    note = "Wrong verdicts and wrong clean labels together; the bounds of both are added, which covers at least 90 %."
    columns = [Column("set"), Column("wrong", "share")]
    return [PageTable("True noise with the errors of clean labels", columns, rows, note)]


def suspect_figures(tables: BuildTables) -> dict[str, list[ImageFigure]]:
    """Return the most suspect images of each kind, the most suspect first; {} without an audit."""
    if not tables.has("audit"):
        return {}
    rows = {
        kind: tables.rows(f"{_QUERY.format(condition)} LIMIT {EACH}") for kind, condition in KINDS.items()
    }
    wanted = {row[0] for of_kind in rows.values() for row in of_kind}
    uris = {image_id: data_uri(image) for image_id, image in thumbnails(tables, wanted, SIDE).items()}
    return {
        kind: [_figure(row, uris[row[0]]) for row in of_kind] for kind, of_kind in rows.items() if of_kind
    }


def _figure(row: tuple[Any, ...], source: str) -> ImageFigure:
    names = ("image_id", "class_name", "verdict", *list(_TITLES)[1:])
    values = dict(zip(names, row, strict=True))
    seen = (
        "" if values["probable_class"] == values["class_name"] else f", probably {values['probable_class']}"
    )
    caption = f"{values['class_name']}: {100 * values['p_error']:.0f} %{seen}"
    facts = tuple(
        (_TITLES.get(name, name.replace("_", " ")), f"{value:.2f}" if isinstance(value, float) else value)
        for name, value in values.items()
    )
    return ImageFigure(values["image_id"], source, caption, facts)
