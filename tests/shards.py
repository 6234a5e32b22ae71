"""Shards of small pictures that webdataset has written, a tiny CLIP of random weights, and recipes for both."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

SIDE = 16
PAIRS = 24
"""Pairs of each shard that `write_shards` makes; every third is a near-copy of the one before."""
CAPTIONS = ("a red square", "a blue hill at night", "two dots", "grass", "a face of many colours")

Sample = dict[str, bytes]


def picture(seed: int, noise: int = 0) -> bytes:
    """A PNG of four by four patches around a random colour; `noise` moves one pixel a little."""
    draw = np.random.default_rng(seed)
    patches = draw.integers(0, 206, 3) + draw.integers(0, 50, (4, 4, 3))
    pixels = patches.astype(np.uint8).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
    pixels[0, 0, 0] ^= noise
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pair(key: str, seed: int, noise: int = 0) -> Sample:
    """A whole sample."""
    fields = {"url": f"http://example.org/{seed}", "width": SIDE, "height": SIDE}
    return {
        "__key__": key,
        "png": picture(seed, noise),
        "txt": f"{CAPTIONS[seed % len(CAPTIONS)]}, {seed}".encode(),
        "json": json.dumps(fields).encode(),
    }


def write_shard(path: Path, samples: Sequence[Sample]) -> Path:
    """A tar of samples; the same bytes every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False, mtime=0) as tar:
        for sample in samples:
            tar.write(sample)
    return path


def good_pairs(first: int, count: int = PAIRS) -> list[Sample]:
    """Pairs with keys and pictures that count on from `first`, near-copies among them."""
    seeds = [i - 1 if i % 3 == 2 else i for i in range(first, first + count)]
    return [pair(f"{i:09d}", seed, noise=i - seed) for i, seed in zip(range(first, first + count), seeds, strict=True)]


def write_shards(folder: Path, count: int = 2, pairs: int = PAIRS) -> list[Path]:
    """Shards whose keys are unique; the last one also has a picture that is none and a pair without caption."""
    shards = []
    for number in range(count):
        samples = good_pairs(1000 * number, pairs)
        if number == count - 1:
            samples[4] = {**samples[4], "png": b"not a picture"}
            del samples[7]["txt"]
        shards.append(write_shard(folder / f"{number:05d}.tar", samples))
    return shards


def write_clip(folder: Path) -> Path:
    """A CLIP of one layer with random weights, as open_clip's `local-dir:` takes it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": SIDE, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    folder.mkdir(parents=True)
    said = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(**config)
        with torch.no_grad():
            model.visual.class_embedding.zero_()
            for name, weight in model.visual.named_parameters():
                if weight.ndim > 1 and "positional" not in name:
                    weight.normal_()
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
    return folder


def recipe(model: Path, shards: str = "shards/*.tar", clusters: int = 3, n: int = 5) -> str:
    """A `coreset.toml` that suits the shards."""
    return f"""
input = ["{shards}"]
[embed]
model = "local-dir:{model}"
batch_size = 16
threads = 1
[cluster]
clusters = {clusters}
threads = 1
[dedup]
threshold = 0.99
[sample]
n = {n}
text_rank = [10, 90]
centroid_rank = [10, 90]
"""
