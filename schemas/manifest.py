"""manifest: the file that commits a table. It is written last; a folder without a manifest is not a table."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from common.config import build
from common.errors import DataError
from common.json_records import parse_json

MANIFEST = "_manifest.json"  # Arrow, pandas and Spark skip names that begin with _
CARD, CROISSANT = "README.md", "croissant.json"  # of a whole dataset, beside its manifest
ATTRIBUTIONS, WITHHELD, VOTES = "ATTRIBUTION.csv", "withheld.csv", "votes.parquet"
PUBLICATION_FILES = (
    ATTRIBUTIONS, WITHHELD, VOTES, "CITATION.bib", "CITATION.cff", "methods.md", "methods.tex",
)  # fmt: skip
"""Files that a published dataset has beside the card. The list is closed, so that no program travels with a dataset."""
FORMAT_VERSION = 1
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def is_plain_name(name: object) -> bool:
    """Return whether `name` is a file or folder name without separators that stays in its folder."""
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a table."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The shards of a table, and facts about it.

    `about` has what the writing stage states: counts, realized noise, configuration, digests of its inputs. It does not
    depend on the time, the host or the number of workers.
    """

    table: str
    rows: int
    shards: tuple[Shard, ...]
    about: dict[str, Any] = field(default_factory=dict)
    version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Serialize with sorted keys, so that equal manifests are equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def sha256(self) -> str:
        """SHA-256 of the file of this manifest, hexadecimal. It covers all shards, whose digests the manifest has."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Self:
        """Parse a manifest from text or UTF-8 bytes. Raises DataError that names `where` if it is invalid or of another version."""
        try:
            raw = parse_json(text if isinstance(text, str) else text.decode("utf-8"))
            if raw["version"] != FORMAT_VERSION:
                raise DataError(
                    f"{where}: manifest version {raw['version']!r} instead of {FORMAT_VERSION}; run the stage that writes it again"
                )
            manifest = build(cls, raw, "manifest")
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"{where}: not a manifest ({type(error).__name__}: {error}); run the stage that writes it again"
            ) from error
        for shard in manifest.shards:
            if not is_plain_name(shard.file):
                raise DataError(
                    f"{where}: shard name {shard.file!r} is a path out of its folder; do not use this table"
                )
        return manifest
