"""Exact products of small integers, by the fastest matrix unit there is.

The screens multiply int8 matrices. Their product is an integer, and each engine below gets it right:

- ``int8``: 32-bit sums, exact below 2^31.
- ``float32``: exact while every partial sum is an integer below 2^24; a partial sum is at most ``|a| |b|``.
- ``bfloat16``: an int8 has at most 8 significant bits, so the inputs are exact; sums are kept in float32, so
  they are exact as in ``float32``; the *output* is rounded to bfloat16, by at most 2^-8 of its value. Its sign,
  and whether it is 0, stay right. So a screen compares with 0 and leaves a margin of 2^-7 where it does not.
"""

import functools
import threading
from dataclasses import dataclass

import torch

EXACT_FLOAT32 = 2.0**24  # squared length of rows up to which float32 sums of integers are exact


@dataclass(frozen=True)
class Engine:
    """How products of int8 rows are computed; ``rounding`` is the relative error of a result."""

    dtype: torch.dtype
    device: str
    rounding: float

    def products(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """``left @ right.T`` of int8 rows: exact but for ``rounding``, in int32 or float32.

        The result may lie in memory that the next call of the same thread writes to.
        """
        a, b = left.to(self.device), right.to(self.device)
        if self.dtype == torch.int8 and self.device == "cpu":
            return torch._int_mm(a, b.T, out=_scratch(len(a), len(b)))
        if self.dtype == torch.int8:
            return torch._int_mm(a, b.T)
        return (a.to(self.dtype) @ b.to(self.dtype).T).float()


_memory = threading.local()


def _scratch(rows: int, columns: int) -> torch.Tensor:
    """This thread's memory for a result: fresh pages for every tile would take a tenth of the time."""
    found: torch.Tensor | None = getattr(_memory, "scratch", None)
    if found is None or found.numel() < rows * columns:
        found = _memory.scratch = torch.empty(rows * columns, dtype=torch.int32)
    return found[: rows * columns].view(rows, columns)


def fastest_engine(device: str, longest: float = 0.0) -> Engine:
    """The fastest engine that is exact for rows of at most this squared length.

    Any choice gives the same components; only the time differs.
    """
    if longest >= EXACT_FLOAT32:
        return Engine(torch.int8, device, 0.0)
    return _fastest(device)


@functools.cache
def _fastest(device: str) -> Engine:
    """The first engine that the machine has units for and that passes a check with extreme numbers.

    Without VNNI or AMX, int8 products of x86 processors saturate at 16 bits: hence the check.
    """
    has = torch.cpu.get_capabilities()
    native = []
    if device != "cpu" or has.get("avx512_vnni") or has.get("avx_vnni") or has.get("amx_int8"):
        native.append(Engine(torch.int8, device, 0.0))
    if device == "cpu" and (has.get("avx512_bf16") or has.get("amx_bf16")):
        native.append(Engine(torch.bfloat16, device, 2.0**-8))
    return next((engine for engine in native if _is_right(engine)), Engine(torch.float32, device, 0.0))


def _is_right(engine: Engine) -> bool:
    """Whether products of rows full of +-127 come out right, also where they cancel to -1, 0 and 1."""
    a = torch.full((32, 512), 127, dtype=torch.int8)
    a[16:, 1::2] = -127
    b = a.clone()
    b[:, 511] = torch.arange(32, dtype=torch.int8) - 16
    exact = a.double() @ b.double().T
    try:
        found = engine.products(a, b).double().cpu()
    except RuntimeError:  # this build of torch has no such product
        return False
    return bool(torch.all((found - exact).abs() <= engine.rounding * exact.abs()))
