"""Return the properties of a published dataset in croissant.json: schema.org, the RAI vocabulary, and provenance.

RAI: http://mlcommons.org/croissant/RAI/1.0; provenance: PROV-O, as in section "Provenance Representation" of Croissant 1.1.
"""

from typing import Any

from pipeline.publication_config import Author
from pipeline.publish import statements as say
from pipeline.publish.card import keywords
from pipeline.publish.citation import bibtex
from pipeline.publish.release import Release
from pipeline.shards.croissant import CONFORMS_TO

RAI = "http://mlcommons.org/croissant/RAI/1.0"


def croissant_properties(release: Release) -> dict[str, Any]:
    """Return the properties of the dataset, in JSON types."""
    config = release.config
    return {
        "conformsTo": [CONFORMS_TO, RAI],
        "name": release.title,
        "description": say.description(release),
        "url": release.url,
        "license": release.license_url,
        "version": config.version,
        "datePublished": config.date,
        "creator": [_creator(author) for author in config.authors],
        "keywords": keywords(release),
        "citeAs": bibtex(release),
        "isLiveDataset": False,
        **({"sameAs": f"https://doi.org/{config.doi}"} if config.doi else {}),
        **_provenance(release),
        **_responsible(release),
    }


def _creator(author: Author) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "sc:Organization" if author.kind == "organization" else "sc:Person",
        "name": author.name,
    }
    if author.orcid_digits:
        found["url"] = f"https://orcid.org/{author.orcid_digits}"
    if author.affiliation and author.kind == "person":
        found["affiliation"] = {"@type": "sc:Organization", "name": author.affiliation}
    return found


def _provenance(release: Release) -> dict[str, Any]:
    sets = [each.about for each in release.facts.sets.values()]
    activities = [
        ("Collection", say.collection(release)),
        ("Annotation", say.annotation(release)),
        ("Removal of near-duplicates and leaks", say.duplicates(release)),
        ("Controlled noise", say.training_sets(sets, release.facts.root["config"]["seed"])),
    ]  # fmt: skip
    found: dict[str, Any] = {
        "prov:wasGeneratedBy": [
            {"@type": "prov:Activity", "prov:label": name, "description": text} for name, text in activities
        ]
    }
    if release.config.derived_from:
        found["prov:wasDerivedFrom"] = [
            {"@id": source} if source.startswith(("http://", "https://")) else {"prov:label": source}
            for source in release.config.derived_from
        ]
    return found


def _responsible(release: Release) -> dict[str, Any]:
    config, facts = release.config, release.facts
    sets = [each.about for each in facts.sets.values()]
    kinds = ["Web Scraping"] if facts.candidates_with_url else ["Secondary Data analysis"]
    if facts.votes.questions:
        kinds.append("Manual Human Curator")
    rejected = sum(facts.list_rejections.values())
    found: dict[str, Any] = {
        "rai:dataCollection": say.collection(release),
        "rai:dataCollectionType": kinds,
        "rai:dataCollectionMissingData": f"{rejected:,} list rows gave no image; each has a rejection code."
        + (
            f" {release.images.withheld_images:,} images are withheld for their license."
            if release.images.withheld_images
            else ""
        ),
        "rai:dataCollectionRawData": _raw_data(release),
        "rai:dataPreprocessingProtocol": say.preprocessing(release),
        "rai:dataManipulationProtocol": " ".join([say.manipulation(sets), say.class_counts(sets)]),
        "rai:dataAnnotationProtocol": say.annotation(release),
        "rai:annotationsPerItem": say.per_item(release),
        "rai:annotatorDemographics": [say.demographics(release)],
        "rai:dataUseCases": say.uses(release),
        "rai:dataBiases": say.biases(release),
        "rai:dataLimitations": say.limitations(release),
        "rai:dataSocialImpact": say.social_impact(release),
        "rai:personalSensitiveInformation": [say.personal(release)],
        "rai:dataReleaseMaintenancePlan": say.maintenance(release),
        "rai:hasSyntheticData": config.synthetic_images,
    }
    if config.annotation_platform:
        found["rai:dataAnnotationPlatform"] = [config.annotation_platform]
    if analysis := say.agreement(release):
        found["rai:dataAnnotationAnalysis"] = analysis
    if dates := [day for day in (config.collected_from, config.collected_until) if day]:
        found["rai:dataCollectionTimeframe"] = dates
    return found


def _raw_data(release: Release) -> str:
    lists = release.facts.stages["ingest"]
    names = [f"{len(lists.get(kind, []))} {kind}" for kind in ("clean", "test", "web") if lists.get(kind)]
    text = f"Lists of images ({say.listed(names)})" if names else "Lists of images"
    sources = release.config.derived_from
    return f"{text}; derived from {say.listed(sources)}." if sources else f"{text}."
