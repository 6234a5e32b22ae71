"""Croissant metadata (JSON-LD, version 1.0) of a folder of Parquet files with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from coreset.engine.files import JSON

VERSION = "http://mlcommons.org/croissant/1.0"
CONTEXT: JSON = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
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
"""The names of Croissant 1.0, as its specification gives them."""
CITE = "M. He et al., Efficient Multimodal Learning from Data-centric Perspective, arXiv 2402.11530 (the method)"
MEANT = {pa.string(): "sc:Text", pa.int32(): "sc:Integer", pa.int64(): "sc:Integer", pa.float32(): "sc:Float"}
PARQUET = "application/x-parquet"


def croissant_of(files: Sequence[tuple[str, str]], types: Mapping[str, pa.DataType]) -> JSON:
    """The metadata of some files.

    Args:
        files: their names from the folder, and the sha256 of each
        types: of the columns besides `image`

    Example:
        >>> croissant_of([("data/0.parquet", "0" * 64)], {})["distribution"][0]["contentUrl"]
        'data/0.parquet'
    """
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "encodingFormat": PARQUET,
            "sha256": digest,
        }
        for name, digest in files
    ]
    whole = {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "encodingFormat": PARQUET,
        "includes": "data/*.parquet",
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": "coreset",
        "description": "Image-text pairs that coreset selected from a larger collection; README.md says from which.",
        "license": "other; README.md says what that means",
        "citeAs": CITE,
        "version": "1.0.0",
        "distribution": [*objects, whole],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "pairs",
                "name": "pairs",
                "field": [_field("image", "sc:ImageObject", "bytes"), *(_field(n, MEANT[t]) for n, t in types.items())],
            }
        ],
    }


def _field(name: str, kind: str, inside: str | None = None) -> JSON:
    """A column; `inside` names what is taken of its struct."""
    source: JSON = {"fileSet": {"@id": "shards"}, "extract": {"column": name}}
    if inside:
        source["transform"] = {"jsonPath": inside}
    return {"@type": "cr:Field", "@id": f"pairs/{name}", "name": name, "dataType": kind, "source": source}
