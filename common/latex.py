"""Escape text for LaTeX."""

import re

_CHARACTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "\ufffd": "?", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "α": r"$\alpha$", "κ": r"$\kappa$", "–": "{--}",
}  # fmt: skip
_LIGATURES = re.compile(r"([-',?!])(?=[-',])")  # --, '', ,, and the like print other characters


def escape(text: str) -> str:
    """Return one line of plain text for a paragraph or a cell of a table."""
    return "".join(_CHARACTERS.get(c, c) for c in _LIGATURES.sub("\\1\0", text)).replace("\0", "{}")
