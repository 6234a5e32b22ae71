"""Which objects a pattern stands for: globs as on a disk, answered from listings."""

from __future__ import annotations

import fnmatch
import re

from coreset.engine import remote
from coreset.engine.urls import scheme_of

MAGIC = re.compile(r"[*?[]")


def globbed(pattern: str) -> list[str]:
    """The URLs of the objects that a pattern stands for, sorted.

    `*`, `?` and `[…]` stay within a name, `**` stands for folders of any depth, and neither for names that begin
    with a dot, as on a disk. One listing, of what stands before the first of them.

    Raises:
        InputError: The pattern's bucket has one, or the store does not let us look.
    """
    scheme, rest = scheme_of(pattern), pattern.partition("://")[2]
    steps = rest.split("/")
    fixed = next((place for place, step in enumerate(steps) if MAGIC.search(step)), len(steps))
    root = "/".join(steps[:fixed])
    below = steps[fixed:]
    matches = re.compile(translated(below))
    names = remote.listed(f"{scheme}://{root}", deep=len(below) > 1)
    return sorted(f"{scheme}://{root}/{name}" for name, said in names.items() if said and matches.fullmatch(name))


def translated(steps: list[str]) -> str:
    r"""The regular expression of a pattern's steps.

    Example:
        >>> bool(re.fullmatch(translated(["**", "*.tar"]), "a/b/0.tar"))
        True
        >>> bool(re.fullmatch(translated(["*.tar"]), ".0.tar")), bool(re.fullmatch(translated(["*.tar"]), "a/0.tar"))
        (False, False)
    """
    said = ""
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        if step == "**":
            said += r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)[^/]+" if last else "")
            continue
        one = fnmatch.translate(step).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z")
        one = one.replace(".*", "[^/]*")
        said += ("" if step.startswith(".") else r"(?!\.)") + one + ("" if last else "/")
    return said
