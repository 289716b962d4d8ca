"""Tables that the card and the methods of a dataset share."""

from pipeline.links.summary import check_table
from pipeline.publish import statements as say
from pipeline.publish.release import Release
from pipeline.shards.document import Block, Grid, Heading, Paragraph


def rejection_table(release: Release) -> Block:
    """Return the number of rejected list rows and votes by code, or a sentence that there are none."""
    rows = [("list rows", code, f"{count:,}") for code, count in release.facts.list_rejections.items()]
    rows += [("votes", code, f"{count:,}") for code, count in release.facts.votes.rejections.items()]
    if not rows:
        return Paragraph("No list row and no vote was rejected.")
    return Grid(("input", "code", "count"), rows, numeric_from=2)


def link_rot(release: Release, level: int) -> list[Block]:
    """Return a section on the checks of the URLs, or nothing if there are none; `level` is that of its heading."""
    if not release.links.checks:
        return []
    header, rows = check_table(release.links)
    return [Heading("Link rot", level), Paragraph(say.link_rot(release)), Grid(header, rows)]
