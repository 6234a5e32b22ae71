"""Chosen rows in the form that a trainer's own loader reads.

```
exporting   the order of it all: refuse, choose, check the sources, write the parts, finish
where       which fates are meant         chosen      those rows, in the order of their hashes
target      what the folder may hold      pictures    their bytes, from tars and Parquet files
captions    what must not stand in one    contents    what an export says of itself, for `verify`
format      what a format is              formats     all of them
```

An export is a stage in `OUT/.coreset/export/`: `plan.json`, a Parquet for each part that commits it,
`stage.json`. What trainers read lies in `OUT` itself. The hidden folder may be removed when nothing is to be
continued or verified any more.

**A new format** is a module with three things, and a line in `formats.FORMATS`:

- a frozen dataclass of its parameters, an `ExportParams`, with `stage = "export-NAME"` and the meaning of
  each field in `metadata["help"]`; a field that a flag sets has the flag's name (`cli/exporting.py`);
- `write(rows, params, part) -> Summary`, which writes one part of `ChosenRows`: files in `OUT` through
  `part.file(beside(NAME))` or `part.bundle()`, and the part's Parquet last, by `ContentsWriter` or any table
  that carries the receipt. `chosen` and `written` are in the summary, and `excluded_REASON` for the rest;
- `finish(finished) -> [names]`, if there are files that hold all parts: they are written when all parts are
  there, and `stage.json` after them.
"""
