"""What packed weights, another batch and compiling are worth in bfloat16 on this CPU, of the parts of ViT-B-32.

``python benchmarks/packing.py [--seconds 60] [--width 768] [--tokens 50] [--pictures 64] [--compile]``

The same block of open_clip's as open_clip calls it, with layer norms in one pass, with packed weights as well (which is
what `coreset embed` does), the last in smaller batches, and compiled by torch, with frozen weights and without. They
take turns, and so do, for 16 pictures, the two ways from pixels to the model's numbers, and the convolution that cuts
pictures into patches with the product that replaces it. So what else the machine does falls on all; reported are the
medians of the ratios within a turn, by the clock and by processor time, with the quartiles, and what compiling took.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transformer import LayerNormFp32, ResidualAttentionBlock
from torch import nn

from coreset.encoder import packed
from coreset.encoder.open_clip_model import normalised_lines


def block(width: int) -> nn.Module:
    """A block as open_clip makes it for bfloat16."""
    torch.manual_seed(0)
    made: Any = ResidualAttentionBlock(width, width // 64, norm_layer=LayerNormFp32).eval().requires_grad_(False)
    made.attn.to(torch.bfloat16)
    made.mlp.to(torch.bfloat16)
    block_of_open_clip: nn.Module = made
    return block_of_open_clip


def packed_block(width: int) -> nn.Module:
    """The same, packed."""
    made = nn.Sequential(block(width))
    packed.pack(made)
    return made


def normed_block(width: int) -> nn.Module:
    """The same with nothing but the layer norms replaced."""
    made = block(width)
    for name in ("ln_1", "ln_2"):
        setattr(made, name, packed.MixedLayerNorm(getattr(made, name)))
    return made


def compiled_block(width: int, rows: torch.Tensor, freezing: bool) -> Callable[[torch.Tensor], object]:
    """The same by torch's compiler; says how long that took."""
    import torch._inductor.config as settings

    settings.freezing = freezing
    torch._dynamo.reset()
    made: Callable[[torch.Tensor], object] = torch.compile(block(width))
    wall, used = time.perf_counter(), time.process_time()
    made(rows)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"compiling one block, freezing={freezing}: {wall:.0f} s, {used:.0f} s of this process", flush=True)
    return made


def in_parts(way: Callable[[torch.Tensor], object], rows: torch.Tensor, many: int) -> list[object]:
    """The same rows, so many pictures at a time."""
    return [way(rows[start : start + many]) for start in range(0, len(rows), many)]


def spent(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of processor time."""
    wall, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - used


def quartiles(values: list[float]) -> str:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} x ({low:.2f} to {high:.2f})"


def in_turns(calls: Mapping[str, Callable[[], object]], seconds: float) -> None:
    """Makes the calls in turns for so long, and prints how each compares to the first of them."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            times[name].append(spent(call))
    first = next(iter(times))
    print(f"{len(times[first])} turns, load {os.getloadavg()[0]:.1f}")
    for name, found in times.items():
        by_clock, by_cpu = ([one[w] / two[w] for one, two in zip(times[first], found, strict=True)] for w in (0, 1))
        least = 1000 * min(wall for wall, _ in found)
        ratios = f"{quartiles(by_clock)}, of CPU {quartiles(by_cpu)}"
        print(f"{name:24s} {least:6.1f} ms at best; as fast as the first {ratios}", flush=True)


def before_the_blocks(seconds: float) -> None:
    """From pixels to numbers, and from numbers to patches: of 16 pictures of 224 pixels, patches of 32."""
    pixels = torch.randint(0, 256, (16, 224, 224, 3), dtype=torch.uint8)
    mean, std = torch.tensor(OPENAI_DATASET_MEAN).view(3, 1, 1), torch.tensor(OPENAI_DATASET_STD).view(3, 1, 1)

    def as_usual() -> torch.Tensor:
        numbers = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)
        return numbers.sub_(mean).div_(std).to(torch.bfloat16)

    by_lines = partial(normalised_lines, pixels, mean, std, torch.bfloat16)
    in_turns({"pixels to numbers": as_usual, "line by line": by_lines}, seconds)
    conv = nn.Conv2d(3, 768, 32, 32, bias=False).to(torch.bfloat16).requires_grad_(False)
    patches = {"patches by convolution": partial(conv, as_usual())}
    patches["by a packed product"] = partial(packed.PackedPatches(conv), by_lines())
    in_turns(patches, seconds)


def main() -> None:
    """Prints everything."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seconds", type=float, default=60)
    flags.add_argument("--width", type=int, default=768)
    flags.add_argument("--tokens", type=int, default=50)
    flags.add_argument("--pictures", type=int, default=64)
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--compile", action="store_true")
    given = flags.parse_args()
    torch.set_num_threads(given.threads)
    rows = torch.randn(given.pictures, given.tokens, given.width).to(torch.bfloat16)
    with torch.inference_mode():
        ways: dict[str, Any] = {"as open_clip": block(given.width), "layer norms": normed_block(given.width)}
        ways["packed"] = packed_block(given.width)
        calls: dict[str, Callable[[], object]] = {name: partial(way, rows) for name, way in ways.items()}
        for many in (8, 16):
            calls[f"packed, batches of {many}"] = partial(in_parts, ways["packed"], rows, many)
        if given.compile:
            for name, freezing in (("compiled", False), ("compiled, frozen", True)):
                calls[name] = partial(compiled_block(given.width, rows, freezing), rows)
        in_turns(calls, given.seconds)
        before_the_blocks(given.seconds / 4)


if __name__ == "__main__":
    main()
