"""What became of a sample and why: its fate, its ranks, its component, and the chain to the row that stands for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coreset import rows
from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import Location
from coreset.results.beside import clusters_behind
from coreset.results.explain.chain import NODE_COLUMNS, Chain, chain_to_kept, threshold_of
from coreset.results.explain.search import Hits, searched
from coreset.results.explain.standing import Rank, standings
from coreset.results.fate import EXCLUDED, NOT_DECIDED, QUARANTINED, Decided, Judged, judged
from coreset.results.lookup import (
    Place,
    component_places,
    excluded_rows,
    found_places,
    quarantined_samples,
    rows_at,
)

SHOWN = 100
"""Characters of a word that a message repeats."""


@dataclass(frozen=True)
class Explained:
    """What became of a sample, and why.

    Attributes:
        key: of the sample
        fate: as `coreset decisions` says it
        row: all columns that there are of it: of `dedup/`, of an excluded row, or of the quarantine
        cluster_size: rows of its cluster; None if it is in none
        ranks: in the windows that it came to
        kept: the row that stands for its component, with its fate; None if it is that one, or no component has it
        chain: what joins the two; None likewise, or if `clusters/` is gone
        notes: sentences on what is not as usual
    """

    key: str
    fate: str
    row: dict[str, Any]
    cluster_size: int | None = None
    ranks: tuple[Rank, ...] = ()
    kept: dict[str, Any] | None = None
    chain: Chain | None = None
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The fate in one line."""
        if self.kept is not None:
            return f"duplicate of {self.kept['key']}, whose fate is: {self.kept['fate']}"
        if self.fate == QUARANTINED:
            return f"quarantined: {self.row['reason']}: {self.row['detail']}"
        return SENTENCES.get(self.fate, self.fate)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        said = dataclasses.asdict(self)
        return {"key": self.key, "fate": self.fate, "sentence": self.sentence, **said}


SENTENCES = {
    "kept": "kept: it is in the coreset",
    "not sampled": "not sampled: in both windows, and not among those that were drawn",
    "no caption": "no caption: it has no text rank, and is never drawn",
    EXCLUDED: "excluded: a list of --exclude names its key, url or hash",
    NOT_DECIDED: "a survivor of dedup; `coreset sample` decides the rest",
}
"""Fates that need more words than their name."""


def explained(run: Location, words: Sequence[str]) -> list[Explained | Hits]:
    """What became of some samples of a run.

    Args:
        run: the run directory; without `coreset/`, only what dedup decides is known
        words: keys; or words of captions, where they are no keys

    Returns:
        For each word the sample; or the rows whose captions hold it, if these are several.

    Raises:
        InputError: A word is no key and in no caption; names the nearest keys. Or there is no complete `dedup/`.
        UsageError: A word is empty, or no text.
    """
    for word in words:
        _check(word)
    by = judged(run)
    found = explained_keys(by, words)
    return [found[word] if word in found else _meant(by, word) for word in words]


def _check(word: str) -> None:
    if not word.strip():
        raise UsageError("A key or words of a caption are asked for, and '' is empty.")
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{ascii(word)[:SHOWN]} is not UTF-8, and neither a key nor a caption can hold it.") from error


def _meant(by: Judged, word: str) -> Explained | Hits:
    """What a person means by words that are no key."""
    hits = searched(by, word)
    if len(hits.rows) == 1:
        key = hits.rows[0]["key"]
        return explained_keys(by, [key])[key]
    if hits.rows:
        return hits
    near = f"the nearest keys are {', '.join(hits.nearest)}" if hits.nearest else "the run has no keys"
    raise InputError(f"{word[:SHOWN]} is no key of {by.run} and in no caption; {near}.")


def explained_keys(by: Judged, keys: Sequence[str]) -> dict[str, Explained]:
    """What became of the samples with some keys; keys that no sample has are left out."""
    places = found_places(by.dedup, keys)
    ranks = standings(by, list(places.values())) if isinstance(by, Decided) else [()] * len(places)
    found = {key: explained_row(by, place, own) for (key, place), own in zip(places.items(), ranks, strict=True)}
    for key, row in excluded_rows(by, keys).items():
        found[key] = Explained(key, EXCLUDED, row)
    for key, entries in quarantined_samples(by, keys).items():
        also = tuple(f"Another sample with this key: {_refused(entry)}." for entry in entries)
        if key in found:
            found[key] = dataclasses.replace(found[key], notes=(*found[key].notes, *also))
        else:
            found[key] = Explained(key, QUARANTINED, entries[0], notes=also[1:])
    return found


def _refused(entry: dict[str, Any]) -> str:
    return f"of {entry['source']}, quarantined: {entry['reason']}: {entry['detail']}"


def explained_row(by: Judged, place: Place, ranks: tuple[Rank, ...]) -> Explained:
    """What became of a row of `dedup/`."""
    row = rows_at(by, place, np.array([place.row]), rows.DEDUP.names).to_pylist()[0]
    found = Explained(row["key"], row.pop("fate"), row, place.stop - place.start, ranks)
    if row["kept"]:
        return found
    members = component_places(place)
    kept = int(members[rows_at(by, place, members, ["kept"])["kept"].to_numpy().argmax()])
    stands = rows_at(by, place, np.array([kept]), NODE_COLUMNS).to_pylist()[0]
    chain, notes = _joined(by, place, kept)
    return dataclasses.replace(found, kept=stands, chain=chain, notes=notes)


def _joined(by: Judged, place: Place, kept: int) -> tuple[Chain | None, tuple[str, ...]]:
    """The chain from a row to the one that stands for it, and what is to be said of it."""
    try:
        clusters = clusters_behind(by.run, by.dedup)
    except InputError as error:
        return None, (f"The chain to the kept row cannot be found: {error}",)
    chain = chain_to_kept(by, clusters, place, component_places(place), kept)
    threshold, notes = threshold_of(by.run), list[str]()
    if len(chain.cosines) > 1:
        notes.append(
            f"The two are joined by a chain of {len(chain.cosines):,} links; their own cosine is "
            f"{chain.rows[0]['kept_cosine']:.4f}, and the threshold is {threshold:g}."
        )
    if chain.leaves:
        notes.append("The chain goes over rows that left the component: the members that stayed are not joined alone.")
    return chain, tuple(notes)
