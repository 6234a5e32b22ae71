"""Choose the picture-caption pairs that ship with ``coreset demo``, and write them as shards.

::

    python pipelines/pick_demo_shards.py openclipart noto-emoji --out src/coreset/demo/shards

Each folder given holds a whole collection in img2dataset's layout; the shards written have the same
layout, names and keys, only fewer pairs. Pairs are taken by natural groups, not one by one, so that
near-duplicates come along as they lie in the collection: a folder of clip art, or all skin tones of one
emoji. Groups come in the order of the hash of their names, so the same input gives the same bytes.

Two pairs are damaged on purpose, so that the demo has something to quarantine: see ``DAMAGED``.
"""

import argparse
import io
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

BLOCK = 512
TAR_BYTES_PER_COLLECTION = 3_880_000
TOTAL_BYTES = 8_000_000

# One folder of clip art has 1,378 stars. The first of a group by name are the most alike.
LARGEST_GROUP = 60

# Nearly half of the emoji are the only one of their figure, and would leave little to find.
SMALLEST_GROUP = 2

# Of a few seeds tried, one whose groups a newcomer takes in at a glance.
SEED = 2

SKIN_TONE = re.compile(r"-1f3f[b-f]")

# (collection, shard): what is done to the last pair of that shard.
DAMAGED = {("openclipart", "00000"): "half a picture", ("noto-emoji", "00000"): "no caption"}

JSON_FIELDS = ("url", "caption", "key", "width", "height", "sha256", "license")


@dataclass(frozen=True)
class Pair:
    """One pair of a collection.

    Attributes:
        shard: Name of its tar without the suffix.
        key: Its key, as img2dataset gave it.
        path: Where the picture lies in its collection.
        picture: The encoded JPEG, untouched.
        text: Its ``txt`` member, None if there is none.
        fields: What goes into its ``json`` member.
    """

    shard: str
    key: str
    path: str
    picture: bytes
    text: bytes | None
    fields: Mapping[str, object]

    def members(self) -> list[tuple[str, bytes]]:
        """Names and contents of its tar members, in the order they are written."""
        compact = json.dumps(self.fields, ensure_ascii=False, separators=(",", ":")).encode()
        members = [(f"{self.key}.jpg", self.picture), (f"{self.key}.json", compact)]
        if self.text is not None:
            members.insert(1, (f"{self.key}.txt", self.text))
        return members

    def tar_bytes(self) -> int:
        """Bytes it takes in a tar: a header per member, contents filled up to whole blocks."""
        return sum(BLOCK + len(padded(content)) for _, content in self.members())


def padded(content: bytes) -> bytes:
    """The content filled up with zeros to whole tar blocks."""
    return content + bytes(-len(content) % BLOCK)


def read_collection(folder: Path) -> list[Pair]:
    """All pairs of a folder of shards, in the order they lie there."""
    pairs = []
    for tar in sorted(folder.glob("*.tar")):
        members: dict[str, dict[str, bytes]] = defaultdict(dict)
        with tarfile.open(tar) as archive:
            for member in archive:
                key, suffix = member.name.split(".")
                content = archive.extractfile(member)
                members[key][suffix] = content.read() if content else b""
        for key, parts in members.items():
            fields = json.loads(parts["json"])
            fields["url"] = fields["source"]
            chosen = {name: fields[name] for name in JSON_FIELDS}
            pairs.append(Pair(tar.stem, key, fields["source"], parts["jpg"], parts["txt"], chosen))
    return pairs


def group_of(pair: Pair) -> str:
    """The folder of a piece of clip art; the figure, whatever its skin tone, of an emoji.

    Example:
        >>> group_of(Pair("00000", "000000001", "food/fruit/pear_01", b"", None, {}))
        'food/fruit'
        >>> group_of(Pair("00000", "000000000", "noto-emoji/1f44b-1f3fd.png", b"", None, {}))
        'noto-emoji/1f44b.png'
    """
    if pair.path.endswith(".png"):
        return SKIN_TONE.sub("", pair.path)
    return pair.path.rpartition("/")[0]


def chosen_pairs(pairs: Iterable[Pair], budget: int) -> list[Pair]:
    """Groups in the order of their hash, as many as fit.

    Args:
        pairs: A collection.
        budget: Tar bytes to spend. A group that does not fit any more is passed over.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[group_of(pair)].append(pair)
    chosen: list[Pair] = []
    order = sorted(groups, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode(), SEED), name))
    for name in order:
        group = sorted(groups[name], key=lambda pair: (pair.path, pair.key))[:LARGEST_GROUP]
        cost = sum(pair.tar_bytes() for pair in group)
        if len(group) >= SMALLEST_GROUP and cost <= budget:
            budget -= cost
            chosen += group
    return sorted(chosen, key=lambda pair: (pair.shard, pair.key))


def damaged(pair: Pair, damage: str) -> Pair:
    """The pair with half its picture, or without its caption."""
    if damage == "half a picture":
        return replace(pair, picture=pair.picture[: len(pair.picture) // 2])
    fields = {name: value for name, value in pair.fields.items() if name != "caption"}
    return replace(pair, text=None, fields=fields)


def tar_of(pairs: Iterable[Pair]) -> bytes:
    """A tar of the pairs with time 0 and owner 0, closed by two zero blocks and nothing more.

    The usual filling up to 10,240 bytes is left out: it buys nothing here.
    """
    tar = io.BytesIO()
    for pair in pairs:
        for name, content in pair.members():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.write(header.tobuf(tarfile.USTAR_FORMAT))
            tar.write(padded(content))
    tar.write(bytes(2 * BLOCK))
    return tar.getvalue()


def write_shard(stem: Path, pairs: list[Pair]) -> None:
    """Write ``STEM.tar``, ``STEM.parquet`` and ``STEM_stats.json``."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".tar").write_bytes(tar_of(pairs))
    columns = {name: [pair.fields.get(name) for pair in pairs] for name in JSON_FIELDS}
    columns["status"] = ["success"] * len(pairs)
    schema = pa.schema([(name, pa.int32() if name in {"width", "height"} else pa.string()) for name in columns])
    table = pa.table(columns, schema=schema)
    pq.write_table(table, stem.with_suffix(".parquet"), compression="zstd")
    n = len(pairs)
    stats = {"count": n, "successes": n, "failed_to_download": 0, "failed_to_resize": 0}
    stats_text = json.dumps({**stats, "status_dict": {"success": n}})
    stem.with_name(f"{stem.name}_stats.json").write_text(stats_text + "\n")


def write_collection(folder: Path, out: Path) -> None:
    """Choose from one collection and write its shards below `out`."""
    shards: dict[str, list[Pair]] = defaultdict(list)
    for pair in chosen_pairs(read_collection(folder), TAR_BYTES_PER_COLLECTION):
        shards[pair.shard].append(pair)
    for shard, pairs in shards.items():
        damage = DAMAGED.get((folder.name, shard))
        if damage:
            pairs[-1] = damaged(pairs[-1], damage)
            print(f"{folder.name}/{shard}.tar: {pairs[-1].key} has {damage}")
        write_shard(out / folder.name / shard, pairs)
    print(f"{folder.name}: {sum(map(len, shards.values()))} pairs in {len(shards)} shards")


def main() -> None:
    """Choose from each collection, write, and check the size of it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path, help="folders of webdataset tars")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    for folder in options.collections:
        write_collection(folder, options.out)
    total = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{total:,} bytes in all")
    if total > TOTAL_BYTES:
        raise SystemExit(f"more than {TOTAL_BYTES:,} bytes: lower TAR_BYTES_PER_COLLECTION")


if __name__ == "__main__":
    main()
