"""A folder of precomputed vectors -> its parts: which files belong together, without opening one.

| format | vectors | text vectors | the rest |
|---|---|---|---|
| `clip-retrieval` | `img_emb/*.npy` | `text_emb/*.npy`, if there | `metadata/*.parquet`, if there |
| `npy` | `*.npy` | | |
| `parquet_npy` | `*.npy` | | `*.parquet` in the same folder, or in `metadata/` beside `embeddings/` |
| `parquet` | a list column of `*.parquet` | another one | the other columns |
| `datacomp` | an array of `*.npz` | another one | `*.parquet` of the same name |

Files of different folders belong together by the number in their names, whatever its padding: a sorted listing puts
`_10` before `_2`. If that number is not the same set on both sides, nothing is paired.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.sources.patterns import MOST_FILES, natural_order
from coreset.sources.shards import check_one_store

AUTO = "auto"
FORMATS = ("clip-retrieval", "npy", "parquet", "parquet_npy", "datacomp")
IMAGE_FOLDERS = ("img_emb", "image_emb", "embeddings")
TEXT_FOLDERS = ("text_emb",)
METADATA_FOLDER = re.compile(r"metadata|.+[-_]metadata")
_SHARD = re.compile(r".+\.(tar|tar\.gz|tgz|parquet|txt)", re.IGNORECASE | re.DOTALL)
_DIGITS = re.compile(r"[0-9]+")
_SUFFIX = {"npy": ".npy", "parquet": ".parquet", "parquet_npy": ".npy", "clip-retrieval": ".npy", "datacomp": ".npz"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the input, as it was when it was listed.

    Attributes:
        name: Relative to the root of the input, with `/`.
        location: Absolute path, or URL.
        size: Bytes.
        changed: When it was last written, in nanoseconds; the etag of an object.
    """

    name: str
    location: str
    size: int
    changed: int | str

    @property
    def stem(self) -> str:
        """The name without folder and ending."""
        return os.path.basename(self.name).rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class EmbeddingPart:
    """Files that hold the same rows: vectors, and beside them what is there of text vectors and metadata.

    Attributes:
        images: The image vectors; its name is what the `source` column says.
        texts: The text vectors; for `parquet` and `datacomp` the same file.
        metadata: The table; for `parquet` the same file.
    """

    images: SourceFile
    texts: SourceFile | None
    metadata: SourceFile | None

    @property
    def name(self) -> str:
        """What the `source` column says."""
        return self.images.name

    @property
    def files(self) -> list[SourceFile]:
        """Each file once."""
        found = [file for file in (self.images, self.texts, self.metadata) if file is not None]
        return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class EmbeddingFolder:
    """What a folder turned out to hold.

    Attributes:
        format: One of `FORMATS`.
        root: The folder that the files' names start from.
        parts: In the order of the numbers in their names.
    """

    format: str
    root: str
    parts: tuple[EmbeddingPart, ...]


def find_embeddings(
    folder: str, kind: str = AUTO, texts: str | None = None, metadata: str | None = None
) -> EmbeddingFolder:
    """The parts of a folder of vectors.

    Args:
        folder: Where the vectors lie, or the folder above `img_emb/`.
        kind: One of `FORMATS`, or `auto`.
        texts: The folder of the text vectors, if it is none that a format knows.
        metadata: The folder of the tables, likewise.

    Raises:
        InputError: No such folder, no vectors in it, or files that do not pair.

    Example:
        >>> import pathlib, tempfile
        >>> base = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("img_emb/img_emb_10.npy", "img_emb/img_emb_2.npy", "metadata/metadata_02.parquet",
        ...              "metadata/metadata_10.parquet"):
        ...     (base / name).parent.mkdir(exist_ok=True)
        ...     _ = (base / name).write_bytes(b"")
        >>> found = find_embeddings(str(base))
        >>> found.format, [(part.images.stem, part.metadata.stem) for part in found.parts]
        ('clip-retrieval', [('img_emb_2', 'metadata_02'), ('img_emb_10', 'metadata_10')])
    """
    folder = _real_folder(folder)
    texts, metadata = (_real_folder(given) if given else None for given in (texts, metadata))
    kind = found_format(folder, metadata) if kind == AUTO else kind
    images = _image_folder(folder, kind)
    if kind not in {"parquet", "datacomp"}:
        texts = texts or _sub_folder(folder, TEXT_FOLDERS.__contains__)
        metadata = metadata or _sub_folder(folder, METADATA_FOLDER.fullmatch)
    if kind in {"datacomp", "parquet_npy"} and metadata is None:
        metadata = images
    root = _common_root([place for place in (folder, texts, metadata) if place])
    return EmbeddingFolder(kind, root, tuple(_parts(kind, root, images, texts, metadata)))


def holds_vectors(url: str) -> bool:
    """Whether a URL is that of a folder of vectors, by the names in it: one with tars is not."""
    if _SHARD.fullmatch(url) or re.search(r"[*?{[]", url):
        return False
    try:
        return bool(found_format(url))
    except InputError:
        return False


def _common_root(folders: Sequence[str]) -> str:
    if not any(map(files.is_remote, folders)):
        return os.path.commonpath(folders)
    check_one_store(folders)
    scheme = folders[0].partition("://")[0]
    return f"{scheme}://{posixpath.commonpath([folder.partition('://')[2] for folder in folders])}"


def found_format(folder: str, metadata: str | None = None) -> str:
    """The format of a folder, by the names in it.

    Raises:
        InputError: Nothing in it looks like vectors.
    """
    names = files.names_in(folder)
    suffixes = {os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}
    if IMAGE_FOLDERS[0] in names:
        return "clip-retrieval"
    if ".npz" in suffixes:
        return "datacomp"
    if ".npy" in suffixes or _sub_folder(folder, IMAGE_FOLDERS.__contains__):
        tables = metadata or ".parquet" in suffixes or _sub_folder(folder, METADATA_FOLDER.fullmatch)
        return "parquet_npy" if tables else "npy"
    if ".parquet" in suffixes:
        return "parquet"
    hint = f": name its tars, '{folder}/*.tar', to embed them" if ".tar" in suffixes else ""
    raise InputError(f"{folder} holds no vectors: no img_emb/, .npy, .npz or .parquet{hint}")


def paired(images: Sequence[SourceFile], others: Sequence[SourceFile]) -> list[SourceFile]:
    """For each file of vectors the one that belongs to it: of the same name, else of the same number.

    Raises:
        InputError: One has no partner, or two have the same number.

    Example:
        >>> a, b, c = (SourceFile(name, name, 0, 0) for name in ("img_1.npy", "img_2.npy", "m_1.parquet"))
        >>> paired([a], [c])[0].name
        'm_1.parquet'
        >>> paired([a, b], [c])
        Traceback (most recent call last):
        ...
        coreset.engine.errors.InputError: img_2.npy has no partner (2 vectors files, 1 beside): fetch what is missing.
    """
    sides = [(_named(images), _named(others))]
    if sides[0][0].keys() != sides[0][1].keys() or len(sides[0][0]) < len(images):
        sides = [(left, right) for left in _numbered(images) for right in _numbered(others)]
    left, right = next((pair for pair in sides if pair[0].keys() == pair[1].keys()), sides[0])
    alone = [file for side, other in ((left, right), (right, left)) for key, file in side.items() if key not in other]
    if alone:
        shown = ", ".join(file.name for file in alone[:_SHOWN])
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        verb = "has" if len(alone) == 1 else "have"
        raise InputError(
            f"{shown}{more} {verb} no partner ({len(images):,} vectors files, {len(others):,} beside): "
            "fetch what is missing."
        )
    return [right[key] for key in left]


def _parts(kind: str, root: str, images: str, texts: str | None, metadata: str | None) -> list[EmbeddingPart]:
    found = _files(images, _SUFFIX[kind], root)
    if not found:
        raise InputError(f"{images} has no {_SUFFIX[kind]} files: check the folder, or its --format")
    if kind == "parquet":
        return [EmbeddingPart(file, file, file) for file in found]
    tables = _partners(found, metadata, ".parquet", root)
    if kind == "datacomp":  # its names are hashes: a number in them means nothing
        _check_names(found, tables)
    vectors = found if kind == "datacomp" else _partners(found, texts, ".npy", root)
    return [EmbeddingPart(*files) for files in zip(found, vectors, tables, strict=True)]


def _check_names(images: Sequence[SourceFile], tables: Sequence[SourceFile | None]) -> None:
    for image, table in zip(images, tables, strict=True):
        if table is not None and table.stem != image.stem:
            raise InputError(f"{image.name} has no {image.stem}.parquet beside it: fetch what is missing.")


def _partners(images: list[SourceFile], folder: str | None, suffix: str, root: str) -> Sequence[SourceFile | None]:
    if folder is None:
        return [None] * len(images)
    others = _files(folder, suffix, root)
    if not others:
        raise InputError(f"{folder} has no {suffix} files: check the folder, or leave it out")
    return paired(images, others)


def _named(files: Sequence[SourceFile]) -> dict[str, SourceFile]:
    return {file.stem: file for file in files}


def _numbered(files: Sequence[SourceFile]) -> list[dict[str, SourceFile]]:
    """The files by the last number in their names, and by the first: those of the two that tell them apart."""
    numbers = [[int(digits) for digits in _DIGITS.findall(file.stem)] or [0] for file in files]
    ways = [{str(number[place]): file for number, file in zip(numbers, files, strict=True)} for place in (-1, 0)]
    if found := [way for way in ways if len(way) == len(files)]:
        return found
    seen: dict[int, SourceFile] = {}
    one, other = next(
        (seen[number[-1]], file)
        for number, file in zip(numbers, files, strict=True)
        if number[-1] in seen or seen.setdefault(number[-1], file) is not file
    )
    raise InputError(f"{one.name} and {other.name} have no numbers of their own to pair them by: rename one")


def _files(folder: str, suffix: str, root: str) -> list[SourceFile]:
    """The files of a folder with an ending, in the order of the numbers in their names."""
    names = sorted(files.names_in(folder), key=natural_order)
    found = [name for name in names if name.lower().endswith(suffix) and not name.startswith(".")]
    if len(found) > MOST_FILES:
        raise InputError(f"{folder} has {len(found):,} files, more than {MOST_FILES:,}: join some")
    with files.one_look(folder):
        return [_listed(files.join(folder, name), root) for name in found]


def _listed(path: str, root: str) -> SourceFile:
    if files.is_remote(path):
        return SourceFile(path[len(root) + 1 :], path, *(files.size_and_etag(path) or (0, "")))
    try:
        path.encode("utf-8")
        found = os.stat(path)
    except UnicodeEncodeError as error:
        raise InputError(f"the path {path!r} is not UTF-8: rename it") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the link and its permissions") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no regular file: leave it out of the folder")
    return SourceFile(os.path.relpath(path, root).replace(os.sep, "/"), path, found.st_size, found.st_mtime_ns)


def _real_folder(path: str) -> str:
    path = files.located(path)
    if files.is_remote(path):
        if not files.is_folder(path):
            raise InputError(f"{path} is no folder: nothing lies below it; name the folder that holds the vectors")
        return path
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(path):
        raise InputError(f"{path} is no folder: name the folder that holds the vectors")
    return path


def _image_folder(folder: str, kind: str) -> str:
    if kind in {"clip-retrieval", "parquet_npy", "npy"}:
        return _sub_folder(folder, IMAGE_FOLDERS.__contains__) or folder
    return folder


def _sub_folder(folder: str, fits: Callable[[str], object]) -> str | None:
    """The only sub-folder whose name fits; None if there is none.

    Raises:
        InputError: There are two.
    """
    found = [name for name in files.names_in(folder) if fits(name) and files.is_folder(files.join(folder, name))]
    if len(found) > 1:
        raise InputError(f"{folder} holds {found[0]}/ and {found[1]}/, which may both be meant: move one away")
    return files.join(folder, found[0]) if found else None
