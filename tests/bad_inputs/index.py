"""Write docs/bad-inputs.md from the cases: `python tests/bad_inputs/index.py`; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "bad-inputs.md"
INTRODUCTION = """\
# Bad inputs

<!-- Written by tests/bad_inputs/index.py from the cases beside it: change those, then run it. -->

Everything here is made and tried by `tests/bad_inputs/`: {count} inputs, each with what comes of it. A sample that
cannot be used is in quarantine with the reason named here, and the whole samples around it come through as if it were
not there. What cannot be used at all is refused in one sentence with the exit code named here, before anything of a
run is written or replaced. [What can go wrong](failure-modes.md) says what to do about each reason and code."""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or say that it is out of date; the exit code."""
    text = page()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write("docs/bad-inputs.md is out of date; run `python tests/bad_inputs/index.py`\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The text of the page."""
    from bad_inputs import (
        cases_captions,
        cases_embeddings,
        cases_encoders,
        cases_image_parquet,
        cases_parameters,
        cases_pictures,
        cases_tars,
    )

    sections = {
        "Tars": [*cases_tars.SHARDS, *cases_parameters.NO_SHARDS],
        "Pictures": cases_pictures.SHARDS,
        "Captions and metadata": cases_captions.SHARDS,
        "Parquet files of pictures": [*cases_image_parquet.SHARDS, *cases_image_parquet.REFUSED],
        "Folders of vectors": [*cases_embeddings.FOLDERS, *cases_embeddings.VECTORS],
        "Models and centroids": [*cases_encoders.MODELS, *cases_parameters.MODELS],
        "Encoders of one's own, and vectors that are reused": [*cases_encoders.OWN, *cases_encoders.REUSED],
        "Values": [*cases_parameters.VALUES, *cases_parameters.RECIPES],
    }
    lines = [INTRODUCTION.format(count=sum(map(len, sections.values())))]
    for title, cases in sections.items():
        lines += ["", f"## {title}", "", "| input | what comes of it |", "|---|---|"]
        lines += [f"| {cell(case.given)} | {cell('; '.join(outcome(case)))} |" for case in cases]
    return "\n".join(lines) + "\n"


def outcome(case: object) -> Iterator[str]:
    """What comes of a case, in words."""
    code = getattr(case, "code", 0)
    refused = [told.split()[-1] for told in getattr(case, "refuses", ())]
    about = [told.split() for told in getattr(case, "shard", ())]
    if code and not getattr(case, "effect", ""):
        yield f"exit {code}: " + " … ".join(f'"{word}"' for word in case.words)  # type: ignore[attr-defined]
        return
    if code:
        yield f"exit {code}"
    if refused:
        yield "quarantine: " + ", ".join(f"`{reason}`" for reason in dict.fromkeys(refused))
    if about:
        counted = [f"`{reason}`" + (f" of {rows} samples" if rows != "0" else "") for reason, rows in about]
        yield "about the shard: " + ", ".join(counted)
    if not (code or refused or about):
        yield "accepted"
    if case.effect:  # type: ignore[attr-defined]
        yield str(case.effect)  # type: ignore[attr-defined]


def cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    sys.exit(main(sys.argv[1:]))
