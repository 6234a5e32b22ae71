r"""Rows as small integers whose products tell, within a proven bound, which pairs share an edge.

A row x is shifted by a mean, ``u = x - mean``, and rounded: ``u = s q + e`` with q in int8. For two rows

    <x, y> - t = <u, v> + a(x) + a(y),           a(x) = <x, mean> - |mean|^2 / 2 - t / 2
    |<u, v> - s^2 <q, p>| = |<u, f> + <e, v> - <e, f>| <= |u| |f| + |e| |v| + |e| |f| <= h(x) + h(y)
    h(x) = (w |e|^2 + |u|^2 / w) / 2 + |e|^2 / 2    for any w > 0 (arithmetic and geometric mean),

by Cauchy-Schwarz, with v = s p + f the other row. The bound uses the measured error |e| of each row, so it holds
for any step s, any mean, and any clipping of q. With the integer ``b(x) = ceil((a(x) + h(x)) / (127 s^2))``,

    T = <q, p> + 127 (b(x) + b(y)) <= 0  implies  <x, y> <= t                      (no edge),
    T > r(x) + r(y), r(x) = 127 + 2 h(x) / s^2,  implies  <x, y> > t               (an edge),

and only pairs in between need exact products. b is split into digits of at most 127 and multiplied with
columns of 127, so one integer product gives T. What is computed in float32 (|u|, |e|, <x, mean>) enters with its
own error bound, see ``_offsets``.

The width of the band in between is about 4 |u| |e|: 0.015 for CLIP vectors. (Rounding to bfloat16 gives no less:
2 * 2^-9 for the inputs plus 2^-9 for the output, on either side; and half the speed.)
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from coreset.numeric.blocks import row_slices

LARGEST = 127
_SMALLEST_STEP = 2.0**-11  # below it digits would outweigh what a smaller error gains
_CACHED_ROWS = 256  # rows that stay in a core's cache from one pass over them to the next
_TRIED = 256  # rows on which steps are tried
_LARGEST_WEIGHT = 256.0  # a larger one makes rows that are unlike the sample cost many digits
_FEW_DIGITS = 16  # two columns each: 4 % of 768
_TINY = 2.0**-30  # covers the rounding of the float64 arithmetic on bounds, by far


@dataclass(frozen=True)
class Scale:
    """How rows become integers: ``u = x - mean``, ``q = round(u / step)``; ``weight`` is w above."""

    mean: torch.Tensor
    step: float
    weight: float
    threshold: float


@dataclass(frozen=True)
class Codes:
    """The integers of some rows: q, b and r of the module's docstring. No q is longer than ``length``."""

    q: torch.Tensor
    b: Int64[np.ndarray, "n"]
    r: Int64[np.ndarray, "n"]
    length: float


def fitted_scale(sample: torch.Tensor, threshold: float) -> Scale:
    """A mean, a step and a weight that keep the band narrow for rows like the sample's.

    Any other choice would be as right and leave more pairs to exact products.
    """
    x = sample.float().nan_to_num()
    mean = x.mean(dim=0)
    u = x[:: -(-len(x) // _TRIED)] - mean
    largest = u.abs().max().item()
    best = (np.inf, 1.0)
    for clip in (1.0, 0.8, 0.6, 0.45, 0.3):
        step = float(np.float32(max(largest * clip / LARGEST, _SMALLEST_STEP)))
        error = u - (u / step).round().clamp(-LARGEST, LARGEST) * step
        best = min(best, (torch.linalg.vecdot(error, error).mean().item(), step))
    error2, step = best
    weight = min(_LARGEST_WEIGHT, math.sqrt((torch.linalg.vecdot(u, u).mean().item() + _TINY) / (error2 + _TINY)))
    return Scale(mean, step, weight, threshold)


def coded_rows(block: torch.Tensor, scale: Scale) -> tuple[Codes, Float64[np.ndarray, "n"]]:
    """The codes of many rows, computed in pieces that stay in the cache."""
    parts = [coded(block[rows], scale) for rows in row_slices(len(block), _CACHED_ROWS)]
    codes = [part for part, _ in parts]
    joined = Codes(
        torch.cat([part.q for part in codes]),
        np.concatenate([part.b for part in codes]),
        np.concatenate([part.r for part in codes]),
        max(part.length for part in codes),
    )
    return joined, np.concatenate([norms for _, norms in parts])


def coded(rows: torch.Tensor, scale: Scale) -> tuple[Codes, Float64[np.ndarray, "n"]]:
    """The codes of float16 rows, and their squared norms to within 2^-10 of themselves."""
    x = rows.float()
    norms = _float64(torch.linalg.vecdot(x, x))
    along = _float64(torch.linalg.vecdot(x, scale.mean))
    u = x - scale.mean
    lengths = _float64(torch.linalg.vecdot(u, u))
    q = (u * (1 / scale.step)).round_().clamp_(-LARGEST, LARGEST)
    u.addcmul_(q, torch.tensor(-scale.step))
    errors = _float64(torch.linalg.vecdot(u, u))
    with np.errstate(invalid="ignore", over="ignore"):  # callers refuse such rows by their norms
        b, r = _offsets(norms, along, lengths, errors, scale)
    longest = math.sqrt(float(torch.linalg.vecdot(q, q).max())) * 1.01
    return Codes(q.to(torch.int8), b, r, longest), norms


def _offsets(
    norms: Float64[np.ndarray, "n"],
    along: Float64[np.ndarray, "n"],
    lengths: Float64[np.ndarray, "n"],
    errors: Float64[np.ndarray, "n"],
    scale: Scale,
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    """The b and r of the module's docstring, from squared norms and products that float32 has measured.

    A float32 sum of d terms in any order, rounded in any direction, is off by at most ``(d + 2) 2^-23`` of the
    sum of their magnitudes. ``u`` and ``e`` are rounded once or twice more, by at most 2^-22 of ``|u| + |e|``.
    """
    d = len(scale.mean)
    loss = (d + 16) * 2.0**-23
    mean2 = float(scale.mean.double().square().sum())
    u = np.sqrt(lengths) * (1 + loss) + _TINY
    e = np.sqrt(errors) * (1 + loss)
    e += 2.0**-21 * (u + e) + _TINY
    h = (scale.weight * e**2 + u**2 / scale.weight + e**2) / 2
    h += loss * np.sqrt(norms * (1 + loss) * mean2) + _TINY  # the error of `along`
    unit = scale.step**2
    b: Float64[np.ndarray, "n"] = np.ceil((along - (mean2 + scale.threshold) / 2 + h) / (LARGEST * unit))
    r = LARGEST + np.ceil(2 * h / unit)
    return b.astype(np.int64), r.astype(np.int64)


def _float64(numbers: torch.Tensor) -> Float64[np.ndarray, "n"]:
    exact: Float64[np.ndarray, "n"] = numbers.double().numpy()
    return exact


@dataclass(frozen=True)
class Layout:
    """How codes become the two sides of one integer product T.

    The product of a left and a right row is ``T + limit``: b enters as ``digits`` numbers of at most 127, counted
    from ``centre``, against as many columns of 127.
    """

    digits: int
    centre: int

    @property
    def limit(self) -> int:
        """A pair whose product is at most this has no edge."""
        return -2 * LARGEST * self.centre

    def holds(self, b: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Which rows' b can be written in the digits; the others need exact products."""
        held: Bool[np.ndarray, "n"] = np.abs(b - self.centre) <= LARGEST * self.digits
        return held

    def right(self, codes: Codes) -> torch.Tensor:
        """Rows for the right side of a product."""
        return torch.cat([codes.q, self._ones(codes.q), self._split(codes.b)], dim=1)

    def swapped(self, right: torch.Tensor) -> torch.Tensor:
        """The same rows for the left side: digits and columns of 127 change places."""
        d, m = right.shape[1] - 2 * self.digits, self.digits
        return torch.cat([right[:, :d], right[:, d + m :], right[:, d : d + m]], dim=1)

    def padded(self, codes: Codes) -> torch.Tensor:
        """Rows for the left side where only the right side has a b."""
        return torch.cat([codes.q, self._ones(codes.q)], dim=1)

    def digits_only(self, codes: Codes) -> torch.Tensor:
        """Rows for the right side of ``padded`` rows."""
        return torch.cat([codes.q, self._split(codes.b)], dim=1)

    def _split(self, b: Int64[np.ndarray, "n"]) -> torch.Tensor:
        """Digits that sum to ``b - centre``: floor((b + i) / m) for i in 0..m-1 sums to b (Hermite)."""
        shifted = (b - self.centre)[:, None] + np.arange(self.digits)
        return torch.from_numpy((shifted // self.digits).astype(np.int8))

    def _ones(self, q: torch.Tensor) -> torch.Tensor:
        return torch.full((len(q), self.digits), LARGEST, dtype=torch.int8)


def fitted_layout(b: Int64[np.ndarray, "n"], *, centred: bool) -> Layout:
    """The fewest digits that hold nearly every b; with ``centred`` false, the limit is 0.

    Where few rows would cost many digits, up to one row in 1000 is left out: see ``Layout.holds``.

    Example:
        >>> fitted_layout(np.array([100, 400]), centred=True)
        Layout(digits=2, centre=250)
    """
    whole = _layout(int(b.min()), int(b.max()), centred=centred)
    if whole.digits <= _FEW_DIGITS:
        return whole
    last = len(b) - 1
    low, high = np.partition(b, [last // 2000, last - last // 2000])[[last // 2000, last - last // 2000]]
    return _layout(int(low), int(high), centred=centred)


def full_layout(b: Int64[np.ndarray, "n"]) -> Layout:
    """The fewest digits that hold every b."""
    return _layout(int(b.min()), int(b.max()), centred=True)


def _layout(low: int, high: int, *, centred: bool) -> Layout:
    centre = (low + high) // 2 if centred else 0
    return Layout(max(1, -(-max(high - centre, centre - low) // LARGEST)), centre)
