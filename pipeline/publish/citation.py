"""Write CITATION.cff (Citation File Format 1.2.0) and the BibTeX entry of a dataset."""

import re
from typing import Any

import yaml

from page.markdown import one_line
from pipeline.publication_config import LICENSES, Author
from pipeline.publish import statements as say
from pipeline.publish.release import Release
from pipeline.shards.document import latex_text

MESSAGE = "If you use this dataset, please cite it as below."


def citation_cff(release: Release) -> str:
    """Return the text of CITATION.cff."""
    config = release.config
    licensed = "license" if config.license in LICENSES else "license-url"
    entry: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": MESSAGE,
        "type": "dataset",
        "title": one_line(release.title),
        "abstract": one_line(say.description(release)),
        "authors": [_person(author) for author in config.authors],
        "version": config.version,
        "date-released": config.date,
        licensed: config.license,
        "url": release.url,
        "keywords": [
            one_line(word) for word in dict.fromkeys(("label noise", "noisy labels", *config.keywords))
        ],
    }
    if config.doi:
        entry["doi"] = config.doi
    return yaml.safe_dump(entry, sort_keys=False, allow_unicode=True)


def _person(author: Author) -> dict[str, str]:
    more = {"affiliation": one_line(author.affiliation)} if author.affiliation else {}
    if author.orcid_digits:
        more["orcid"] = f"https://orcid.org/{author.orcid_digits}"
    if author.kind == "organization":
        more.pop("affiliation", None)  # which entities do not have
        return {"name": one_line(author.name), **more}
    family, given = map(one_line, author.family_and_given)
    return {"family-names": family, **({"given-names": given} if given else {}), **more}


def bibtex(release: Release) -> str:
    """Return the BibTeX entry of the dataset: that of the configuration, or one made from it."""
    config = release.config
    if config.citation:
        return config.citation.strip() + "\n"
    fields = {
        "author": " and ".join(_bibtex_name(author) for author in config.authors),
        "title": f"{{{latex_text(release.title)}}}",
        "year": config.date[:4],
        "version": config.version,
        "url": release.url,  # verbatim, and without braces (pipeline/publication_config.py)
        **({"doi": config.doi} if config.doi else {}),
        "note": f"Dataset, version {config.version}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{_key(release)},", *lines, "}"]) + "\n"


def _bibtex_name(author: Author) -> str:
    if author.kind == "organization":
        return f"{{{latex_text(author.name)}}}"
    family, given = (latex_text(name) for name in author.family_and_given)
    family = f"{{{family}}}" if " " in family else family
    return f"{family}, {given}" if given else family


def _key(release: Release) -> str:
    """Return the key of the entry: family name of the first author, year, first word of the name."""
    first = release.config.authors[0].family_and_given[0]
    words = (first, release.config.date[:4], release.facts.name.split("-")[0])
    return re.sub(r"[^A-Za-z0-9]", "", "".join(words)).lower() or "dataset"
