"""Publish a build: check licenses, write the folder with everything that its authors owe, and state the result."""

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from common.errors import UsageError
from pipeline import files
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.links.summary import summarize
from pipeline.publish import folder as target
from pipeline.publish.card import published_card
from pipeline.publish.citation import bibtex, citation_cff
from pipeline.publish.facts import read_facts
from pipeline.publish.images import PublishedImages, check_images, write_csv
from pipeline.publish.licenses import LicensePolicy
from pipeline.publish.metadata import croissant_properties
from pipeline.publish.methods import methods
from pipeline.publish.release import Release
from pipeline.publish.votes import pseudonymous_votes, read_key
from pipeline.running.lock import folder_lock
from pipeline.shards.croissant import TableFile, croissant_json
from pipeline.shards.document import latex, markdown
from schemas.manifest import ATTRIBUTIONS, CARD, CROISSANT, MANIFEST, VOTES, WITHHELD
from schemas.published_vote import PUBLISHED_VOTE

_NEEDED = ("authors", "license", "date", "url")
_ABOUT_VOTES = "Valid votes, with pseudonyms of the workers."


def publish(
    build: str,
    config: BuildConfig,
    folder: str,
    *,
    names: Sequence[str] = (),
    ids_only: bool = False,
    url: str = "",
) -> dict[str, Any]:
    """Write the publication of a build to `folder`, and return counts, its files and the digest of its manifest.

    names: training sets to publish (default: all). ids_only: publish the rows of images that may not be given away without
    the image. url: address of the dataset, used if the configuration has none. Equal builds, configurations and ledgers of
    link rot give equal bytes. Raises UsageError for missing statements of the authors, and while another command publishes to
    `folder`, DataError for a build that is not finished, was changed, or has images that may not be given away.
    """
    address = check_statements(config, url)
    key = read_key() if config.publication.votes == "pseudonymous" else b""
    facts = read_facts(build, config, names)
    policy = LicensePolicy.of(config.publication, ids_only)
    images = check_images(build, dict(facts.manifests), policy)
    dataset = Layout(build).dataset
    target.prepare(folder, dataset)
    with folder_lock(folder, "publish", "--to"):
        manifests = target.write_sets(facts, dataset, folder, images.withheld_ids, images.facts.withheld)
        facts = dataclasses.replace(facts, manifests=manifests)
        votes = pseudonymous_votes(build, config, key) if key else None
        links = summarize(Layout(build).links)
        files_of_votes = {VOTES: target.parquet_bytes(votes)} if votes else {}
        tables = tuple(
            TableFile(name, len(data), target.digest(data), PUBLISHED_VOTE.schema, _ABOUT_VOTES)
            for name, data in files_of_votes.items()
        )
        count = votes.num_rows if votes else 0
        release = Release(facts, config.publication, images.facts, address, count, links, tables)
        texts = _texts(release, images) | files_of_votes
        texts[CROISSANT] = croissant_json(
            release.title, facts.manifests, facts.classes, croissant_properties(release), tables
        ).encode()
        target.commit_folder(folder, facts, manifests, texts, _stated(release, config, address))
        return {
            "folder": folder,
            "sets": sorted(facts.sets),
            "examples": release.examples,
            "images": images.facts.images,
            "withheld_images": images.facts.withheld_images,
            "withheld_without_url": images.facts.withheld_without_url,
            "votes": release.votes,
            "files": sorted(texts),
            "bytes": target.total_bytes(manifests.values(), texts),
            "manifest_sha256": files.sha256(files.join(folder, MANIFEST)),
        }


def _stated(release: Release, config: BuildConfig, address: str) -> dict[str, str]:
    """Return what the manifest of the dataset says about the publication."""
    return {
        "title": release.title,
        "version": config.publication.version,
        "date": config.publication.date,
        "license": release.license_name,
        "url": address,
    }


def check_statements(config: BuildConfig, url: str) -> str:
    """Return the address of the dataset. Raises UsageError that names the statements that only the authors can make."""
    stated = config.publication
    address = stated.url or url
    values = {"authors": stated.authors, "license": stated.license, "date": stated.date, "url": address}
    if missing := [name for name in _NEEDED if not values[name]]:
        raise UsageError(
            f"publication: {', '.join(missing)} missing in the configuration; add them to the section 'publication' "
            "(docs/how-to/publish.md)"
        )
    return address


def _texts(release: Release, images: PublishedImages) -> dict[str, bytes]:
    document = methods(release)
    texts = {
        CARD: published_card(release),
        "CITATION.cff": citation_cff(release),
        "CITATION.bib": bibtex(release),
        "methods.md": markdown(document),
        "methods.tex": latex(document),
    }
    found = {name: text.encode() for name, text in texts.items()}
    for name, rows in ((ATTRIBUTIONS, images.attributions), (WITHHELD, images.withheld)):
        if rows.num_rows:
            buffer = BytesIO()
            write_csv(rows, buffer)
            found[name] = buffer.getvalue()
    return found
