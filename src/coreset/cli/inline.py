"""Pictures in a terminal that can show them: Kitty's protocol, and iTerm2's. Only PNGs of our own making are sent."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

Protocol = Literal["kitty", "iterm2"]
CHUNK = 4096
"""Characters of one command of Kitty's protocol."""


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """How the terminal around shows pictures, by its environment; None if it is not known to.

    Inside tmux and screen nothing is shown: they swallow the commands.

    Example:
        >>> protocol_of({"TERM": "xterm-kitty"}), protocol_of({"TERM_PROGRAM": "iTerm.app"})
        ('kitty', 'iterm2')
        >>> protocol_of({"TERM": "xterm-256color"}), protocol_of({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"})
        (None, None)
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("tmux", "screen")):
        return None
    if "KITTY_WINDOW_ID" in environment or term in {"xterm-kitty", "xterm-ghostty"} or program == "ghostty":
        return "kitty"
    is_iterm = program in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2"
    return "iterm2" if is_iterm else None


def show_picture(image: Image.Image, protocol: Protocol) -> None:
    """Write a picture to stdout, and end the line."""
    from coreset.results.thumbnails import encoded

    for piece in commands_of(encoded(image, "PNG"), protocol):
        sys.stdout.write(piece)
    sys.stdout.write("\n")


def commands_of(png: bytes, protocol: Protocol) -> Iterator[str]:
    r"""The escape sequences that show a PNG; none asks the terminal to answer.

    Example:
        >>> list(commands_of(b"png", "kitty"))
        ['\x1b_Ga=T,f=100,q=2,m=0;cG5n\x1b\\']
        >>> list(commands_of(b"png", "iterm2"))
        ['\x1b]1337;File=inline=1;size=3;preserveAspectRatio=1:cG5n\x07']
    """
    text = base64.b64encode(png).decode()
    if protocol == "iterm2":
        yield f"\x1b]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{text}\x07"
        return
    for start in range(0, len(text), CHUNK):
        control = "a=T,f=100,q=2," if start == 0 else ""
        yield f"\x1b_G{control}m={int(start + CHUNK < len(text))};{text[start : start + CHUNK]}\x1b\\"
