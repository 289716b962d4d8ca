"""The section `publication` of a build's configuration: what the authors of a dataset state about it."""

import datetime
import re
from dataclasses import dataclass
from typing import Literal

from common.config import operational
from schemas.retrieval import SOURCES

LicenseClass = Literal[
    "public-domain", "cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa", "cc-by-nd", "cc-by-nc-nd",
    "all-rights-reserved", "unknown",
]  # fmt: skip

LICENSES = {
    **{
        f"CC-{terms}-{version}": f"https://creativecommons.org/licenses/{terms.lower()}/{version}/"
        for version in ("4.0", "3.0", "2.5", "2.0")
        for terms in ("BY", "BY-SA", "BY-NC", "BY-NC-SA", "BY-ND", "BY-NC-ND")
    },
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CDLA-Permissive-2.0": "https://cdla.dev/permissive-2-0/",
    "CDLA-Sharing-1.0": "https://cdla.dev/sharing-1-0/",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
    "ODC-By-1.0": "https://opendatacommons.org/licenses/by/1-0/",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}
"""Licenses of datasets: their identifiers of https://spdx.org/licenses, and their texts."""

_ORCID = re.compile(r"(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_WEB = re.compile(r"https?://[^\s/?#@\\]+\.?[^\s\\<>\"{}|^`]*")
_DOI = re.compile(r"10\.\d{4,9}/\S+")


@dataclass(frozen=True)
class Author:
    """An author of the dataset."""

    name: str = operational()
    """Name, as "Given Family" or "Family, Given"; without a comma the last word is the family name."""
    affiliation: str = operational("")
    """Institution of the author (default: none)."""
    orcid: str = operational("")
    """ORCID iD, such as 0000-0002-1825-0097 (default: none)."""
    kind: Literal["person", "organization"] = operational("person")
    """Whether the author is a person or an organization."""

    def __post_init__(self) -> None:
        if not self.name.strip(" ,"):
            raise ValueError("name of an author is empty; give it, or remove the author")
        if self.orcid and not self.orcid_digits:
            raise ValueError(
                f"orcid {self.orcid!r} is not an ORCID iD (four groups of four digits with a valid check digit)"
            )

    @property
    def orcid_digits(self) -> str | None:
        """The iD as 0000-0002-1825-0097, or None if there is none or its check digit (ISO 7064, 11-2) is wrong."""
        match = _ORCID.fullmatch(self.orcid)
        if not match:
            return None
        total = 0
        for digit in match[1].replace("-", "")[:-1]:
            total = (total + int(digit)) * 2
        check = (12 - total % 11) % 11
        return match[1] if match[1][-1] == ("X" if check == 10 else str(check)) else None

    @property
    def family_and_given(self) -> tuple[str, str]:
        """Family and given names of a person; the given names may be empty."""
        family, comma, given = self.name.partition(",")
        if comma:
            return " ".join(family.split()), " ".join(given.split())
        *first, last = self.name.split()
        return last, " ".join(first)


@dataclass(frozen=True)
class PublicationConfig:
    """What the verb `publish` writes beside the data, and which images it gives away (docs/how-to/publish.md)."""

    title: str = operational("")
    """Title of the dataset (default: `name`)."""
    description: str = operational("")
    """Some sentences on what the dataset is and why it was made (default: what red and blue sets are)."""
    authors: tuple[Author, ...] = operational(())
    """Authors in order, each with `name`, and optionally `affiliation`, `orcid`, and `kind: organization`; `publish` needs
    one."""
    license: str = operational("")
    """License of labels, metadata and selection: an SPDX identifier such as CC-BY-4.0, or the URL of a license; `publish`
    needs it. Each image keeps its own license."""
    version: str = operational("1.0.0")
    """Version of the dataset, as MAJOR.MINOR.PATCH (semantic versioning)."""
    date: str = operational("")
    """Date of publication, such as '2026-12-01', in quotes; `publish` needs it, since it reads no clock."""
    url: str = operational("")
    """Web page of the dataset; `publish` needs it unless `--push` gives the repository."""
    doi: str = operational("")
    """DOI of the dataset, such as 10.5281/zenodo.1234567 (default: none)."""
    citation: str = operational("")
    """BibTeX entry of the paper that describes the dataset (default: an entry for the dataset itself)."""
    contact: str = operational("")
    """Mail address or web page for questions and for requests to remove an image (default: the page of the dataset)."""
    keywords: tuple[str, ...] = operational(())
    """Keywords in addition to those of label noise."""
    derived_from: tuple[str, ...] = operational(())
    """Names or URLs of datasets that images or votes were taken from (default: none)."""
    question: str = operational("Does this image show this class: {class}?")
    """Question that workers answered, with {class} in place of the class name."""
    annotation_platform: str = operational("")
    """Tool or platform that collected the votes (default: not stated)."""
    annotator_demographics: str = operational("")
    """What is known about the workers as a group, such as countries, languages and training (default: not stated)."""
    annotator_pay: str = operational("")
    """How the workers were recruited and paid (default: not stated)."""
    collected_from: str = operational("")
    """First day of the collection of images and votes, such as '2026-03-01' (default: not stated)."""
    collected_until: str = operational("")
    """Last day of the collection, such as '2026-04-15' (default: not stated)."""
    synthetic_images: bool = operational(False)
    """Whether images were generated instead of photographed or drawn by people (default: false)."""
    intended_uses: tuple[str, ...] = operational(())
    """Uses in addition to the evaluation of methods against label noise."""
    limitations: tuple[str, ...] = operational(())
    """Limits in addition to those that the build shows."""
    biases: tuple[str, ...] = operational(())
    """Biases in addition to those of web search and of the vote."""
    social_impact: str = operational("")
    """Benefits and risks for society (default: a sentence on benchmarks)."""
    personal_information: str = operational("")
    """Personal and sensitive information in the images (default: that the images were not searched for any)."""
    maintenance: str = operational("")
    """Who maintains the dataset and how versions change (default: semantic versioning, and the contact)."""
    allow_licenses: tuple[LicenseClass, ...] = operational(("public-domain", "cc0", "cc-by", "cc-by-sa"))
    """Classes of image licenses whose images may be given away; an image of another class stops `publish`, or stays out of
    it with `--ids-only`."""
    unknown_licenses: Literal["refuse", "ids-only"] = operational("refuse")
    """Images of unknown license, if `allow_licenses` lacks `unknown`. refuse: `publish` stops; ids-only: their rows are
    published without the image."""
    image_licenses: dict[str, LicenseClass] = operational(default_factory=dict)
    """License of the images whose list row states none, by source, such as {clean: cc-by}, for which the authors vouch
    (default: unknown for clean, test and web)."""
    votes: Literal["none", "pseudonymous"] = operational("none")
    """Publish single votes. none: only the counts of each image; pseudonymous: votes.parquet, with a keyed hash in place of
    each worker id."""

    def __post_init__(self) -> None:
        if not _SEMVER.fullmatch(self.version):
            raise ValueError(f"version {self.version!r} is not MAJOR.MINOR.PATCH, such as 1.0.0")
        if self.license and self.license not in LICENSES and not _WEB.fullmatch(self.license):
            raise ValueError(
                f"license {self.license!r} is neither a URL nor one of {', '.join(LICENSES)}; give the URL of another license"
            )
        if self.url and not _WEB.fullmatch(self.url):
            raise ValueError(f"url {self.url!r} is not a web address; write it as https://…")
        if self.doi and not _DOI.fullmatch(self.doi):
            raise ValueError(f"doi {self.doi!r} is not a DOI; write it as 10.5281/zenodo.1234567")
        for name in ("date", "collected_from", "collected_until"):
            value = getattr(self, name)
            try:
                is_date = not value or datetime.date.fromisoformat(value).isoformat() == value
            except ValueError:
                is_date = False
            if not is_date:
                raise ValueError(f"{name} {value!r} is not a date; write it as '2026-12-01'")
        if self.collected_from and self.collected_until and self.collected_until < self.collected_from:
            raise ValueError(
                f"collected_until {self.collected_until} is before collected_from {self.collected_from}; exchange them"
            )
        for source in self.image_licenses:
            if source not in SOURCES:
                raise ValueError(f"image_licenses names {source!r}, which is not one of {', '.join(SOURCES)}")
        if "{class}" not in self.question:
            raise ValueError(
                f"question {self.question!r} lacks {{class}}; write it in place of the class name"
            )
