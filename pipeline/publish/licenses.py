"""Classify the licenses of images, and decide which images may be given away.

Search providers write licenses in many ways: `by-sa 2.0`, `CC BY-SA 2.0`, `Attribution-ShareAlike License`, or only the
URL of the deed. A license of several readings, with a word that is not known here, or whose name and URL differ, is
unknown: what is not understood may restrict the license.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import pyarrow as pa
from pyarrow import compute as pc

from pipeline.publication_config import LicenseClass, PublicationConfig

CLASSES: tuple[LicenseClass, ...] = get_args(LicenseClass)
UNKNOWN: LicenseClass = "unknown"
_SEPARATOR = "\x1f"

_LICENSE_URL = re.compile(r"creativecommons\.org/+(?:licen[sc]es|publicdomain)")
# Terms, version, jurisdiction, page and language, and the parameters that the license chooser and CC Search add.
_DEED = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(licenses|licences|publicdomain)/([a-z+-]+)(?:/[0-9]+\.[0-9]+)?"
    r"(?:/(?:[a-z]{2}|igo|scotland))?(?:/(?:deed|legalcode)(?:\.[a-z_-]+)?)?/?"
    r"(?:\?ref=[a-z0-9.-]+(?:&atype=[a-z]+)?)?"
)
# A version, and after it at the end the jurisdiction of a ported license, as in "by 2.5 nl".
_VERSION = re.compile(
    r"(?<![a-z0-9])v?[0-9](\.[0-9]+)*(?![a-z0-9])([ -](?!nc|nd|sa|by)(?:[a-z]{2}|igo|scotland)$)?"
)
_COPYRIGHT = re.compile(r"(?:©|\(c\))(?:\s*[0-9]{4}\b)?")  # with the year
_TERMS = {
    "attribution": "by", "sharealike": "sa", "noncommercial": "nc", "noderivs": "nd", "noderivatives": "nd",
    "by": "by", "sa": "sa", "nc": "nc", "nd": "nd",
}  # fmt: skip
_FILLERS = {
    "cc", "creative", "commons", "license", "licence", "international", "unported", "generic", "deed", "the", "public",
}  # fmt: skip
_PUBLIC_DOMAIN = {
    "pdm", "pd", "public domain", "public domain mark", "public domain work", "no known copyright restrictions",
    "united states government work", "us government work",
}  # fmt: skip
_CC0 = {
    "cc0",
    "zero",
    "cc zero",
    "public domain dedication",
    "cc0 public domain dedication",
    "public domain dedication cc0",
}
_RESERVED = {"all rights reserved", "c all rights reserved", "copyright", "copyrighted", "rights managed"}


def license_class(name: str | None, url: str | None) -> LicenseClass:
    """Return the class of a license from its name and the URL of its text; either may be missing.

    Any jurisdiction and version of a Creative Commons license has the class of its terms. The result is `unknown` for other
    licenses, and if name and URL are of two classes.
    """
    by_name, by_url = _class_of_name(name or ""), _class_of_url(url or "")
    if by_name is None or by_url is None:
        return by_name or by_url or UNKNOWN
    return by_name if by_name == by_url else UNKNOWN


def _class_of_url(url: str) -> LicenseClass | None:
    """Return the class of a Creative Commons deed, or None without one; `unknown` if the text is more than one deed."""
    text = url.strip().lower()
    match = _DEED.fullmatch(text)
    if not match:  # a page of the provider or of the image says nothing by itself
        return UNKNOWN if _LICENSE_URL.search(text) else None
    kind, terms = match[1], match[2]
    if kind == "publicdomain":
        named: dict[str, LicenseClass] = {"zero": "cc0", "mark": "public-domain"}
        return named.get(terms, UNKNOWN)
    return _of_terms(terms.split("-"))


def _class_of_name(name: str) -> LicenseClass | None:
    """Return the class of the name of a license, `unknown` if it is not recognized, or None without a name."""
    if not name.strip():
        return None
    folded = _COPYRIGHT.sub(" ", unicodedata.normalize("NFKC", name).lower())
    if any(not char.isascii() and unicodedata.category(char)[0] not in "PZ" for char in folded):
        return UNKNOWN  # a letter or sign that the lists below lack
    words = _VERSION.sub(" ", folded)
    text = " ".join(re.sub(r"[^a-z0-9]+", " ", words).split())
    if text in _PUBLIC_DOMAIN:
        return "public-domain"
    if text in _CC0 or text.removesuffix(" universal") in _CC0:
        return "cc0"
    if text in _RESERVED:
        return "all-rights-reserved"
    joined = text.replace("share alike", "sharealike").replace("non commercial", "noncommercial")
    joined = joined.replace("no derivatives", "noderivatives").replace("no derivs", "noderivs")
    terms = [word for word in joined.split() if word not in _FILLERS]
    if all(word in _TERMS for word in terms):
        return _of_terms([_TERMS[word] for word in terms])
    return UNKNOWN


def _of_terms(terms: list[str]) -> LicenseClass:
    found = set(terms)
    if "by" not in found or not found <= {"by", "nc", "sa", "nd"}:
        return UNKNOWN
    name = "cc-" + "-".join(term for term in ("by", "nc", "sa", "nd") if term in found)
    return next((each for each in CLASSES if each == name), UNKNOWN)


@dataclass(frozen=True)
class LicensePolicy:
    """Which classes of licenses may be given away, and what stands in for a license that a list does not state."""

    allowed: frozenset[LicenseClass]
    unstated: Mapping[str, LicenseClass]
    ids_only: frozenset[LicenseClass]

    @classmethod
    def of(cls, config: PublicationConfig, ids_only: bool) -> "LicensePolicy":
        """Return the policy of a configuration; `ids_only`: publish the rows of all forbidden images without the image."""
        allowed = frozenset(config.allow_licenses)
        forbidden = frozenset(CLASSES) - allowed
        if not ids_only:
            forbidden &= {UNKNOWN} if config.unknown_licenses == "ids-only" else frozenset()
        return cls(allowed, config.image_licenses, forbidden)

    def classes(self, rows: pa.Table) -> pa.Array:
        """Return the license class of each row; `rows` needs source, license and license_url."""
        texts = [pc.fill_null(rows[name], "") for name in ("source", "license", "license_url")]
        # No license contains U+FFFD.
        texts = [pc.replace_substring(text, _SEPARATOR, "\ufffd") for text in texts]
        joined = pc.binary_join_element_wise(*texts, _SEPARATOR)
        coded = pa.chunked_array(joined).combine_chunks().dictionary_encode()
        classes = [self._class_of(*text.split(_SEPARATOR, 2)) for text in coded.dictionary.to_pylist()]
        return pa.array(classes, pa.string()).take(coded.indices)

    def _class_of(self, source: str, name: str, url: str) -> LicenseClass:
        if not name.strip() and not url.strip():
            return self.unstated.get(source, UNKNOWN)
        return license_class(name, url)
