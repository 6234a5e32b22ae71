"""Files that are no shards, values that cannot be meant, and models that are not to be trusted."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_inputs.case import CommandCase, good
from bad_inputs.cases_tars import Payload
from strategies_tars import END, header

from coreset.demo import FOLDER, MODEL

EMBED = ("embed", "--model", MODEL)


def nothing(folder: Path) -> None:
    """No input at all."""


def beside_good(name: str, content: bytes) -> Callable[[Path], None]:
    """A whole tar and another file."""

    def build(folder: Path) -> None:
        (folder / "good.tar").write_bytes(good("one/a") + good("one/z") + END)
        (folder / name).write_bytes(content)

    return build


def no_shard(name: str, given: str, content: bytes, *words: str, file: str = "bad.tar") -> CommandCase:
    """A file that is no tar: refused before the tars around it are embedded."""
    return CommandCase(name, given, beside_good(file, content), (*EMBED, "good.tar", file), 3, (file, *words))


def typed(name: str, given: str, *patterns: str, code: int = 3, words: tuple[str, ...] = ()) -> CommandCase:
    """What was typed names no file that can be read."""
    return CommandCase(
        name,
        given,
        beside_good("list.txt", b"# nothing\n"),
        (*EMBED, *patterns),
        code,
        words,
        alone="{" in patterns[-1],
    )


def tars(**contents: bytes) -> Callable[[Path], None]:
    return lambda folder: [(folder / f"{name}.tar").write_bytes(content) for name, content in contents.items()] and None


def flag(name: str, given: str, command: str, *words: str, code: int = 2) -> CommandCase:
    """A value for a run that is complete: refused, and every file of the run stays as it is."""
    return CommandCase(name, given, nothing, tuple(command.split()), code, words)


def recipe(name: str, given: str, content: bytes, *words: str) -> CommandCase:
    """A recipe that means nothing."""
    return CommandCase(name, given, beside_good("coreset.toml", content), ("embed",), 2, words)


def weights(name: str, given: str, files: dict[str, bytes], *words: str) -> CommandCase:
    """A folder of a model that cannot be loaded."""

    def build(folder: Path) -> None:
        beside_good("note.txt", b"")(folder)
        (folder / "model").mkdir()
        for file, content in files.items():
            (folder / "model" / file).write_bytes(content)

    return CommandCase(
        name, given, build, ("embed", "--model", "local-dir:model", "good.tar"), 3, words, check=not_run, alone=True
    )


def not_run(folder: Path) -> None:
    assert not (folder / "UNPICKLED").exists()
    assert not (folder / "run/rows/plan.json").exists()


def pickled_weights(folder: Path) -> None:
    import torch

    beside_good("note.txt", b"")(folder)
    torch.save({"state_dict": Payload()}, folder / "weights.pt")


def centroids(name: str, given: str, array: np.ndarray | bytes | None, *words: str) -> CommandCase:
    def build(folder: Path) -> None:
        said = folder / "coreset.toml"
        said.write_text(said.read_text().replace("clusters = 3", ""))
        if isinstance(array, bytes):
            (folder / "c.npy").write_bytes(array)
        elif array is not None:
            np.save(folder / "c.npy", array, allow_pickle=True)

    return CommandCase(name, given, build, ("dedup", "--centroids", "c.npy", "--overwrite"), 3, words, check=not_run_c)


def not_run_c(folder: Path) -> None:
    assert not (folder / "UNPICKLED").exists()


CONFIG = (Path(FOLDER) / "model/open_clip_config.json").read_bytes()
TENSORS = (Path(FOLDER) / "model/open_clip_model.safetensors").read_bytes()[:5000]

NO_SHARDS = [
    no_shard("0 bytes", "a .tar of 0 bytes", b"", "has 0 bytes"),
    no_shard("10 KB of zeros", "a .tar of 10 KB of zeros", bytes(10240), "is an empty tar"),
    no_shard(
        "web page named tar",
        "an HTML page of an error 403 named .tar",
        b"<!DOCTYPE html><html><title>403 Forbidden</title></html>" * 20,
        "look like HTML",
    ),
    no_shard("json named tar", "an error in JSON named .tar", b'{"error": "403"}' * 50, "look like json"),
    no_shard("zip named tar", "a zip named .tar", b"PK\x03\x04" + bytes(600), "look like zip"),
    no_shard("Parquet named tar", "a Parquet named .tar", b"PAR1" + bytes(600), "look like Parquet"),
    no_shard(
        "git-lfs pointer",
        "a git-lfs pointer named .tar",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "git-lfs pointer",
    ),
    no_shard("bzip2 tar", "a tar packed with bzip2", b"BZh91AY&SY" + bytes(600), "look like bzip2"),
    no_shard("xz tar", "a tar packed with xz", b"\xfd7zXZ\0" + bytes(600), "look like xz"),
    no_shard("zstd tar", "a tar packed with zstd", b"\x28\xb5\x2f\xfd" + bytes(600), "look like zstd"),
    no_shard("random bytes", "random bytes named .tar", bytes(range(7, 207)) * 20, "are no tar header"),
    no_shard(
        "gzip of a web page",
        "a gzipped HTML page named .tar.gz",
        gzip.compress(b"<html>" * 300),
        "is gzip without a tar",
        file="bad.tar.gz",
    ),
    no_shard(
        "gzip cut in its header",
        "5 bytes of gzip named .tar.gz",
        gzip.compress(b"x")[:5],
        "is gzip without a tar",
        file="bad.tar.gz",
    ),
    no_shard(
        "not named like a tar", "a tar named .bin", good("two/a") + END, "is not named like a tar", file="bad.bin"
    ),
    no_shard("list of lists", "a list that names another list", b"other.txt\n", "lists another list", file="bad.txt"),
    no_shard("list not UTF-8", "a list in Latin-1", b"caf\xe9.tar\n", "cannot be read", file="bad.txt"),
    typed("empty list", "a list of comments only", "list.txt", words=("names no file",)),
    typed("no such file", "a tar that is not there", "good.tar", "gone.tar", words=("no such file", "gone.tar")),
    typed("nothing matches", "a pattern that matches nothing", "x*.tar", words=("no file matches 'x*.tar'",)),
    typed("a pipe", "`pipe:` and a command", "pipe:touch UNPICKLED", words=("would run a command", "never does")),
    typed(
        "a signed web address",
        "an address of http with a signature",
        "http://127.0.0.1:9/a.tar?X-Amz-Signature=0f",
        words=("holds a signature",),
    ),
    typed(
        "an address of S3 with a password",
        "an address of S3 with a password",
        "s3://me:pw@bucket/{00000..00099}.tar",
        words=("holds a password",),
    ),
    typed("a folder", "a folder", ".", words=("is a folder",)),
    typed(
        "braces without end",
        "braces that stand for 1e18 files",
        "{0..999999999999999999}.tar",
        words=("more than 1000000 files",),
    ),
    typed(
        "braces times braces",
        "braces that multiply to 1e12 files",
        "{0..9999}" * 3 + ".tar",
        words=("more than 1000000 files",),
    ),
    typed(
        "missing files of braces",
        "braces of which no file is there",
        "x{0..999}.tar",
        words=("1000 of 1000 are missing",),
    ),
    CommandCase(
        "a dangling link",
        "a link to a tar that is gone",
        lambda f: (f / "bad.tar").symlink_to("gone.tar"),
        (*EMBED, "bad.tar"),
        3,
        ("cannot be read",),
    ),
    CommandCase(
        "a pipe of the file system",
        "a named pipe with the name .tar",
        lambda f: os.mkfifo(f / "bad.tar"),
        (*EMBED, "bad.tar"),
        3,
        ("is no regular file",),
    ),
    CommandCase(
        "a device",
        "a device named .tar",
        lambda f: (f / "bad.tar").symlink_to("/dev/zero"),
        (*EMBED, "bad.tar"),
        3,
        ("is no regular file",),
    ),
    CommandCase(
        "one key first in two tars",
        "two tars that begin with one key",
        tars(one=good("x/a") + END, two=good("x/a") + END),
        (*EMBED, "*.tar"),
        3,
        ("Key x/a is in", "--prefix-keys"),
    ),
    CommandCase(
        "one key deep in two tars",
        "two tars with one key, not their first",
        tars(one=good("1/a") + good("x/b") + END, two=good("2/a") + good("x/b") + END),
        (*EMBED, "*.tar"),
        3,
        ("Key x/b is in", "--prefix-keys"),
        writes=True,
    ),
    CommandCase(
        "one key in two tars, prefixed",
        "the same and `--prefix-keys`",
        tars(one=good("x/a") + END, two=good("x/a") + END),
        (*EMBED, "*.tar", "--prefix-keys"),
        0,
        ("2 samples",),
        "both are kept as SOURCE/KEY",
        writes=True,
    ),
    CommandCase(
        "nothing usable",
        "tars of which no sample is usable",
        tars(one=header("1/a.png") + header("1/a.txt") + END),
        (*EMBED, "one.tar", "--max-bad", "1"),
        4,
        ("empty_image",),
        "the stage is complete, and the exit code says that too much was refused",
        writes=True,
    ),
]

VALUES = [
    flag("threshold 86", "a threshold of 86", "dedup --threshold 86", "86", "0.86"),
    flag("threshold 0", "a threshold of 0", "dedup --threshold 0", "0"),
    flag("threshold -0.5", "a threshold below 0", "dedup --threshold -0.5", "-0.5"),
    flag("threshold 1.01", "a threshold above 1", "dedup --threshold 1.01", "1.01"),
    flag("threshold nan", "a threshold of NaN", "dedup --threshold nan", "nan"),
    flag("threshold inf", "an infinite threshold", "dedup --threshold inf", "inf"),
    flag("bound 80", "a bound of 80", "dedup --min-kept-cosine 80", "80", "did you mean 0.8?"),
    flag("bound above the threshold", "a bound of 0.9", "dedup --threshold 0.8 --min-kept-cosine 0.9", "0.9", "0.8"),
    flag("threshold of words", "a threshold of words", "dedup --threshold high", "--threshold", "number"),
    flag("keep unknown", "a rule for survivors that is not known", "dedup --keep best", "best", "median"),
    flag("window 60 40", "a window of ranks that ends before it begins", "sample -n 1 --text-rank 60 40", "60", "40"),
    flag("window 40 40", "a window of ranks of nothing", "sample -n 1 --text-rank 40 40", "40"),
    flag("window -5 50", "a window below 0 %", "sample -n 1 --text-rank -5 50", "-5"),
    flag("window 50 101", "a window above 100 %", "sample -n 1 --centroid-rank 50 101", "101"),
    flag("window nan 50", "a window from NaN", "sample -n 1 --centroid-rank nan 50", "nan"),
    flag(
        "window that is empty",
        "a window that holds no row of so few",
        "sample -n 1 --text-rank 40 40.001",
        "more than the 0 rows left",
        "widen the windows",
        code=3,
    ),
    flag("n of 0", "0 rows", "sample -n 0", "0"),
    flag("n of -1", "-1 rows", "sample -n -1", "-1"),
    flag("n of 2.5", "2.5 rows", "sample -n 2.5", "-n", "integer"),
    flag("n too large", "more rows than are left", "sample -n 2000000", "2,000,000", "--allow-fewer", code=3),
    flag("n beyond 64 bits", "2 to the 70 rows", f"sample -n {2**70}", "--allow-fewer", code=3),
    flag("negative seed", "a seed of -1", "sample -n 1 --seed -1", "-1"),
    flag("seed beyond 64 bits", "a seed of 2 to the 70", f"sample -n 1 --seed {2**70}", "seed"),
    flag("clusters -1", "-1 clusters", "dedup --clusters -1", "-1"),
    flag("more clusters than rows", "more clusters than rows", "dedup --clusters 1000 --overwrite", "1,000", code=3),
    flag(
        "clusters and centroids",
        "`--clusters` and `--centroids`",
        "dedup --clusters 3 --centroids c.npy",
        "--centroids",
    ),
    flag("memory of words", "a memory of words", "sample -n 1 --memory lots", "lots", "8GiB"),
    flag("memory 1e400", "an infinite memory", "sample -n 1 --memory 1e400", "1e400"),
    flag("memory of 1 kB", "a memory of 1 kB", "dedup --threshold 0.9 --memory 1kB", "--memory", code=5),
    flag("workers 0", "0 processes", "sample -n 1 --workers 0", "workers"),
    flag("max-bad 101", "`--max-bad` of 101 %", "sample -n 1 --max-bad 101", "max-bad"),
    flag("batch size 0", "a batch of 0 pictures", "embed --batch-size 0", "--batch-size 0"),
    flag("device unknown", "a device that is not known", "embed --device tpu", "tpu", "auto, cpu, cuda"),
    flag("precision unknown", "a precision that is not known", "embed --precision int4", "int4", "float32"),
    flag(
        "model unknown",
        "a model that is not known",
        "embed --model ViT-L14 --pretrained openai",
        "did you mean",
        code=3,
    ),
    flag(
        "tag unknown",
        "weights that are not known",
        "embed --model ViT-L-14 --pretrained openia",
        "did you mean",
        code=3,
    ),
    flag(
        "model of nowhere",
        "a model in a folder that is not there",
        "embed --model local-dir:/nowhere",
        "open_clip_config.json",
        code=3,
    ),
    flag("format unknown", "a format that is not known", "import in --format hdf5", "hdf5", "clip-retrieval"),
    flag("flag unknown", "a flag that is not known", "sample -n 1 --sed 3", "No such option"),
    flag("command unknown", "a command that is not known", "dedupe", "dedupe"),
]

RECIPES = [
    recipe("recipe that is no TOML", "a recipe that is no TOML", b"[embed\nmodel =", "not valid TOML"),
    recipe("recipe not UTF-8", "a recipe in Latin-1", b'input = ["caf\xe9.tar"]', "not UTF-8"),
    recipe(
        "recipe with an unknown name",
        "a recipe with a misspelt name",
        b"[dedup]\ntreshold = 0.9",
        "did you mean threshold",
    ),
    recipe("recipe with an unknown section", "a recipe with a misspelt section", b"[embd]\n", "did you mean embed"),
    recipe("recipe with a wrong type", "a threshold in quotes", b'[dedup]\nthreshold = "0.9"', "dedup.threshold"),
    recipe(
        "recipe with a truth for a number", "a batch size of true", b"[embed]\nbatch_size = true", "embed.batch_size"
    ),
    recipe("recipe with a section as a value", "a section that is a number", b"embed = 3", "[embed]"),
    recipe("recipe with input of numbers", "an input of numbers", b"input = [1, 2]", "list of paths"),
    recipe("recipe with three bounds", "a window of three numbers", b"[sample]\ntext_rank = [1, 2, 3]", "two numbers"),
    recipe("recipe nested deep", "a recipe of 50,000 brackets", b"input = " + b"[" * 50_000, "not valid TOML"),
    recipe("recipe with a date", "a seed that is a date", b"[sample]\nseed = 1979-05-27", "sample.seed"),
    recipe(
        "recipe with a key twice", "a recipe that says something twice", b"[sample]\nn = 1\nn = 2", "not valid TOML"
    ),
    recipe("recipe with infinity", "an infinite threshold in a recipe", b"[dedup]\nthreshold = inf", "inf"),
]

MODELS = [
    CommandCase(
        "pickled weights",
        "weights whose pickle runs code",
        pickled_weights,
        ("embed", "--model", "RN50", "--pretrained", "weights.pt", "good.tar"),
        3,
        ("could not be loaded", "may run code", "safetensors"),
        check=not_run,
        alone=True,
    ),
    weights(
        "weights cut",
        "safetensors cut short",
        {"open_clip_config.json": CONFIG, "open_clip_model.safetensors": TENSORS},
        "could not be loaded",
    ),
    weights(
        "weights that claim much",
        "safetensors whose header claims 2 to the 60 bytes",
        {"open_clip_config.json": CONFIG, "open_clip_model.safetensors": struct.pack("<Q", 2**60) + b"{}"},
        "could not be loaded",
    ),
    weights(
        "web page for weights",
        "an HTML page for safetensors",
        {"open_clip_config.json": CONFIG, "open_clip_model.safetensors": b"<!DOCTYPE html>" * 99},
        "could not be loaded",
    ),
    weights("model without weights", "a model's folder without weights", {"open_clip_config.json": CONFIG}, "weights"),
    weights(
        "config of garbage",
        "a model's configuration that is no JSON",
        {"open_clip_config.json": b"<html>", "open_clip_model.safetensors": TENSORS},
        "could not be loaded",
    ),
    weights(
        "config of another kind",
        "a model's configuration without a model",
        {"open_clip_config.json": json.dumps({"x": 1}).encode(), "open_clip_model.safetensors": TENSORS},
        "could not be loaded",
    ),
    centroids("centroids that are not there", "a file of centroids that is not there", None, "c.npy"),
    centroids("centroids of another dimension", "centroids of another dimension", np.ones((3, 5), np.float32), "5"),
    centroids("centroids with NaN", "centroids with NaN", np.full((3, 8), np.nan, np.float32), "finite"),
    centroids("centroids too long", "a centroid longer than 4", np.full((3, 8), 9, np.float32), "4"),
    centroids("centroids of whole numbers", "centroids of whole numbers", np.ones((3, 8), np.int64), "float"),
    centroids("pickled centroids", "centroids of pickled objects", np.array([[Payload()]], object), "c.npy"),
    centroids("centroids of garbage", "centroids that are no .npy", b"<html>", "c.npy"),
    centroids(
        "centroids that claim much",
        "centroids whose header claims 14 TiB",
        b"\x93NUMPY\1\0\x46\0" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (481036337152, 8), }\n",
        "c.npy",
    ),
]
