"""Webdataset shards -> pairs, strictly: every sample of a tar is a pair or a reject with its reason.

`find_shards` lists the tars, `check_shard` looks at a tar's first headers before work, `read_pairs` reads it.

What is noticed and usual readers pass over in silence: a tar cut at a member's boundary, a sample whose
members are not adjacent, one name twice, bytes behind the end, fewer samples than the sidecar counts.

**Where a tar breaks off** (cut, damaged, expanding beyond bounds) the samples before are kept. The sample
under way never is, even if it has a picture and a caption: a cut between two members leaves no trace of
those that followed. It is an `unfinished_sample`, and the shard itself a second reject with the number of
samples that its sidecar says are missing. If only the end mark is cut, the last sample is whole, and kept.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice

from coreset.engine.errors import InputError
from coreset.sources.bytestream import BLOCK, GZIP_MAGIC, BrokenShardError, open_stream
from coreset.sources.pairs import DEFAULT_LIMITS, Limits, Pair, Reject
from coreset.sources.samples import Judge, OpenSample, role_of, split_name
from coreset.sources.shards import Shard, find_shards, input_root, opened_shard
from coreset.sources.sidecars import Sidecar, read_sidecar
from coreset.sources.tar_members import TarMembers

__all__ = [
    "Limits",
    "Pair",
    "Reject",
    "Shard",
    "check_shard",
    "find_shards",
    "input_root",
    "read_pairs",
    "read_sidecar",
]

_LOOK = 100  # members in which check_shard looks for a key
_FOREIGN = {
    b"<": "HTML or XML",
    b"{": "json",
    b"PK": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"version https://git-lfs": "a git-lfs pointer",
}


def read_pairs(shard: Shard, limits: Limits = DEFAULT_LIMITS) -> Iterator[Pair | Reject]:
    """The pairs of a shard and what is wrong with the rest, in order; one sample in memory at a time.

    Pairs and the rejects' rows add up to the samples seen plus those that the sidecar says are missing.
    Rejects without a row are about the shard: `truncated_shard`, `damaged_shard`, `data_after_end`,
    `expansion_limit`, `missing_samples`, `empty_shard`, and with no rows, since no sample is lost:
    `sidecar_disagrees`, `bad_sidecar`, `ignored_members`.

    Args:
        shard: One of `find_shards`.
        limits: Above them, samples are rejected.

    Raises:
        InputError: The file is no longer the one that was listed.
        OSError: The disk cannot be read; names the shard.

    Example:
        >>> import io, pathlib, tarfile, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "0.tar"
        >>> with tarfile.open(path, "w") as tar:
        ...     for name, content in [("a.jpg", b"..."), ("a.txt", b"a cat"), ("b.jpg", b"...")]:
        ...         member = tarfile.TarInfo(name)
        ...         member.size = len(content)
        ...         tar.addfile(member, io.BytesIO(content))
        >>> for found in read_pairs(*find_shards([str(path)])):
        ...     print(found.key, found.caption if isinstance(found, Pair) else found.reason)
        a a cat
        b no_caption
    """
    with opened_shard(shard) as file:
        sidecar = read_sidecar(shard)
        stream = open_stream(file, limits.gzip_ratio, limits.gzip_allowance)
        judge = Judge(limits, stream.compressed)
        broken = yield from _samples(TarMembers(stream, limits.header), judge, limits)
        yield from _about_the_shard(judge, broken, sidecar)


def check_shard(shard: Shard) -> str | None:
    """The first key of a shard, from its first headers, before any work.

    Returns:
        None if no sample begins among the first members.

    Raises:
        InputError: Not a tar, or an empty one (unless its sidecar says that it should be), or changed since
            it was listed.
        OSError: The disk cannot be read; names the shard.
    """
    with opened_shard(shard) as file:
        start = file.read(BLOCK)
        if not start:
            raise InputError(f"{shard.location} has 0 bytes: fetch it again, or leave it out")
        file.seek(0)
        stream = open_stream(file, DEFAULT_LIMITS.gzip_ratio, DEFAULT_LIMITS.gzip_allowance)
        seen = False
        try:
            for member in islice(TarMembers(stream), _LOOK):
                seen = True
                named = split_name(member.name)
                if named and role_of(named[1]):
                    return named[0].decode("utf-8", "backslashreplace")
        except BrokenShardError as broken:
            # A tar that is damaged further on is for read_pairs, which saves what it can.
            if not seen and b"ustar" not in start[257:262]:
                raise InputError(_not_a_tar(shard, start, broken)) from broken
            return None
        if not seen:
            sidecar = read_sidecar(shard)
            if sidecar is None or sidecar.samples != 0:
                raise InputError(f"{shard.location} is an empty tar: fetch it again, or leave it out")
    return None


def _samples(
    members: TarMembers, judge: Judge, limits: Limits
) -> Generator[Pair | Reject, None, BrokenShardError | None]:
    """All samples; returns what broke the shard off, if anything did."""
    sample: OpenSample | None = None
    broken: BrokenShardError | None = None
    try:
        for member in members:
            named = split_name(member.name)
            if named is None:
                judge.ignore(member)
                continue
            key, ending = named
            if sample is None or key != sample.key:
                if sample is not None and sample.is_sample:
                    yield judge.judge(sample)
                sample = OpenSample(key)
            if not sample.add(member, ending, members, limits):
                judge.ignore(member)
        members.check_end()
    except BrokenShardError as error:
        broken = error
    if sample is not None and sample.is_sample:
        lost = broken is not None and not broken.whole
        yield judge.unfinished(sample) if lost else judge.judge(sample)
    return broken


def _about_the_shard(judge: Judge, broken: BrokenShardError | None, sidecar: Sidecar | None) -> Iterator[Reject]:
    """What is wrong with the shard as a whole."""
    expected = None if sidecar is None else sidecar.samples
    missing = 0 if expected is None else max(0, expected - judge.keys)
    counted = (
        ""
        if sidecar is None or expected is None
        else f"{sidecar.name} counts {expected} samples, the tar has {judge.keys}"
    )
    if broken is not None:
        unknown = counted or "without a sidecar nobody knows how many samples it should have"
        yield Reject(None, None, broken.reason, f"{broken.detail}; {unknown}", missing)
    elif missing:
        yield Reject(None, None, "missing_samples", counted, missing)
    elif judge.seen == 0 and expected != 0:
        yield Reject(None, None, "empty_shard", "no sample in the tar", 0)
    if expected is not None and judge.keys > expected:
        yield Reject(None, None, "sidecar_disagrees", counted, 0)
    if sidecar is not None and sidecar.problem:
        yield Reject(None, None, "bad_sidecar", f"{sidecar.name}: {sidecar.problem}", 0)
    if judge.ignored:
        shown = ", ".join(f"{count} of {ending}" for ending, count in judge.ignored.most_common(10))
        yield Reject(None, None, "ignored_members", f"{judge.ignored.total()} members that are not read: {shown}", 0)


def _not_a_tar(shard: Shard, start: bytes, broken: BrokenShardError) -> str:
    if start.startswith(GZIP_MAGIC):
        return f"{shard.location} is gzip without a tar ({broken.detail}): fetch it again or leave it out"
    foreign = next((what for magic, what in _FOREIGN.items() if start.lstrip().startswith(magic)), None)
    looks = f"look like {foreign}" if foreign else "are no tar header"
    return f"{shard.location} is not a tar, its bytes {looks} ({start[:12]!r}): fetch it again or leave it out"
