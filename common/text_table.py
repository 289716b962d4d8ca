"""Plain-text and Markdown tables."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as lines with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table whose columns, except the first, are aligned to the right; bars in cells are escaped."""
    cells = [[str(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    lines = [cells[0], ["---", *["---:"] * (len(head) - 1)], *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
