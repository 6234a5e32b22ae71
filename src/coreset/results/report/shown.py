r"""Text and numbers as a page shows them: what could hide text or turn it round is made visible, what is long is cut.

Escaping is not done here: the template engine escapes all text, this too.
"""

from __future__ import annotations

import unicodedata

LONGEST = 240
"""Characters of a text that are shown."""
_TURNING = frozenset({*range(0x202A, 0x202F), *range(0x2066, 0x206A)})
"""Characters that turn round the text behind them, or end that."""
_C1 = range(0x80, 0xA0)
_NOTHING = frozenset({*range(0xFDD0, 0xFDF0), *(plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF))})
"""Code points that will never be characters."""


def shown(text: str | None, most: int = LONGEST) -> str:
    r"""Text without characters that control a screen: pictures of them stand in their place.

    Args:
        text: anything; None is a dash
        most: characters; of a longer text the beginning is shown, with its length

    Example:
        >>> shown("a\x1b[31mb\x00\u202ec")
        'a␛[31mb␀⟨U+202E⟩c'
        >>> shown("12345", most=3)
        '123… (5 characters)'
    """
    if text is None:
        return "-"
    visible = "".join(_visible(char) for char in text[:most])
    return visible if len(text) <= most else f"{visible}… ({len(text):,} characters)"


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20 and char not in "\t\n":
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code in _C1 or code in _TURNING or code in _NOTHING or unicodedata.category(char) in {"Cs", "Zl", "Zp"}:
        return f"\u27e8U+{code:04X}\u27e9"
    return char


def percent(part: float, whole: float) -> str:
    """A share in percent, with as many digits as it needs; a dash of nothing.

    Example:
        >>> percent(1, 3), percent(2, 2053), percent(1, 0), percent(0, 5)
        ('33.3 %', '0.097 %', '-', '0 %')
    """
    if not whole:
        return "-"
    share = 100 * part / whole
    if not share:
        return "0 %"
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"


def count(number: int | None) -> str:
    """A whole number with its thousands apart; a dash for None.

    Example:
        >>> count(2053332591)
        '2,053,332,591'
    """
    return "-" if number is None else f"{number:,}"


def cosine(number: float | None) -> str:
    """A cosine with four digits; a dash for None.

    Example:
        >>> cosine(0.86001)
        '0.8600'
    """
    return "-" if number is None else f"{number:.4f}"


def size(number: int | None) -> str:
    """Bytes as people say them.

    Example:
        >>> size(997_470_208), size(1200)
        ('951.3 MiB', '1.2 KiB')
    """
    if number is None:
        return "-"
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 1 << power:
            return f"{number / (1 << power):.1f} {unit}"
    return f"{number:,} bytes"


def seconds(number: float | None) -> str:
    """A time as people say it.

    Example:
        >>> seconds(5.25), seconds(75), seconds(7300)
        ('5.2 s', '1 min 15 s', '2 h 1 min')
    """
    if number is None:
        return "-"
    if number < 60:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
