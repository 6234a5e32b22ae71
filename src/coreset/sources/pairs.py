"""What a shard yields, pairs and rejects, and what it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is a pair, and the largest sizes that are read, in bytes.

    No shard makes the reader hold more than one sample of these sizes.

    Attributes:
        member: One picture.
        caption: One caption, as UTF-8.
        metadata: One json.
        key: One key, as UTF-8: what a file name may have on every file system.
        header: One pax header or long name.
        gzip_ratio: How many times its packed size a compressed shard may unpack to; pictures hardly compress.
        gzip_allowance: What every compressed shard may unpack to, whatever its ratio.
        allow_missing_caption: Whether a sample without a caption is a pair all the same.
    """

    member: int = 64 << 20
    caption: int = 64 << 10
    metadata: int = 4 << 20
    key: int = 255
    header: int = 1 << 20
    gzip_ratio: int = 200
    gzip_allowance: int = 64 << 20
    allow_missing_caption: bool = False


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Pair:
    """One complete sample: a picture and its caption, with what the json says of them.

    Attributes:
        key: Unique within its shard.
        row: Index among all samples of the shard, good and bad, in its order.
        image: The picture's bytes as they are in the shard.
        image_offset: Where they begin in the tar file, None if that is compressed; of a Parquet, its row.
        image_size: How many they are.
        image_hash: Their xxh3_64.
        caption: Not blank, as it stands; None if there is none and the limits allow it.
        url: Where the picture came from.
        width: Of the picture in pixels, as the json says.
        height: Of the picture in pixels, as the json says.
        hashes: `sha256` and `md5` as the json says, in lower case. img2dataset takes them of the file it
            downloaded, before it resized it.
    """

    key: str
    row: int
    image: bytes
    image_offset: int | None
    image_size: int
    image_hash: int
    caption: str | None
    url: str | None
    width: int | None
    height: int | None
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reject:
    """One thing that is quarantined.

    Attributes:
        key: Of the sample; None if this is about the shard.
        row: Index of the sample, counted as in `Pair`; None if this is about the shard.
        reason: A code, such as `no_caption`.
        detail: The same for people.
        rows: How many samples this stands for: 1 for a sample; for a shard, what its sidecar says is missing.
    """

    key: str | None
    row: int | None
    reason: str
    detail: str
    rows: int
