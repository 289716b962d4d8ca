"""Write the card of a published dataset: that of the build (pipeline/shards/card.py), with what a publication adds."""

from typing import Any

from page.markdown import one_line
from pipeline.publish import statements as say
from pipeline.publish.citation import bibtex
from pipeline.publish.release import Release
from pipeline.publish.tables import link_rot, rejection_table
from pipeline.rejections import printable
from pipeline.shards.card import ABOUT, card_text, config_entry, funnel_table, set_blocks, shared_images
from pipeline.shards.document import Block, Code, Grid, Heading, Items, Paragraph, Verbatim, items
from schemas.manifest import ATTRIBUTIONS, VOTES, WITHHELD

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGEST = "10M<n<100M"
_VOTE_KEYWORD = "crowdsourcing"
_KEYWORDS = ("label noise", "noisy labels", "controlled noise", "image classification", _VOTE_KEYWORD)
# Licenses that the hub calls otherwise than their SPDX identifiers in lower case.
_HUB_NAME = {"ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl"}
# Of the licenses of a publication, those that the hub lists (https://huggingface.co/docs/hub/repositories-licenses).
_ON_HUB = {
    "apache-2.0", "mit", "cc0-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "odbl", "odc-by", "pddl",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
}  # fmt: skip


def published_card(release: Release) -> str:
    """Return the text of README.md."""
    facts = release.facts
    values = {name: manifest.about for name, manifest in facts.sets.items()}
    blocks: list[Block] = [
        Heading(release.title, 1),
        *([Paragraph(release.config.description)] if release.config.description else []),
        ABOUT,
        *set_blocks(facts.entries, values),
        *shared_images(facts.entries),
        Heading("Authors, license and citation"),
        _authors(release),
        _license(release),
        Verbatim(bibtex(release), "bibtex"),
        Heading("Collection"),
        Paragraph(say.collection(release)),
        items(say.preprocessing(release)),
        Heading("How many rows each step left", 3),
        funnel_table(facts.root["funnel"]),
        Heading("Rejections", 3),
        rejection_table(release),
        *link_rot(release, 3),
        *_images(release),
        Heading("Annotation"),
        Paragraph(say.annotation(release)),
        Grid(
            ("property", "value"),
            [
                ("votes per question", say.per_item(release)),
                ("platform", release.config.annotation_platform or say.NOT_STATED),
                ("workers as a group", say.demographics(release)),
                ("recruitment and pay", release.config.annotator_pay or say.NOT_STATED),
            ],
            numeric_from=2,
        ),
        *_agreement(release),
        *_votes(release),
        Heading("Verified noise"),
        items(say.noise(release)),
        Heading("Intended uses"),
        items(say.uses(release)),
        Heading("Limits"),
        items(say.limitations(release)),
        Heading("Biases"),
        items(say.biases(release)),
        Heading("Personal and sensitive information"),
        Paragraph(say.personal(release)),
        Heading("Social impact"),
        Paragraph(say.social_impact(release)),
        Heading("Maintenance"),
        Paragraph(say.maintenance(release)),
        Heading("Reproduction and verification"),
        Paragraph(
            Code("methods.md"), " and ", Code("methods.tex"), " describe the build with its configuration. ",
            Code("python -m pipeline verify FOLDER"), " checks every file, row and image against the manifests.",
        ),
    ]  # fmt: skip
    return card_text(_metadata(release), facts.entries, blocks, _configs(release))


def _configs(release: Release) -> tuple[dict[str, Any], ...]:
    """Return the entries of the tables beside the sets in the YAML header."""
    return tuple(
        config_entry(table.name, [{"split": "train", "path": table.path}], {table.name: table.sha256})
        for table in release.tables
    )


def _metadata(release: Release) -> dict[str, Any]:
    """Return the YAML metadata of the hub."""
    rows, config = release.examples, release.config
    return {
        "pretty_name": one_line(release.title),
        **hub_license(config.license, release.license_url),
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), _LARGEST)],
        "annotations_creators": ["crowdsourced" if release.facts.votes.questions else "found"],
        "source_datasets": ["extended" if config.derived_from else "original"],
        "tags": list(map(one_line, keywords(release))),
    }


def keywords(release: Release) -> list[str]:
    """Return the keywords of the dataset: ours, without that of votes if there are none, and those of the authors."""
    ours = [word for word in _KEYWORDS if word != _VOTE_KEYWORD or release.facts.votes.questions]
    return [*ours, *release.config.keywords]


def hub_license(license_id: str, url: str) -> dict[str, str]:
    """Return the keys of the hub for a license: an SPDX identifier or a URL, and the URL of its text.

    The hub refuses an identifier that it does not list, so such a license is `other`, with its name and link.
    """
    name = _HUB_NAME.get(license_id, license_id.lower())
    if name in _ON_HUB:
        return {"license": name}
    name = "custom" if license_id.startswith("http") else name
    return {"license": "other", "license_name": name, "license_link": url}


def _authors(release: Release) -> Items:
    lines = []
    for author in release.config.authors:
        parts = [author.name, author.affiliation]
        if author.orcid_digits:
            parts.append(f"https://orcid.org/{author.orcid_digits}")
        lines.append(", ".join(filter(None, parts)))
    return items(lines)


def _license(release: Release) -> Grid:
    config = release.config
    return Grid(
        ("property", "value"),
        [
            ("license of labels, metadata and selection", release.license_name),
            *(
                [("text of the license", release.license_url)]
                if release.license_url != release.license_name
                else []
            ),
            ("version", config.version),
            ("published", config.date),
            ("page", release.url),
            *([("DOI", config.doi)] if config.doi else []),
            ("contact", release.contact),
            *([("derived from", source) for source in config.derived_from]),
        ],
        numeric_from=2,
    )


def _images(release: Release) -> list[Block]:
    """Return the licenses of the images by count, and which images are withheld."""
    rows = [
        (source, name, printable(stated) or "not stated", f"{count:,}")
        for source, counts in release.images.by_license.items()
        for (name, stated), count in counts.items()
    ]
    found: list[Block] = [
        Heading("Licenses of the images"),
        Paragraph(
            "Each image keeps its own license. Licenses are those that lists and search providers state, or that the authors "
            "vouch for where a list states none; they were not verified."
        ),
        Grid(("images", "license class", "as stated", "count"), rows, numeric_from=3),
    ]
    if release.images.attributed:
        found.append(
            Paragraph(
                Code(ATTRIBUTIONS), " has author, title, license and addresses of each image, where known."
            )
        )
    if release.images.withheld_images:
        found.append(
            Paragraph(
                f"{release.images.withheld_images:,} images may not be given away. Their rows have no image; ",
                Code(WITHHELD),
                " is a retrieval list of them with URL, SHA-256 and class, which the fetch stage of a build reads; "
                f"{release.images.withheld_urls}.",
            )
        )
    return found


def _agreement(release: Release) -> list[Block]:
    found = say.agreement(release)
    return [Heading("Agreement of the workers", 3), items(found)] if found else []


def _votes(release: Release) -> list[Block]:
    if not release.votes:
        return []
    return [
        Paragraph(
            Code(VOTES),
            f" has the {release.votes:,} valid votes with pseudonyms of the workers: keyed hashes, whose key is not published.",
        )
    ]
