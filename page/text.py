"""Strangers' text, such as ids, URLs and names of workers, as it can be shown without harm."""

import unicodedata
from urllib.parse import urlsplit

LONGEST = 120  # characters shown of one value
_JOINERS = "\u200c\u200d"  # some scripts and many emoji need them
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def visible_text(value: object, longest: int = LONGEST) -> str:
    r"""The text of a value with what cannot be seen as escapes (\u202e turns the reading direction), cut if long.

    It is not escaped for HTML: the templates do that with whatever they are given.
    """
    text = str(value)
    seen = "".join(map(_visible, text[:longest]))
    return seen if len(text) <= longest else f"{seen}… ({len(text):,} characters)"


def is_unseen(character: str) -> bool:
    """Whether a character shows nothing by itself, and may change how others are shown."""
    return character not in _JOINERS and unicodedata.category(character) in _UNSEEN


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode() if is_unseen(character) else character


def is_link(url: str) -> bool:
    """Whether a browser may be led there: http or https, with a host, and nothing unseen or blank in it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = not any(c.isspace() or is_unseen(c) for c in url)
    return parts.scheme in ("http", "https") and bool(host) and plain
