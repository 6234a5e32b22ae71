"""What `coreset inspect --parity` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json
from coreset.engine.errors import InputError

if TYPE_CHECKING:
    from coreset.results.inspect.parity import Parity


def parity_result(found: Parity, as_json: bool) -> None:
    """Show how near stored vectors are to those that a model gives.

    Raises:
        InputError: They do not agree.
    """
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        out(f"{found.rows} rows of {found.folder} computed again with {found.model}")
        shown = ", ".join(f"{cosine:.5f} at {float(share):.0%}" for share, cosine in found.cosines.items())
        out(f"cosine of stored and computed: {shown} (0% is the lowest, 50% the median)")
        out(f"stored lengths are within {found.longest:.1g} of 1")
        for cause, median in found.causes:
            out(f"  {median:.5f}  {cause}")
    if not found.agrees:
        best = f"; nearest: {found.causes[0][0]}, {found.causes[0][1]:.4f}" if found.causes else ""
        raise InputError(
            f"The vectors in {found.folder} are not those of {found.model}: the median cosine is "
            f"{found.cosines['0.5']:.4f}, and at least 0.999 is wanted{best}."
        )
