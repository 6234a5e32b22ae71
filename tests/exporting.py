"""A run of all that an export may meet: kinds of pictures and shards, odd keys, captions with markers."""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from command import done
from PIL import Image
from shards import CAPTIONS, picture, recipe, write_shard

EVERYTHING = """
[sample]
n = 1000
text_rank = [0, 100]
centroid_rank = [0, 100]
allow_fewer = true
"""
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
ODD_CAPTIONS = {1: "a <image> here", 2: "</s> <s> <|im_end|>", 3: "a < b > c, <3 <images>", 4: "ünïcode 漢字 🙂\nline"}
TABLE_KEYS = ("a.b", "dir/v1.2/é", "ocr_VG_100K_2", "..", "x" * 250, "~2E", "漢字 with space", "A")


def picture_of(kind: str, seed: int) -> bytes:
    """A picture in a format; PNGs have transparent parts."""
    image = Image.open(io.BytesIO(picture(seed)))
    if kind == "PNG":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 90} if kind in {"JPEG", "WEBP"} else {}))
    return file.getvalue()


def sample(key: str, seed: int, without_caption: bool = False) -> dict[str, Any]:
    """A sample of a tar."""
    caption = ODD_CAPTIONS.get(seed % 20, CAPTIONS[seed % len(CAPTIONS)])
    kind = KINDS[seed % len(KINDS)]
    said = {"url": f"http://example.org/{seed}", "key": "not the key", "width": 16, "height": 16}
    text = {} if without_caption else {"txt": caption.encode()}
    ending = {"JPEG": "jpg"}.get(kind, kind.lower())
    return {"__key__": key, ending: picture_of(kind, seed), **text, "json": json.dumps(said).encode()}


def write_mixed(folder: Path, model: Path) -> Path:
    """A folder with shards of every kind and a recipe that keeps all their rows but copies."""
    shards = folder / "shards"
    seeds = range(100, 114)
    write_shard(shards / "plain.tar", [sample(f"cats/{seed}", seed, seed == 110) for seed in seeds])
    write_shard(shards / "packed.tar", [sample(f"packed-{seed}", seed) for seed in range(200, 208)])
    packed = shards / "packed.tar"
    (shards / "packed.tar.gz").write_bytes(gzip.compress(packed.read_bytes(), mtime=0))
    packed.unlink()
    table = {
        "key": TABLE_KEYS,
        "jpg": [picture_of("JPEG", 300 + number) for number in range(len(TABLE_KEYS))],
        "caption": [f"table {number}" for number in range(len(TABLE_KEYS))],
    }
    pq.write_table(pa.table(table), shards / "table.parquet", row_group_size=3)
    text = recipe(model, "shards/*").replace("[embed]", "[embed]\nallow_missing_caption = true")
    (folder / "coreset.toml").write_text(text.partition("[sample]")[0] + EVERYTHING)
    return folder


def made_run(folder: Path, model: Path) -> Path:
    """The same with a finished run."""
    done("run", "-q", cwd=write_mixed(folder, model))
    return folder


@contextmanager
def careless() -> Iterator[None]:
    """Foreign loaders leave files open and warn of old names: neither is ours."""
    import gc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()
