"""What a person names on the command line -> the shards of a run, in a fixed order, with names that travel."""

from __future__ import annotations

import glob
import io
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.sources.patterns import MOST_FILES, expanded_braces, natural_order

_SHARD_NAME = re.compile(r"(.+?)(\.tar|\.tar\.gz|\.tgz|\.parquet)", re.IGNORECASE | re.DOTALL)
_TABLE, _TARS = ".parquet", (".tar", ".tar.gz", ".tgz")
_MAGIC = re.compile(r"[*?[]")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar of the input, or one Parquet file of pictures.

    Attributes:
        name: Relative to the common root of all inputs, with `/`: what the `source` column says.
        location: Absolute path, or URL.
        size: Bytes of the file when it was listed.
        etag: Of an object when it was listed; empty for a file.
    """

    name: str
    location: str
    size: int
    etag: str = ""

    @property
    def stem(self) -> str:
        """The location without `.tar`, `.tar.gz`, `.tgz` or `.parquet`: what its sidecars' names begin with."""
        match = _SHARD_NAME.fullmatch(self.location)
        return match[1] if match else self.location

    @property
    def is_table(self) -> bool:
        """Whether this is a Parquet file."""
        return is_table(self.location)


def is_table(path: str) -> bool:
    """Whether a shard's name is that of a Parquet file."""
    return path.lower().endswith(_TABLE)


def find_shards(patterns: Sequence[str], base: str = ".") -> list[Shard]:
    """The shards that the patterns stand for, in that order; each file once, however often it is named.

    A Parquet beside a tar of the same name is what img2dataset says of the tar: a glob passes over it.

    Args:
        patterns: Paths or URLs; globs (`**` for folders of any depth), sorted so that 2 comes before 10; braces such
            as `{00000..00099}`; or `.txt` files that hold a pattern per line, where `#` begins a comment. The URL of
            a folder stands for the shards in it.
        base: The folder that relative paths start from, those in a `.txt` too.

    Raises:
        InputError: Nothing there, a folder, or a name that is no shard's; or paths and URLs, or URLs of several
            buckets, together. The content is not looked at.

    Example:
        >>> import tempfile, pathlib
        >>> base = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("cats/2.tar", "cats/10.tar", "dogs/0.tar"):
        ...     (base / name).parent.mkdir(exist_ok=True)
        ...     _ = (base / name).write_bytes(bytes(10240))
        >>> [shard.name for shard in find_shards(["dogs/0.tar", "cats/*.tar"], base=str(base))]
        ['dogs/0.tar', 'cats/2.tar', 'cats/10.tar']
    """
    if not patterns:
        raise InputError("no input is given: name the tars, such as 'shards/*.tar'")
    base = os.path.abspath(os.path.expanduser(base))
    found = list(_paths(patterns, base))
    if any(files.is_remote(path) for path in found):
        return _objects(found)
    sizes: dict[str, int] = {}
    for path in _existing(found):
        sizes.setdefault(path, _tar_size(path))
    once = {os.path.realpath(path): path for path in reversed(sizes)}
    paths = [path for path in sizes if once[os.path.realpath(path)] == path]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [Shard(os.path.relpath(path, root).replace(os.sep, "/"), path, sizes[path]) for path in paths]


def input_root(shards: Sequence[Shard]) -> str:
    """The folder that all shards' names start from: the deepest one that holds them all.

    Example:
        >>> input_root([Shard("cats/2.tar", "/big/cats/2.tar", 10240)])
        '/big'
    """
    return shards[0].location[: -len(shards[0].name)].rstrip("/") or "/"


def _objects(urls: list[str]) -> list[Shard]:
    """The shards that some URLs name; their sizes and etags from few listings, where there are many."""
    check_one_store(urls)
    once = list(dict.fromkeys(urls))
    if len(once) > MOST_FILES:
        raise InputError(f"the input has {len(once)} files, more than {MOST_FILES}: select from fewer, larger tars")
    for url in once:
        _check_name(url)
    found = files.many(lambda url: (files.size_and_etag(url), _tar_beside(url)), once)
    _refuse_missing([url for url, (said, _) in zip(once, found, strict=True) if said is None], len(once))
    for url, (_, tar) in zip(once, found, strict=True):
        _refuse_beside(url, tar)
    folders = [url.rpartition("/")[0] for url in once]
    scheme = once[0].partition("://")[0]
    root = f"{scheme}://{posixpath.commonpath([folder.partition('://')[2] for folder in folders])}"
    every = zip(once, found, strict=True)
    return [Shard(url[len(root) + 1 :], url, *(said or (0, ""))) for url, (said, _) in every]


def check_one_store(places: Sequence[str]) -> None:
    """Refuse places that have no common root: paths and URLs, or URLs of several buckets.

    Raises:
        InputError: Names two of them.
    """
    roots = {place.partition("://")[0] + "://" + place.partition("://")[2].partition("/")[0] for place in places}
    if len(roots) > 1 or not all(map(files.is_remote, places)):
        other = next(place for place in places if not place.startswith(places[0][: places[0].find("/", 6)]))
        raise InputError(
            f"{places[0]} and {other} do not lie in one bucket, and names are relative to what all inputs share: copy "
            f"one beside the other, or make two runs"
        )


@contextmanager
def opened_shard(shard: Shard) -> Iterator[io.RawIOBase]:
    """A shard's bytes, which must be as many as when it was listed.

    Raises:
        InputError: They are not.
        OSError: The disk cannot be read; names the shard.
    """
    if files.is_remote(shard.location):
        with files.opened_as(shard.location, shard.size, shard.etag, ahead=not shard.is_table) as there:
            yield there
        return
    try:
        with open(shard.location, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != shard.size:
                change = f"had {shard.size} bytes when it was listed and has {size} now"
                raise InputError(f"{shard.location} {change}: wait until it is complete, then start again")
            yield file
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} while reading the shard {shard.name}", shard.location) from error


def _paths(patterns: Sequence[str], base: str, listed_in: str | None = None) -> Iterator[str]:
    for typed in patterns:
        pattern = os.path.expanduser(files.located(typed))
        if files.is_remote(pattern) or files.is_remote(base):
            yield from _urls(pattern if files.is_remote(pattern) else files.join(base, pattern), listed_in)
            continue
        # A real file may have braces or stars in its name.
        real = os.path.lexists(os.path.join(base, pattern))
        for word in [pattern] if real else expanded_braces(pattern):
            path = os.path.join(base, word)
            if word.lower().endswith(".txt") and not _MAGIC.search(word):
                yield from _paths(_lines(path, listed_in), base, listed_in=path)
            elif _MAGIC.search(word) and not os.path.lexists(path):
                yield from _globbed(word, base)
            else:
                yield os.path.normpath(path)


def _urls(pattern: str, listed_in: str | None) -> Iterator[str]:
    """The objects that a pattern of URLs stands for."""
    for word in expanded_braces(pattern):
        if word.lower().endswith(".txt") and not _MAGIC.search(word):
            yield from _paths(_lines(word, listed_in), word.rpartition("/")[0], listed_in=word)
        elif _MAGIC.search(word):
            yield from _shards_only(files.glob_objects(word), word)
        elif _SHARD_NAME.fullmatch(word):
            yield word
        else:
            yield from _shards_only(files.glob_objects(f"{word}/*"), f"{word}/*")


def _shards_only(found: list[str], pattern: str) -> list[str]:
    """Those that are named like shards, and are no sidecars, in natural order."""
    names = set(found)
    shards = [
        url
        for url in found
        if _SHARD_NAME.fullmatch(url)
        and not (is_table(url) and any(url[: -len(_TABLE)] + ending in names for ending in _TARS))
    ]
    if not shards:
        raise InputError(f"no shard matches '{pattern}': check the URL, and quote the pattern")
    return sorted(shards, key=natural_order)


def _globbed(pattern: str, base: str) -> list[str]:
    found = glob.glob(os.path.join(glob.escape(base), pattern), recursive=True)
    if not found:
        raise InputError(f"no file matches '{pattern}' in {base}: check the path, and quote the pattern")
    shards = [path for path in found if _tar_beside(path) is None]
    if not shards:
        raise InputError(f"'{pattern}' matches only Parquet files that lie beside tars of their names: name the tars")
    return sorted((os.path.normpath(path) for path in shards), key=natural_order)


def _tar_beside(path: str) -> str | None:
    """The tar of which a Parquet file is the sidecar."""
    if not is_table(path):
        return None
    beside = (path[: -len(_TABLE)] + ending for ending in _TARS)
    return next((tar for tar in beside if files.is_file(tar)), None)


def _lines(path: str, listed_in: str | None) -> list[str]:
    if listed_in is not None:
        raise InputError(f"{listed_in} lists another list, {path}: name the tars themselves in it")
    try:
        lines = [line.strip() for line in io.StringIO(files.read_bytes(path).decode("utf-8"))]
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {path} cannot be read ({error}): give a text file with one path a line") from error
    patterns = [line for line in lines if line and not line.startswith("#")]
    if not patterns:
        raise InputError(f"the list {path} names no file: put one path or pattern on each line")
    return patterns


def _existing(paths: list[str]) -> list[str]:
    if len(paths) > MOST_FILES:
        raise InputError(f"the input has {len(paths)} files, more than {MOST_FILES}: select from fewer, larger tars")
    _refuse_missing([path for path in paths if not os.path.lexists(path)], len(paths))
    return paths


def _refuse_missing(missing: list[str], count: int) -> None:
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        raise InputError(f"no such file: {shown} ({len(missing)} of {count} are missing); check the paths")


def _tar_size(path: str) -> int:
    try:
        path.encode("utf-8")
        found = os.stat(path)
    except UnicodeEncodeError as error:
        raise InputError(f"the path {path!r} is not UTF-8: rename it") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the link and its permissions") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder: name its tars, '{path}/*.tar'")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no regular file: coreset reads a tar more than once, so copy it to a file first")
    _check_name(path)
    _refuse_beside(path, _tar_beside(path))
    return found.st_size


def _check_name(path: str) -> None:
    if not _SHARD_NAME.fullmatch(path):
        raise InputError(
            f"{path} is not named like a tar (.tar, .tar.gz, .tgz) or a Parquet of pictures (.parquet): name shards "
            f"only, such as '*.tar'"
        )


def _refuse_beside(path: str, tar: str | None) -> None:
    if tar is not None:
        raise InputError(
            f"{path} lies beside {os.path.basename(tar)} and only says what is in it: name the tar, or rename the "
            f"Parquet if it holds pictures of its own"
        )
