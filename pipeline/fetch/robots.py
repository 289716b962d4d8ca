"""Parse what hosts allow programs to do: robots.txt, X-Robots-Tag, and the reservation of text and data mining.

Sources: RFC 9309 (robots.txt), https://www.rfc-editor.org/rfc/rfc9309; Google's description of X-Robots-Tag, with the
words noai and noimageai, introduced by DeviantArt and obeyed by img2dataset; the TDM Reservation Protocol of the W3C
community group, https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/, of which the file and the
header are supported.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from urllib.parse import quote

from protego import Protego

from common.extras import PROJECT

PRODUCT = PROJECT  # product token of the user agent, by which rules address it
MAX_POLICY_BYTES = 500 * 1024  # of a policy file; the minimum of RFC 9309, section 2.5
MAX_WILDCARD_WORK = 5_000_000
"""Limit of wildcards in a policy file times characters of a URL, which a comparison takes time for: 50 ms at the limit."""
_ROBOT = re.compile(r"\s*user[-\s]*agent(\s*:|\s)\s*", re.IGNORECASE)  # in all spellings that Protego accepts
_TOKEN = re.compile(r"([A-Za-z_-]+)(?![\w.-])")  # RFC 9309, section 2.2.1
_LINE_END = re.compile(r"\r\n|\r|\n")  # section 2.2; Protego accepts others, which may occur in a rule
_PLAIN = "".join(map(chr, range(0x20, 0x7F))) + "\t"
_FORBIDDEN = {"noai", "noimageai", "noindex", "noimageindex", "none"}
_WITH_VALUES = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}


PARSED_BYTES = 16 << 20
"""Total size of the policy files whose parsed rules are kept in memory: rules of one letter take 70 times their text."""
FILE_BYTES = 1000  # counted for each file besides its text


class _ParsedFiles:
    """The parsed rules of the most recently used policy files, of a total size of PARSED_BYTES; for all threads."""

    def __init__(self) -> None:
        self._rules: OrderedDict[bytes, Protego] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __contains__(self, text: bytes) -> bool:
        with self._lock:
            return text in self._rules

    def get(self, text: bytes) -> Protego:
        """Return the rules of a file, parsed again unless they are kept."""
        with self._lock:
            if text in self._rules:
                self._rules.move_to_end(text)
                return self._rules[text]
        rules = Protego.parse(_normalize_groups(text.decode("utf-8-sig", "replace")))
        with self._lock:
            if text not in self._rules:
                self._rules[text] = rules
                self._size += len(text) + FILE_BYTES
            while self._size > PARSED_BYTES:
                old, _ = self._rules.popitem(last=False)
                self._size -= len(old) + FILE_BYTES
        return rules


_parsed = _ParsedFiles()


class PathRules:
    """The rules of one robots.txt for our product token."""

    def __init__(self, text: bytes) -> None:
        self.text = text[:MAX_POLICY_BYTES]
        self._wildcards = self.text.count(b"*")

    @property
    def is_parsed(self) -> bool:
        """Whether the other methods need not parse the file."""
        return self.text in _parsed

    def parse(self) -> None:
        """Parse the file, which takes up to a second."""
        _parsed.get(self.text)

    def allow(self, url: str) -> bool:
        """Whether the rules allow a URL of the host; false for a URL too long to be compared with so many wildcards."""
        if self._wildcards * len(url) > MAX_WILDCARD_WORK:
            return False
        return bool(_parsed.get(self.text).can_fetch(url, PRODUCT))

    @property
    def delay(self) -> float:
        """Crawl-delay in seconds, 0 if there is none."""
        return float(_parsed.get(self.text).crawl_delay(PRODUCT) or 0)


def _normalize_groups(text: str) -> str:
    """Rewrite a robots.txt so that each group names our product token, `*`, or "others".

    A group is ours if it names our whole product token; text after the token, such as a version, is ignored. Protego
    (0.7) also accepts a part of the token, and stores each rule of a group once per robot of the group, so that a file
    of 10,000 robots and 10,000 rules would take minutes and gigabytes.
    """
    lines = []
    for line in _LINE_END.split(text):
        if match := _ROBOT.match(line):
            name = line[match.end() :].partition("#")[0].strip()
            if name.split()[:1] == ["*"]:
                line = "User-agent: *"
            else:
                token = _TOKEN.match(name)
                is_ours = token is not None and token[0].lower() == PRODUCT
                line = f"User-agent: {PRODUCT if is_ours else 'others'}"
        lines.append(quote(line, safe=_PLAIN))
    return "\n".join(lines)


def reservations(text: bytes) -> PathRules:
    """Return the rules of a tdmrep.json: reserved paths are not allowed.

    The file is a list of path patterns; as in robots.txt, the longest match decides. Other content, such as the page
    that some hosts return for every URL, reserves nothing.
    """
    lines = ["User-agent: *"]
    try:
        entries = json.loads(text[:MAX_POLICY_BYTES].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        entries = []
    for rule in entries if isinstance(entries, list) else []:
        location = rule.get("location") if isinstance(rule, dict) else None
        if isinstance(location, str) and location.isprintable():
            lines.append(f"{'Disallow' if str(rule.get('tdm-reservation')) == '1' else 'Allow'}: {location}")
    return PathRules("\n".join(lines).encode())


def forbidding_tag(values: Iterable[str]) -> str | None:
    """Return the word of X-Robots-Tag headers that forbids our use of an image, or None.

    A header is `word, word, …`; `name: word, …` addresses the robot of that name only.
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
