"""Write croissant.json, the Croissant 1.0 description of a dataset (https://mlcommons.org/croissant)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from schemas.example import example_schema
from schemas.manifest import Manifest

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    pa.int64(): "sc:Integer",
    pa.int32(): "sc:Integer",
    pa.int16(): "sc:Integer",
    pa.float32(): "sc:Float",
    pa.bool_(): "sc:Boolean",
    pa.string(): "sc:Text",
}


def croissant_json(name: str, sets: Mapping[str, Manifest], class_names: Sequence[str]) -> str:
    """Return the text of croissant.json: every shard with its digest, and one record set per set."""
    distribution: list[dict[str, Any]] = []
    record_sets: list[dict[str, Any]] = []
    for set_name, manifest in sets.items():
        for shard in manifest.shards:
            path = f"{set_name}/{shard.file}"
            distribution.append(
                {
                    "@type": "cr:FileObject",
                    "@id": path,
                    "name": path,
                    "contentUrl": path,
                    "contentSize": f"{shard.bytes} B",
                    "encodingFormat": "application/x-parquet",
                    "sha256": shard.sha256,
                }
            )
        has_images = manifest.about.get("mode") != "shared"
        distribution.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{set_name}-shards",
                "name": f"{set_name}-shards",
                "encodingFormat": "application/x-parquet",
                "includes": f"{set_name}/*.parquet",
            }
        )
        fields = [_field(set_name, field) for field in example_schema(class_names, with_images=has_images)]
        record_sets.append({"@type": "cr:RecordSet", "@id": set_name, "name": set_name, "field": fields})
    description = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": "Training sets with a known share of wrong labels, and one test set. Red sets: web images that were "
        "verified as wrong replace clean images. Blue sets: labels of clean images are flipped. The field is_clean states "
        "whether a label is right.",
        "distribution": distribution,
        "recordSet": record_sets,
    }
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


def _field(set_name: str, field: pa.Field) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{set_name}-shards"}, "extract": {"column": field.name}}
    if field.name == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{set_name}/{field.name}",
        "name": f"{set_name}/{field.name}",
        "description": (field.metadata or {}).get(b"about", b"").decode(),
        "dataType": "sc:ImageObject" if field.name == "image" else _TYPES[field.type],
        "source": source,
    }
