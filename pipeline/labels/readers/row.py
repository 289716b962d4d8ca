"""One answer as a tool has written it down."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VoteRow:
    """Values as text, None where there is none; `problem` says why an answer cannot be read as a vote."""

    image_id: str | None = None
    class_name: str | None = None
    worker_id: str | None = None
    answer: str | None = None
    seconds: str | None = None
    time: str | None = None
    problem: str | None = None

    def values(self) -> dict[str, str | None]:
        """The columns of a vote; an empty text is no value."""
        names = ("image_id", "class_name", "worker_id", "answer", "seconds", "time")
        return {name: getattr(self, name) or None for name in names}


def text(value: object) -> str | None:
    """A plain JSON value as text; None for lists, objects and nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        str(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return None
    return str(value)
