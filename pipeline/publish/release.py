"""What a publication consists of: the facts of the build, the statements of its authors, and what happens to the images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.links.summary import LedgerSummary
from pipeline.publication_config import LICENSES, PublicationConfig
from pipeline.publish.facts import BuildFacts
from pipeline.shards.croissant import TableFile


@dataclass(frozen=True)
class ImageFacts:
    """The licenses of the published images, and the images that stay out of the publication.

    by_license: number of images by source, then by (license class, license as stated). withheld: number of images of each
    set whose bytes are left out. withheld_images, withheld_without_url, images: numbers of different images. attributed:
    whether the file of attributions exists.
    """

    by_license: Mapping[str, Mapping[tuple[str, str], int]] = field(default_factory=dict)
    withheld: Mapping[str, int] = field(default_factory=dict)
    withheld_images: int = 0
    images: int = 0
    attributed: bool = False
    withheld_without_url: int = 0

    @property
    def withheld_urls(self) -> str:
        """Which of the withheld images others can fetch, as the end of a sentence."""
        lost, vanishing = "so that others cannot fetch them", "some URLs may no longer work"
        if not self.withheld_without_url:
            return vanishing
        if self.withheld_without_url == self.withheld_images:
            return f"none of them has a URL, {lost}"
        return f"{self.withheld_without_url:,} of them have no URL, {lost}, and {vanishing}"


@dataclass(frozen=True)
class Release:
    """Facts, statements of the authors, images, and the address of the dataset.

    votes: number of published votes. links: the checks of the URLs of the build. tables: Parquet files beside the sets.
    """

    facts: BuildFacts
    config: PublicationConfig
    images: ImageFacts
    url: str
    votes: int = 0
    links: LedgerSummary = field(default_factory=LedgerSummary)
    tables: tuple[TableFile, ...] = ()

    @property
    def title(self) -> str:
        """Title of the dataset."""
        return self.config.title or self.facts.name

    @property
    def contact(self) -> str:
        """Where to send questions."""
        return self.config.contact or self.url

    @property
    def license_url(self) -> str:
        """URL of the text of the license."""
        return LICENSES.get(self.config.license, self.config.license)

    @property
    def license_name(self) -> str:
        """Identifier or URL of the license."""
        return self.config.license

    @property
    def examples(self) -> int:
        """Number of rows of all published sets."""
        return sum(manifest.rows for manifest in self.facts.sets.values())
