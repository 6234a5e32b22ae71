"""Flags that are named after a parameter: help page and default come from the stage's params."""

from __future__ import annotations

from typing import Annotated

import typer

from coreset.cli.complete import values_of
from coreset.cli.options import place_location

Shards = Annotated[
    list[str] | None,
    typer.Argument(help="Tars: paths, globs, {00000..00099} braces, or a .txt file of them.", show_default=False),
]
Model = Annotated[str | None, typer.Option("--model", help="embed.model", show_default=False)]
Pretrained = Annotated[str | None, typer.Option("--pretrained", help="embed.pretrained", show_default=False)]
Device = Annotated[
    str | None, typer.Option("--device", help="embed.device", show_default=False, autocompletion=values_of("device"))
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="embed.precision", show_default=False, autocompletion=values_of("precision")),
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="embed.batch_size", show_default=False)]
PrefixKeys = Annotated[
    bool | None, typer.Option("--prefix-keys/--plain-keys", help="embed.prefix_keys", show_default=False)
]
Folder = Annotated[
    str | None, typer.Argument(help="A folder of vectors: clip-retrieval, .npy, .npz or Parquet.", show_default=False)
]
Format = Annotated[
    str | None, typer.Option("--format", help="import.format", show_default=False, autocompletion=values_of("format"))
]
Normalize = Annotated[
    bool | None, typer.Option("--normalize/--no-normalize", help="import.normalize", show_default=False)
]
TextCosine = Annotated[
    str | None,
    typer.Option(
        "--text-cosine", help="import.text_cosine", show_default=False, autocompletion=values_of("text_cosine")
    ),
]
Features = Annotated[
    str | None,
    typer.Option("--features", help="import.features", show_default=False, autocompletion=values_of("features")),
]
VectorColumn = Annotated[
    str | None, typer.Option("--embedding-column", help="import.embedding_column", show_default=False)
]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="import.text_column", show_default=False)]
TextFolder = Annotated[str | None, typer.Option("--text-embeddings", help="import.text_embeddings", show_default=False)]
MetadataFolder = Annotated[str | None, typer.Option("--metadata", help="import.metadata", show_default=False)]
MissingCaption = Annotated[
    bool | None,
    typer.Option(
        "--allow-missing-caption/--refuse-missing-caption", help="embed.allow_missing_caption", show_default=False
    ),
]
MissingText = Annotated[
    bool | None,
    typer.Option(
        "--allow-missing-caption/--refuse-missing-caption", help="import.allow_missing_caption", show_default=False
    ),
]
KeepTextVectors = Annotated[
    bool | None,
    typer.Option("--keep-text-vectors/--drop-text-vectors", help="embed.keep_text_vectors", show_default=False),
]
Reuse = Annotated[str | None, typer.Option("--reuse", help="embed.reuse", show_default=False, callback=place_location)]
Decoder = Annotated[str | None, typer.Option("--decoder", help="embed.decoder", show_default=False)]
PrefixSources = Annotated[
    bool | None, typer.Option("--prefix-keys/--plain-keys", help="import.prefix_keys", show_default=False)
]
Threshold = Annotated[float | None, typer.Option("--threshold", help="dedup.threshold", show_default=False)]
Clusters = Annotated[int | None, typer.Option("--clusters", help="cluster.clusters", show_default=False)]
Centroids = Annotated[
    str | None, typer.Option("--centroids", help="cluster.centroids", show_default=False, callback=place_location)
]
Exclude = Annotated[
    str | None, typer.Option("--exclude", help="cluster.exclude", show_default=False, callback=place_location)
]
Keep = Annotated[
    str | None, typer.Option("--keep", help="dedup.keep", show_default=False, autocompletion=values_of("keep"))
]
MinKeptCosine = Annotated[
    float | None, typer.Option("--min-kept-cosine", help="dedup.min_kept_cosine", show_default=False)
]
KeepFraction = Annotated[
    str | None,
    typer.Option(
        "--keep-fraction",
        help="Take the highest threshold at which at most this fraction of the rows is kept; makes RUN/forest.",
        show_default=False,
    ),
]
Floor = Annotated[
    float | None,
    typer.Option(
        "--floor", help="Lowest threshold of RUN/forest. [default: as it stands, else 0.8]", show_default=False
    ),
]
Number = Annotated[int | None, typer.Option("-n", help="sample.n", show_default=False)]
Window = tuple[float, float]
TextRank = Annotated[Window | None, typer.Option("--text-rank", help="sample.text_rank", show_default=False)]
CentroidRank = Annotated[
    Window | None, typer.Option("--centroid-rank", help="sample.centroid_rank", show_default=False)
]
Seed = Annotated[int | None, typer.Option("--seed", help="sample.seed", show_default=False)]
AllowFewer = Annotated[
    bool | None, typer.Option("--allow-fewer/--no-fewer", help="sample.allow_fewer", show_default=False)
]
