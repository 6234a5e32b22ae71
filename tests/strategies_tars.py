"""Tars made in memory: whole ones, ones with a flaw of our choice, and random ones for hypothesis."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from coreset.sources.tars import Limits, Pair, Reject, Shard, read_pairs

BLOCK = 512
END = bytes(2 * BLOCK)
KINDS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}

Sample = tuple[str, dict[str, bytes]]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def header(name: str | bytes, size: int = 0, kind: bytes = b"0", dialect: str = "ustar") -> bytes:
    """One header block; names that are bytes are put in as they are."""
    info = tarfile.TarInfo(name if isinstance(name, str) else "x")
    info.size = size
    info.type = kind
    block = info.tobuf(KINDS[dialect], errors="surrogateescape")
    return block if isinstance(name, str) else sealed(name.ljust(100, b"\0") + block[100:])


def sealed(block: bytes, signed: bool = False) -> bytes:
    """The same header with a checksum that fits."""
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in blank)
    return block[:148] + b"%06o\0 " % total + block[156:]


def patched(block: bytes, at: int, new: bytes) -> bytes:
    """The same header with other bytes at one place, checksum and all."""
    return sealed(block[:at] + new + block[at + len(new) :])


def member(name: str | bytes, content: bytes = b"", kind: bytes = b"0", dialect: str = "ustar") -> bytes:
    return header(name, len(content), kind, dialect) + padded(content)


def extension(kind: bytes, content: bytes) -> bytes:
    return member("././@Extension", content, kind)


def pax(records: Mapping[str, str | bytes], kind: bytes = b"x") -> bytes:
    """A pax header with these records."""
    lines = b""
    for key, text in records.items():
        rest = b" " + key.encode() + b"=" + (text if isinstance(text, bytes) else text.encode()) + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        lines += str(length).encode() + rest
    return extension(kind, lines)


def sample(key: str, **parts: bytes) -> bytes:
    """Adjacent members `key.name`, in the order given; `__` in a name stands for a dot."""
    return b"".join(member(f"{key}.{name.replace('__', '.')}", content) for name, content in parts.items())


def parts_of(key: str) -> dict[str, bytes]:
    """What a good sample has; each content tells whose it is."""
    fields = {
        "key": key,
        "url": f"http://example.org/{key}",
        "width": 3,
        "height": 2,
        "caption": f"json {key}",
    }
    content = json.dumps(fields).encode()
    return {"jpg": f"picture of {key} ".encode() * 40, "json": content, "txt": f"caption of {key}".encode()}


def good(*keys: str) -> bytes:
    return b"".join(sample(key, **parts_of(key)) for key in keys)


def written(folder: Path, content: bytes, successes: object = None, name: str = "00000.tar") -> Shard:
    """A shard on disk, with a sidecar if a count is given."""
    path = folder / name
    path.write_bytes(content)
    stats = folder / "00000_stats.json"
    stats.unlink(missing_ok=True)
    if successes is not None:
        stats.write_text(json.dumps({"count": 9, "successes": successes}))
    return Shard(name, str(path), len(content))


def told(found: Pair | Reject) -> str:
    """One outcome in a word or two: `key`, `key reason`, or `reason rows` for a whole shard."""
    if isinstance(found, Pair):
        return found.key
    if found.row is None:
        return f"{found.reason} {found.rows}"
    return f"{found.key} {found.reason}"


@dataclass(frozen=True)
class Case:
    """A tar, what should be told of it, and what its sidecar counts."""

    name: str
    content: bytes
    told: list[str]
    successes: object = None


def check(case: Case, folder: Path, limits: Limits) -> None:
    """Read the case's tar: exactly what should be told is, rows count up without a gap, pairs are whole."""
    found = list(read_pairs(written(folder, case.content, case.successes), limits))
    assert [told(one) for one in found] == case.told
    of_samples = [one for one in found if one.row is not None]
    assert [one.row for one in of_samples] == list(range(len(of_samples)))
    assert all(isinstance(one, Pair) or one.rows == 1 for one in of_samples)
    for one in found:
        if isinstance(one, Pair):
            assert one.caption.strip()
            assert len(one.image) == one.image_size > 0
            assert one.image_offset is None or case.content[one.image_offset :].startswith(one.image)


def packed(samples: Sequence[Sample], dialect: str) -> bytes:
    """The samples as Python's own tar writer packs them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=KINDS[dialect]) as tar:
        for key, parts in samples:
            for name, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


_stems = st.text("abcXYZ019-_ äé猫", min_size=1, max_size=12).filter(lambda stem: not stem.startswith("__"))
_folders = st.one_of(st.just(""), st.sampled_from(["cats/", "a.b/c/", "long" * 20 + "/" + "name" * 17 + "/"]))
keys = st.builds("{}{}".format, _folders, _stems)
captions = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
images = st.binary(min_size=1, max_size=1500)


@st.composite
def samples(draw: Callable[..., object], most: int = 6) -> list[Sample]:
    """Good samples with different keys: a picture and a caption each, some with a json or a cls."""
    made: list[Sample] = []
    for key in draw(st.lists(keys, min_size=1, max_size=most, unique=True)):
        caption = draw(captions).encode()
        parts = {draw(st.sampled_from(["jpg", "JPEG", "png", "webp"])): draw(images)}
        extras = {
            "txt": caption,
            "json": json.dumps({"width": draw(st.integers(1, 99))}).encode(),
            "cls": b"7",
        }
        wanted = draw(st.sampled_from([("txt",), ("txt", "json"), ("json", "txt", "cls"), ("txt", "cls")]))
        parts |= {name: extras[name] for name in wanted}
        made.append((key, dict(draw(st.permutations(list(parts.items()))))))
    return made
