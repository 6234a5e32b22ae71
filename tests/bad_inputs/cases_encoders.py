"""Encoders of one's own that do not as they should, checkpoints that do not fit, and vectors that cannot be reused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs.case import CommandCase, good
from command import done
from models import write_model
from strategies_tars import END

from coreset.encoder import loading

SITE, MODULE = "site", "bad_encoder"
PROGRAM = """
import numpy as np
import torch


class Encoder:
    dimension = 4
    identity = "1"

    def __init__(self, choice):
        self.calls = 0

    def prepared(self, image):
        return torch.tensor(image.getpixel((0, 0))).float()

    def image_vectors(self, prepared):
        return np.eye(4, dtype=np.float32)[[0] * len(prepared)]

    def text_vectors(self, captions):
        return np.eye(4, dtype=np.float32)[[0] * len(captions)]
"""


def forget() -> None:
    """As if nothing had been loaded."""
    sys.modules.pop(MODULE, None)
    loading._loaded.cache_clear()


def write_encoder(folder: Path, body: str, name: str = "bad") -> None:
    """A package that declares an encoder, and tars that are whole."""
    (folder / f"{SITE}/mine-1.0.dist-info").mkdir(parents=True, exist_ok=True)
    (folder / f"{SITE}/mine-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    entry = f"[coreset.encoders]\n{name} = {MODULE}:Encoder\n"
    (folder / f"{SITE}/mine-1.0.dist-info/entry_points.txt").write_text(entry)
    (folder / f"{SITE}/{MODULE}.py").write_text(PROGRAM + body)
    (folder / "good.tar").write_bytes(good("one/a") + good("one/z") + END)


def own(
    name: str,
    given: str,
    body: str,
    *words: str,
    code: int = 3,
    effect: str = "",
    flags: tuple[str, ...] = (),
    check: Callable[[Path], object] | None = None,
) -> CommandCase:
    """An encoder whose methods are replaced by others."""
    command = ("embed", "--model", "encoder:bad", "good.tar", *flags)
    writes = code in {0, 4}
    return CommandCase(name, given, lambda f: write_encoder(f, body), command, code, words, effect, writes, check)


def method(name: str, line: str) -> str:
    """The encoder with another method; what it was called for is `given`."""
    return f"    def {name}(self, given):\n        {line}\n"


def grown(folder: Path) -> None:
    """A run of an encoder that has another dimension since, and a shard that is new."""
    write_encoder(folder, "")
    done("embed", "--model", "encoder:bad", "good.tar", cwd=folder)
    write_encoder(folder, "    dimension = 8\n" + method("image_vectors", WIDE) + method("text_vectors", WIDE))
    (folder / "more.tar").write_bytes(good("two/a") + END)
    forget()


WIDE = "return np.eye(8, dtype=np.float32)[[0] * len(given)]"
GREEDY = (
    "if len(given) > {most}: raise torch.OutOfMemoryError('CUDA out of memory')\n"
    "        return np.eye(4)[[0] * len(given)]"
)

OWN = [
    own("own images too wide", "vectors of pictures of another dimension", method("image_vectors", WIDE), "(64, 8)"),
    own("own captions too wide", "vectors of captions of another dimension", method("text_vectors", WIDE), "(1, 8)"),
    own(
        "own too few",
        "a vector less than pictures",
        method("image_vectors", "return np.eye(4, dtype=np.float32)[[0] * (len(given) - 1)]"),
        "image_vectors gave the shape (63, 4), not (64, 4)",
    ),
    own(
        "own no array",
        "a list instead of vectors",
        method("text_vectors", "return [[1.0, 0.0, 0.0, 0.0]] * len(given)"),
        "text_vectors gave list",
    ),
    own(
        "own not of length 1",
        "vectors that are not of length 1",
        method("image_vectors", "return 3 * np.eye(4, dtype=np.float32)[[0] * len(given)]"),
        "vectors of length 3; 1 is wanted",
    ),
    own(
        "own raises",
        "an encoder that fails",
        method("image_vectors", "raise KeyError('layer 3')"),
        "encoder:bad failed in image_vectors: KeyError: 'layer 3'",
    ),
    own(
        "own raises for a picture",
        "an encoder that fails when it prepares a picture",
        method("prepared", "raise ValueError('odd size')"),
        "failed in prepared: ValueError: odd size",
    ),
    own(
        "own cannot be made",
        "an encoder whose weights are not there",
        "    def __init__(self, choice):\n        open('/nowhere/weights.pt')\n",
        "could not be loaded from bad_encoder:Encoder: FileNotFoundError",
    ),
    own(
        "own without a method",
        "an object that is no encoder",
        "del Encoder.text_vectors\n",
        "is no encoder",
        "no text_vectors",
    ),
    own("own of no dimension", "a dimension of 0", "    dimension = 0\n", "the dimension 0"),
    own(
        "own gives NaN",
        "NaN for pictures, now and then",
        "    calls = 0\n"
        + method(
            "image_vectors",
            "self.calls += 1\n        return np.float32([[1, 0, 0, 0] if self.calls == 1 or place else [np.nan] * 4"
            " for place in range(len(given))])",
        ),
        "not_finite",
        code=4,
        effect="these pictures are in quarantine as `not_finite`, the others are embedded",
    ),
    own(
        "own without identity",
        "no `identity` and no torch module",
        "    identity = None\n",
        "has no `identity` and no torch module",
        code=0,
        effect="said in a line: a change of its weights will not be noticed",
    ),
    own(
        "own of little memory",
        "memory for half a batch",
        method("image_vectors", GREEDY.format(most=32)),
        "a batch of 64 does not fit into the memory; 32 is tried and recorded",
        code=0,
        effect="half the batch is tried once, said and recorded",
    ),
    own(
        "own of no memory",
        "memory for less than half a batch",
        method("image_vectors", GREEDY.format(most=31)),
        "A batch of 32 does not fit into the memory",
        "--batch-size",
        code=5,
    ),
    CommandCase(
        "own of another name",
        "an entry point that no package has",
        lambda folder: write_encoder(folder, "", "badly"),
        ("embed", "--model", "encoder:bad", "good.tar"),
        3,
        ("did you mean encoder:badly",),
    ),
    CommandCase(
        "own of another dimension",
        "an encoder that has another dimension since, for a shard that was added",
        grown,
        ("embed", "--model", "encoder:bad", "good.tar", "more.tar"),
        7,
        ("8 numbers", "of 4"),
        writes=True,
    ),
]


def tar_and_models(folder: Path, *kinds: str) -> None:
    (folder / "good.tar").write_bytes(good("one/a") + good("one/z") + END)
    for kind in kinds:
        write_model(folder / kind, kind)


def of_another_architecture(folder: Path) -> None:
    tar_and_models(folder, "clip", "resnet")
    shutil.copy(folder / "resnet/model.safetensors", folder / "clip/model.safetensors")


def cut_behind_its_header(folder: Path) -> None:
    tar_and_models(folder, "clip")
    file = folder / "clip/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


MODELS = [
    CommandCase(
        "weights of another architecture",
        "a checkpoint of another architecture",
        of_another_architecture,
        ("embed", "--model", "local-dir:clip", "good.tar"),
        3,
        ("another architecture", "missing (visual.class_embedding", "unknown (visual."),
    ),
    CommandCase(
        "weights that lack their end",
        "a checkpoint that lacks its last bytes",
        cut_behind_its_header,
        ("embed", "--model", "local-dir:clip", "good.tar"),
        3,
        ("could not be loaded",),
    ),
]


def short_vectors(folder: Path) -> None:
    tar_and_models(folder, "clip")
    for name in ("img_emb", "metadata"):
        (folder / "old" / name).mkdir(parents=True)
    np.save(folder / "old/img_emb/img_emb_0.npy", np.eye(4, dtype=np.float16))
    pq.write_table(pa.table({"key": ["one/a", "b", "c", "d"]}), folder / "old/metadata/metadata_0.parquet")


def run_of_another_model(folder: Path) -> None:
    tar_and_models(folder, "clip", "mobileclip")
    done("embed", "--model", "local-dir:mobileclip", "good.tar", "--run", "old", cwd=folder)


def no_vectors(folder: Path) -> None:
    tar_and_models(folder, "clip")
    (folder / "old").mkdir()


def reused(name: str, given: str, build: Callable[[Path], None], *words: str) -> CommandCase:
    command = ("embed", "--model", "local-dir:clip", "--reuse", "old", "good.tar")
    return CommandCase(name, given, build, command, 3, words, writes=True)


REUSED = [
    reused("reuse of another dimension", "`--reuse` of vectors of another dimension", short_vectors, "4 numbers", "24"),
    reused("reuse of another model", "`--reuse` of a run of another model", run_of_another_model, "old", "weights"),
    reused(
        "reuse of no vectors",
        "`--reuse` of a folder without vectors",
        no_vectors,
        "old",
    ),
]
