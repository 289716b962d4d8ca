"""Safe display of untrusted text, such as ids, URLs and names of workers."""

import unicodedata
from urllib.parse import urlsplit

LONGEST = 120  # characters shown of one value
_JOINERS = "\u200c\u200d"  # some scripts and many emoji need them
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def visible_text(value: object, longest: int = LONGEST) -> str:
    r"""Return the text of a value with invisible characters as escapes (\u202e reverses text), truncated if long.

    The result is not escaped for HTML; templates escape all values.
    """
    text = str(value)
    seen = "".join(map(_visible, text[:longest]))
    return seen if len(text) <= longest else f"{seen}… ({len(text):,} characters)"


def is_unseen(character: str) -> bool:
    """Whether a character is invisible and may change how others are displayed."""
    return character not in _JOINERS and unicodedata.category(character) in _UNSEEN


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode() if is_unseen(character) else character


def is_link(url: str) -> bool:
    """Whether a URL is safe to link: http or https, with a host, without invisible characters or spaces."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = not any(c.isspace() or is_unseen(c) for c in url)
    return parts.scheme in ("http", "https") and bool(host) and plain
