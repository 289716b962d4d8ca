"""Write croissant.json, the Croissant 1.1 description of a dataset (http://mlcommons.org/croissant/1.1)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.example import EXAMPLE, SHARED_IMAGE_SCHEMA, SHARED_IMAGES, example_schema
from schemas.manifest import Manifest

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract", "field",
    "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
    "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate",
    "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value",
)  # fmt: skip
# Appendix 1 of the specification, and the terms of version 1.0 that mlcroissant asks for.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
DESCRIPTION = (
    "Training sets with a known share of wrong labels, and one test set. Red sets: web images that were verified as wrong "
    "replace clean images. Blue sets: labels of clean images are flipped. The field is_clean states whether a label is right."
)
PARQUET = "application/x-parquet"
_TYPES = {
    pa.int64(): "sc:Integer",
    pa.int32(): "sc:Integer",
    pa.int16(): "sc:Integer",
    pa.float32(): "sc:Float",
    pa.bool_(): "sc:Boolean",
    pa.string(): "sc:Text",
}


# The fields of EXAMPLE, unlike those of SHARED_IMAGE_SCHEMA, have descriptions.
_IMAGES = pa.schema([EXAMPLE.schema.field(name) for name in SHARED_IMAGE_SCHEMA.names])


@dataclass(frozen=True)
class TableFile:
    """A Parquet file beside the sets: its path, size in bytes, SHA-256, schema, and what it holds."""

    path: str
    size: int
    sha256: str
    schema: pa.Schema
    about: str

    @property
    def name(self) -> str:
        """Name of the table: its path without the extension."""
        return self.path.removesuffix(".parquet")


def croissant_json(
    name: str,
    sets: Mapping[str, Manifest],
    class_names: Sequence[str],
    about: Mapping[str, Any] | None = None,
    tables: Sequence[TableFile] = (),
) -> str:
    """Return the text of croissant.json: every shard with its digest, and one record set per set.

    sets: the manifest of each set; in a shared dataset also that of the table of images, which gets a record set, too.
    about: properties of the dataset, which replace those that are made here. tables: files with a record set of their own.
    """
    distribution: list[dict[str, Any]] = []
    record_sets: list[dict[str, Any]] = []
    for set_name, manifest in sets.items():
        for shard in manifest.shards:
            distribution.append(_file(f"{set_name}/{shard.file}", shard.bytes, shard.sha256))
        distribution.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{set_name}-shards",
                "name": f"{set_name}-shards",
                "encodingFormat": PARQUET,
                "includes": f"{set_name}/*.parquet",
            }
        )
        source = {"fileSet": {"@id": f"{set_name}-shards"}}
        if set_name == SHARED_IMAGES:
            schema, described = _IMAGES, "The images of all sets, by image_id."
        else:
            has_images = manifest.about.get("mode") != "shared"
            schema, described = example_schema(class_names, with_images=has_images), ""
        record_sets.append(_record_set(set_name, described, schema, source))
    for table in tables:
        distribution.append(_file(table.path, table.size, table.sha256))
        record_sets.append(
            _record_set(table.name, table.about, table.schema, {"fileObject": {"@id": table.path}})
        )
    description = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": DESCRIPTION,
        **(about or {}),
        "distribution": distribution,
        "recordSet": record_sets,
    }
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


def _file(path: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": PARQUET,
        "sha256": sha256,
    }


def _record_set(name: str, about: str, schema: pa.Schema, source: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": about} if about else {}
    fields = [_field(name, field, source) for field in schema]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, **described, "field": fields}


def _field(set_name: str, field: pa.Field, files: Mapping[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = {**files, "extract": {"column": field.name}}
    if field.name == "image":
        source["transform"] = {"jsonPath": "bytes"}
    kind: str | list[str] = "sc:ImageObject" if field.name == "image" else _TYPES[field.type]
    if field.name == "label":
        kind = [str(kind), "cr:Label"]
    return {
        "@type": "cr:Field",
        "@id": f"{set_name}/{field.name}",
        "name": f"{set_name}/{field.name}",
        "description": (field.metadata or {}).get(b"about", b"").decode(),
        "dataType": kind,
        "source": source,
    }
