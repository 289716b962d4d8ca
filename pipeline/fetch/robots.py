"""What a host says about being read by programs: robots.txt, X-Robots-Tag, and the reservation of text and data mining.

Sources: RFC 9309 (robots.txt), https://www.rfc-editor.org/rfc/rfc9309; Google's description of X-Robots-Tag, with the
words noai and noimageai that DeviantArt introduced and img2dataset obeys; the TDM Reservation Protocol of the W3C
community group, https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/, of which the file and the
header are read.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from protego import Protego

PRODUCT = "controlled-noise"  # the name that a rule for us alone would give
MAX_POLICY_BYTES = 500 * 1024  # read of a policy file; what RFC 9309, section 2.5, asks for at least
_ROBOT = re.compile(r"\s*user[-\s]*agent(\s*:|\s)\s*", re.IGNORECASE)  # in all ways in which Protego reads it
_TOKEN = re.compile(r"([A-Za-z_-]+)(?![\w.-])")  # RFC 9309, section 2.2.1
_LINE_END = re.compile(r"\r\n|\r|\n")  # section 2.2; Protego knows others, which may stand in a rule
_PLAIN = "".join(map(chr, range(0x20, 0x7F))) + "\t"
_FORBIDDEN = {"noai", "noimageai", "noindex", "noimageindex", "none"}
_WITH_VALUES = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}


class PathRules:
    """The rules of one robots.txt, for us."""

    def __init__(self, text: bytes) -> None:
        self.text = text[:MAX_POLICY_BYTES]
        self._rules = Protego.parse(_others_as_one(self.text.decode("utf-8-sig", "replace")))

    def allow(self, url: str) -> bool:
        """Whether we may fetch a URL of that host."""
        return bool(self._rules.can_fetch(url, PRODUCT))

    @property
    def delay(self) -> float:
        """The seconds between two requests that Crawl-delay asks for, or 0."""
        return float(self._rules.crawl_delay(PRODUCT) or 0)


def _others_as_one(text: str) -> str:
    """Rewrite a robots.txt so that each group names us, everybody (`*`), or others, by one name.

    A group is ours if it names our whole product token; what follows a token, such as a version, does not count.
    Protego (0.7) also takes a part of our name for us, and lists each rule of a group once for every robot that the
    group names: a file of 10,000 robots and 10,000 rules would take minutes and gigabytes.
    """
    lines = []
    for line in _LINE_END.split(text):
        if named := _ROBOT.match(line):
            name = line[named.end() :].partition("#")[0].strip()
            if name.split()[:1] == ["*"]:
                line = "User-agent: *"
            else:
                token = _TOKEN.match(name)
                ours = token is not None and token[0].lower() == PRODUCT
                line = f"User-agent: {PRODUCT if ours else 'others'}"
        lines.append(quote(line, safe=_PLAIN))
    return "\n".join(lines)


def reservations(text: bytes) -> PathRules:
    """The rules of a tdmrep.json: what it reserves is not allowed.

    It is a list of locations, which are patterns of paths as those of robots.txt; where several match, the longest one
    decides, as there. A file that is none, such as the page with which some hosts answer everything, reserves nothing.
    """
    lines = ["User-agent: *"]
    try:
        found = json.loads(text[:MAX_POLICY_BYTES].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        found = []
    for rule in found if isinstance(found, list) else []:
        location = rule.get("location") if isinstance(rule, dict) else None
        if isinstance(location, str) and location.isprintable():
            lines.append(f"{'Disallow' if str(rule.get('tdm-reservation')) == '1' else 'Allow'}: {location}")
    return PathRules("\n".join(lines).encode())


def forbidding_tag(values: Iterable[str]) -> str | None:
    """The word of X-Robots-Tag headers that forbids the use of a picture to us or to everybody, if there is one.

    A header is `word, word, …`; `name: word, …` is for the robot of that name alone.
    """
    for value in values:
        robot = ""
        for part in value.lower().split(","):
            word = part.strip()
            name, colon, rest = word.partition(":")
            if colon and name.strip() not in _WITH_VALUES:
                robot, word = name.strip(), rest.strip()
            if word in _FORBIDDEN and robot in ("", "*", PRODUCT):
                return word
    return None
