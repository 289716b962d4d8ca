"""One answer in the export of a labeling tool."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class VoteRow:
    """Values as text; None if absent.

    problem: why the row is not a vote. skipped: the tool marks the answer as skipped or rejected, so the file is not at
    fault.
    """

    image_id: str | None = None
    class_name: str | None = None
    worker_id: str | None = None
    answer: str | None = None
    seconds: str | None = None
    time: str | None = None
    seen_class: str | None = None
    problem: str | None = None
    skipped: bool = False

    def values(self) -> dict[str, str | None]:
        """Return the columns of a vote; an empty text becomes None."""
        names = ("image_id", "class_name", "worker_id", "answer", "seconds", "time", "seen_class")
        return {name: getattr(self, name) or None for name in names}


def text(value: object) -> str | None:
    """Return a plain JSON value as text; None for lists, objects and null."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return None
    try:
        str(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair cannot be encoded
        return None
    return str(value)


def chosen(value: object) -> str | None:
    """Return the single answer in an element of a form, or None.

    The value is plain, a list of length 1, or an object: {"label": "yes"}, {"labels": ["yes"]}, or options of which one is
    true, {"yes": true, "no": false} or {"yes": {"on": true}, "no": {"on": false}}.
    """
    while isinstance(value, list | Mapping):  # a loop, since a worker may send values of any depth
        if isinstance(value, list):
            if len(value) != 1:
                return None
            value = value[0]
        else:
            name = next((name for name in ("label", "labels") if name in value), None)
            if name is None:
                return _ticked(value)
            value = value[name]
    return text(value)


def _ticked(options: Mapping[str, object]) -> str | None:
    """Return the option of a form that is chosen; None unless it is one, and all values are options."""
    marks = {name: _mark(option) for name, option in options.items()}
    if None in marks.values() or not marks:
        return None
    if set(marks) <= {"on", "value"}:  # a single checkbox
        return text(next(iter(marks.values())))
    ticked = [name for name, mark in marks.items() if mark]
    return text(ticked[0]) if len(ticked) == 1 else None


def _mark(option: object) -> bool | None:
    """Return whether an option of a form is chosen; None if the value is not an option."""
    if isinstance(option, Mapping) and len(option) == 1:
        (option,) = option.values()
    return option if isinstance(option, bool) else None
