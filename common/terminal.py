"""Show untrusted text on a terminal, which interprets control characters: they move the cursor, erase and recolor text."""

import unicodedata

_JOINERS = "\u200c\u200d"  # some scripts and many emoji need them


def visible_line(text: str) -> str:
    r"""Return text as one line, with control and invisible characters as escapes such as \x1b and \u202e.

    Spaces stay, such as the ideographic space in Chinese and Japanese names.
    """
    return "".join(_visible(character) for character in text)


def visible_lines(text: str) -> str:
    """Return text of several lines, each as by `visible_line`."""
    return "\n".join(map(visible_line, text.split("\n")))


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()
