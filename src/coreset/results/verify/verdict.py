"""What a verification says of a run."""

from __future__ import annotations

from dataclasses import dataclass

from coreset.engine.errors import CoresetError, InputError, InvariantError
from coreset.engine.files import Location
from coreset.results.inspect.found import Wrong


@dataclass(frozen=True)
class StageVerified:
    """What was found of a stage.

    Attributes:
        name: its folder
        state: `ok`, `wrong`, `incomplete`, `out of date` (made from something that changed since: its files were
            checked, its contents were not), `not compared` (the same, because a stage before it is wrong) or `-`
        parts: that it says it has
        rows: that were looked at
        compared: rows whose values were computed anew
        bytes: that were read to be hashed
        count: of what is wrong
        wrong: the first few, by place
    """

    name: str
    state: str
    parts: int = 0
    rows: int = 0
    compared: int = 0
    bytes: int = 0
    count: int = 0
    wrong: tuple[Wrong, ...] = ()


@dataclass(frozen=True)
class Verified:
    """What was found of a run.

    Attributes:
        run: the run directory
        stages: in order; those that were never begun have the state `-`
        notes: what is worth knowing and not wrong
        files: that were hashed
        bytes: of them
        hashing: seconds that reading and hashing took
        seconds: that all took
        full: whether every row and cluster was compared, not some of them
    """

    run: Location
    stages: tuple[StageVerified, ...]
    notes: tuple[str, ...]
    files: int
    bytes: int
    hashing: float
    seconds: float
    full: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; stages may still be incomplete or out of date."""
        return not any(stage.count for stage in self.stages)

    @property
    def error(self) -> CoresetError | None:
        """What is wrong first, as an error: of the input if bytes changed, of coreset if they did not."""
        found = [(entry, stage) for stage in self.stages for entry in stage.wrong]
        count = sum(stage.count for stage in self.stages)
        others = f" ({count - 1:,} more of the kind)" if count > 1 else ""
        for entry, _ in found:
            if entry.is_damage:
                return InputError(f"{entry.place} {entry.what}{others}; {entry.remedy}.")
        for entry, stage in found:
            said = f"{self.run}/{stage.name}/stage.json"
            return InvariantError(
                f"{entry.place}: {entry.what}{others}; it was written so: please report it with {said}."
            )
        return None
