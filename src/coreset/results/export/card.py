"""The data card of an exported coreset: what it is, how it came to be, and what nobody has looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from coreset import rows
from coreset.account import funnel
from coreset.engine.files import Location, join, read_json
from coreset.results.export.format import Finished

STAGES = ("rows", "clusters", "dedup", "coreset")
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""The Hub's words for sizes: below so many rows."""
LICENCE = """\
The selection changes no licence. Each picture and each caption has the licence and the rights of where it came from:
the column `url` says where, as far as the input did. Whoever passes these files on has to have looked into that.
`license: other` stands for this; replace it when you know."""
SAFETY = """\
coreset judges similarity, never content. Nothing was filtered for harmful, illegal or private pictures or texts, and
near-duplicates were removed by their looks alone. If the source is a crawl of the web, run the filters that you trust
before you train on this or publish it, and take away what must not be used: `coreset dedup --exclude FILE`."""
ABOUT = """\
{written:,} pairs, selected by [Bunny's method](https://arxiv.org/abs/2402.11530): near-duplicates joined, then windows
of ranks by how well caption and picture fit, and by how typical the picture is, then a seeded draw. Every step is exact
and repeats. The rows here have the fate {where}."""


def card_text(done: Finished[Any], types: Mapping[str, pa.DataType]) -> str:
    """The card as Markdown, with what the Hub reads at its head.

    Args:
        done: the export
        types: of the columns besides `image`
    """
    return "\n".join(_lines(done, types)) + "\n"


def _lines(done: Finished[Any], types: Mapping[str, pa.DataType]) -> Iterator[str]:
    written, params = done.counts["written"], done.params
    yield from front_matter(written)
    yield "# A coreset of image-text pairs"
    yield ""
    yield ABOUT.format(written=written, where=" or ".join(f"`{fate}`" for fate in params.where))
    yield ""
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    yield 'pairs = load_dataset("PATH/OF/THIS/FOLDER", split="train")'
    yield "```"
    yield ""
    yield from section("How many came how far", funnel_table(done.run))
    left_out = {name: count for name, count in done.counts.items() if name.startswith("excluded_") and count}
    for name, count in left_out.items():
        yield f"{count:,} of the chosen rows are not here: {name.removeprefix('excluded_')}."
        yield ""
    yield from section("Parameters", parameters(done.run))
    yield from section("Columns", columns(types))
    yield from section("Licence", [LICENCE])
    yield from section("Safety", [SAFETY])


def front_matter(written: int) -> Iterator[str]:
    """What the Hub and `datasets` read: where the data lie, and what they are."""
    yield "---"
    yield "license: other"
    yield "task_categories:"
    yield "- image-to-text"
    yield "size_categories:"
    yield f"- {next((name for size, name in SIZES if written < size), '10M<n<100M')}"
    yield "configs:"
    yield "- config_name: default"
    yield "  data_files:"
    yield "  - split: train"
    yield "    path: data/*.parquet"
    yield "---"
    yield ""


def section(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    """A section."""
    yield f"## {title}"
    yield ""
    yield from lines
    yield ""


def funnel_table(run: Location) -> Iterator[str]:
    """The steps of the selection with their counts."""
    yield "| step | rows | |"
    yield "|---|---:|---|"
    for step in funnel(run):
        yield f"| {step.name} | {step.rows:,} | {step.note} |"


def parameters(run: Location) -> Iterator[str]:
    """The parameters of each stage as they were recorded; those that were not given are left out."""
    yield "| stage | parameter | value |"
    yield "|---|---|---|"
    for folder in STAGES:
        plan = read_json(join(run, folder, "plan.json")) or {"stage": folder, "params": {}}
        for name, value in sorted(plan["params"].items()):
            if value is None:
                continue
            said = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
            yield f"| {plan['stage']} | {name} | `{said}` |"


def columns(types: Mapping[str, pa.DataType]) -> Iterator[str]:
    """The columns with their meanings, as a run's files have them."""
    known = {column.name: column.meaning for column in (*rows.ROW_COLUMNS, *rows.CLUSTER_COLUMNS, *rows.DEDUP_COLUMNS)}
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    yield "| `image` | struct | `bytes` of the picture as they were stored, and `path`: a name |"
    for name, kind in types.items():
        meaning = (
            known.get(name, "what became of the row: `kept` is in the coreset").replace("<", "&lt;").replace("|", "\\|")
        )
        yield f"| `{name}` | {kind} | {meaning} |"
