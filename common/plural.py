"""Numbers with their nouns."""


def counted(count: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: "0 steps", "1 step", "2,000 steps"; `plural` is that of "copy" and its like."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
