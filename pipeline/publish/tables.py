"""The table of rejections, which the card and the methods of a dataset share."""

from pipeline.publish.release import Release
from pipeline.shards.document import Block, Grid, Paragraph


def rejection_table(release: Release) -> Block:
    """Return the number of rejected list rows and votes by code, or a sentence that there are none."""
    rows = [("list rows", code, f"{count:,}") for code, count in release.facts.list_rejections.items()]
    rows += [("votes", code, f"{count:,}") for code, count in release.facts.votes.rejections.items()]
    if not rows:
        return Paragraph("No list row and no vote was rejected.")
    return Grid(("input", "code", "count"), rows, numeric_from=2)
