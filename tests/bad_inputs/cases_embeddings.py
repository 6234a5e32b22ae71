"""Folders of vectors: headers that lie, files that do not fit together, rows that cannot be used."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs.case import CommandCase, VectorsCase, npy_header
from bad_inputs.cases_tars import Payload
from folders import lists, random_vectors, write_clip_retrieval, write_datacomp, write_lists, write_npy
from importing import IMAGE, META, TEXT, array, raw, remove, rename, table

ROWS = 150
FIRST = 25
"""The first row of the files that are harmed, of 50 rows."""
Harm = Callable[[Path], object]
AGAIN = ("fetch it again",)


def refused(name: str, given: str, harm: Harm, *words: str, alone: bool = False) -> CommandCase:
    """A folder that is refused before any work."""

    def build(folder: Path) -> None:
        write_clip_retrieval(folder / "in", random_vectors(ROWS))
        harm(folder / "in")

    return CommandCase(name, given, build, ("import", "in"), 3, words, alone=alone)


def header(name: str, given: str, shape: str, *words: str, **fields: str) -> CommandCase:
    """A `.npy` whose header says something else about the same numbers."""
    return refused(name, given, raw(IMAGE, lambda b: npy_header(shape, **fields) + b[128:]), IMAGE, *words, alone=True)


def row(name: str, given: str, reason: str, harm: Harm) -> VectorsCase:
    """One row that cannot be used: the fourth of the second file."""
    return VectorsCase(name, given, harm, (f"{FIRST + 3} {reason}",))


def number(name: str, given: str, reason: str, value: float) -> VectorsCase:
    def change(x: np.ndarray) -> np.ndarray:
        x[3, 2] = value
        return x

    return row(name, given, reason, array(IMAGE, change))


def cell(name: str, given: str, reason: str, column: str, value: object, kind: Any = None) -> VectorsCase:
    return row(name, given, reason, set_cell(column, value, kind))


def allowed(name: str, given: str, column: str, value: object, unscored: bool = False) -> VectorsCase:
    """The same with `--allow-missing-caption`: a row that has no cosine, whatever the table says."""
    harms = [set_cell(column, value), *([set_cell("similarity", None)] if unscored else [])]

    def check(rows: pa.Table) -> None:
        found = {row["key"]: (row["caption"], row["text_cosine"]) for row in rows.to_pylist()}
        assert found.pop(f"{FIRST + 3:09d}") == (None, None)
        assert all(None not in said for said in found.values())

    return VectorsCase(
        name,
        f"{given}, and `--allow-missing-caption`",
        lambda folder: [harm(folder) for harm in harms],
        flags=("--allow-missing-caption",),
        effect="a row without a text cosine",
        new=True,
        check=check,
    )


def set_cell(column: str, value: object, kind: Any = None) -> Harm:
    def change(t: pa.Table) -> pa.Table:
        values = t[column].to_pylist()
        if kind is not None and pa.types.is_binary(kind):
            values = [text.encode() for text in values]
        values[3] = value
        place = t.column_names.index(column)
        return t.set_column(place, column, pa.array(values, kind or t[column].type, from_pandas=False))

    return table(META, change)


def second_vectors(file: Path) -> None:
    found = pq.read_table(file)
    pq.write_table(
        pa.Table.from_arrays([*found.columns, found["embedding"]], names=[*found.column_names, "embedding"]), file
    )


def all_images(change: Callable[[np.ndarray], np.ndarray]) -> Harm:
    return lambda folder: [array(f"img_emb/img_emb_{part}.npy", change)(folder) for part in range(3)]


def in_lists(change: Callable[[list[Any]], None]) -> Harm:
    """The same rows in list columns, the second file of them harmed."""

    def harm(folder: Path) -> None:
        shutil.rmtree(folder)
        write_lists(folder, random_vectors(ROWS))
        found = pq.read_table(folder / "001.parquet")
        vectors = found["embedding"].to_pylist()
        change(vectors)
        place = found.column_names.index("embedding")
        pq.write_table(
            found.set_column(place, "embedding", pa.array(vectors, pa.list_(pa.float16()))), folder / "001.parquet"
        )

    return harm


def in_npz(change: Callable[[Path], object]) -> Harm:
    """DataComp's layout of one part, with a harmed `.npz`."""

    def harm(folder: Path) -> None:
        shutil.rmtree(folder)
        write_datacomp(folder, random_vectors(ROWS), parts=1)
        change(next(folder.glob("*.npz")))

    return harm


def of_length(length: float) -> Harm:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64)
        x[3] *= length / np.linalg.norm(x[3])
        return x.astype(np.float16)

    return array(IMAGE, change)


def zip_bomb(path: Path) -> None:
    """An array whose header claims 1 TiB, in a zip of a few KB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("l14_img.npy", npy_header(f"({2**35}, 16)") + bytes(1 << 20))


def pickled(path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([[Payload()]]), allow_pickle=True)
    path.write_bytes(file.getvalue())


def exchanged(folder: Path) -> None:
    rename(META, "m")(folder)
    rename("metadata/metadata_2.parquet", META)(folder)
    rename("m", "metadata/metadata_2.parquet")(folder)


def not_unpickled(folder: Path) -> None:
    assert not list(folder.rglob("UNPICKLED"))


def extension_type(folder: Path) -> None:
    """A column of a type that old readers unpickle when they see it (CVE-2023-47248)."""
    path = folder / META
    found = pq.read_table(path)
    said = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Payload())}
    kind = pa.field("extra", pa.string(), metadata=said)
    pq.write_table(found.append_column(kind, pa.array(["x"] * found.num_rows)), path)


def two_keys(t: pa.Table) -> pa.Table:
    return t.append_column("key", t["key"])


def as_ipc(folder: Path) -> None:
    found = pq.read_table(folder / META)
    with pa.OSFile(str(folder / META), "wb") as sink, pa.ipc.new_file(sink, found.schema) as writer:
        writer.write_table(found)


FOLDERS = [
    *(
        CommandCase(case.name, case.given, case.build, case.command, 3, case.words, check=not_unpickled)
        for case in [
            refused("pickled objects", "a .npy of pickled objects", lambda f: pickled(f / IMAGE), "holds '|O'"),
            refused(
                "pickle named npy",
                "a pickle with the name .npy",
                lambda f: (f / IMAGE).write_bytes(pickle.dumps(Payload())),
                "is no .npy file",
            ),
            header("code in a header", "a .npy whose header calls a function", "__import__('os')", "damaged header"),
        ]
    ),
    header("14 TiB", "a .npy header that claims 14 TiB", f"({14 * 2**40 // 32}, 16)", "is cut", *AGAIN),
    header("2 to the 62 rows", "a .npy header whose size overflows 64 bits", f"({2**62}, 16)", "shape"),
    header(
        "shape of 5,000 digits", "a .npy header with a number of 5,000 digits", f"({'9' * 5000}, 16)", "damaged header"
    ),
    header("negative rows", "a .npy header of -1 rows", "(-1, 16)", "shape (-1, 16)"),
    header("rows in quotes", "a .npy header whose shape is text", "'50, 16'", "shape"),
    header("half a row", "a .npy header of 50.5 rows", "(50.5, 16)", "shape (50.5, 16)"),
    header("truth as a number", "a .npy header of True rows", "(True, 16)", "shape (True, 16)"),
    header("deep brackets", "a .npy header of 4,000 brackets", "(" * 4000 + ")" * 4000, "damaged header"),
    header("structured type", "a .npy of a structured type", "(50, 16)", "vectors are float16", descr="[('x', '<f2')]"),
    header("order that is no truth", "a .npy header whose order is 7", "(50, 16)", "damaged header", order="7"),
    refused("whole numbers", "a .npy of int8", array(IMAGE, lambda x: x.astype(np.int8)), "'|i1'"),
    refused("complex numbers", "a .npy of complex numbers", array(IMAGE, lambda x: x.astype(np.complex64)), "'<c8'"),
    refused("one dimension", "a .npy of one dimension", array(IMAGE, lambda x: x[0]), "shape (16,)"),
    refused("three dimensions", "a .npy of three dimensions", array(IMAGE, lambda x: x[None]), "shape (1, "),
    refused("vectors of no numbers", "a .npy of shape (50, 0)", array(IMAGE, lambda x: x[:, :0]), "shape (50, 0)"),
    refused("another version", "a .npy of version 9", raw(IMAGE, lambda b: b[:6] + b"\x09" + b[7:]), "version 9"),
    refused(
        "header length of 65,535",
        "a .npy whose header claims 65,535 bytes",
        raw(IMAGE, lambda b: b[:8] + b"\xff\xff" + b[10:]),
        "damaged header",
    ),
    refused(
        "cut by one row", "a .npy that lacks its last row", raw(IMAGE, lambda b: b[:-32]), "49 of the 50 rows", *AGAIN
    ),
    refused("cut inside a row", "a .npy that lacks its last byte", raw(IMAGE, lambda b: b[:-1]), "49 of the 50 rows"),
    refused("cut in the header", "a .npy cut in its header", raw(IMAGE, lambda b: b[:40]), "damaged header"),
    refused("npy of no bytes", "a .npy of 0 bytes", raw(IMAGE, lambda b: b""), "has 0 bytes"),
    refused(
        "web page named npy", "an HTML page named .npy", raw(IMAGE, lambda b: b"<!DOCTYPE html>" + b), "begins with"
    ),
    refused(
        "another dimension",
        "vectors of another length than their texts",
        array(IMAGE, lambda x: x[:, :8]),
        TEXT,
        "16 numbers",
        "of 8",
    ),
    refused(
        "another dimension in one file",
        "files of vectors of different lengths",
        lambda f: [array(name, lambda x: x[:, :8])(f) for name in (IMAGE, TEXT)],
        "img_emb_0.npy has 16",
        f"{IMAGE} 8",
    ),
    refused(
        "another type in one file",
        "files of float16 and float32",
        array(IMAGE, lambda x: x.astype(np.float32)),
        "float16",
        "float32",
    ),
    refused(
        "fewer rows",
        "a file of vectors with a row less than its table",
        array(IMAGE, lambda x: x[:-1]),
        "has 49 rows",
        "has 50 rows",
    ),
    refused(
        "fewer text vectors", "a file of text vectors with a row less", array(TEXT, lambda x: x[:-1]), "has 49 rows"
    ),
    refused(
        "a row inserted",
        "a table with a row more",
        table(META, lambda t: pa.concat_tables([t, t.slice(0, 1)])),
        "51 rows",
    ),
    refused(
        "no rows in one file", "one file of 0 vectors beside a table of 50", array(IMAGE, lambda x: x[:0]), "has 0 rows"
    ),
    refused(
        "no rows at all",
        "files of 0 rows everywhere",
        lambda f: [
            *(
                write_npy(f / f"{kind}_emb/{kind}_emb_{i}.npy", np.zeros((0, 16), np.float16))
                for kind in ("img", "text")
                for i in range(3)
            ),
            *(table(f"metadata/metadata_{i}.parquet", lambda t: t.slice(0, 0))(f) for i in range(3)),
        ],
        "holds no vectors",
    ),
    refused("vectors missing", "a file of vectors missing", remove(IMAGE), "has no partner"),
    refused("table missing", "a table missing", remove(META), "has no partner"),
    refused("texts missing", "a file of text vectors missing", remove(TEXT), "has no partner"),
    refused(
        "another number", "a table with another number", rename(META, "metadata/metadata_7.parquet"), "have no partner"
    ),
    refused(
        "one number twice",
        "two tables of one number",
        lambda f: shutil.copy(f / META, f / "metadata/metadata_01.parquet"),
        "no numbers of their own",
    ),
    refused(
        "folder named npy",
        "a folder named .npy",
        lambda f: [(f / IMAGE).unlink(), (f / IMAGE).mkdir()],
        "no regular file",
    ),
    refused(
        "dangling link",
        "a link to a file that is gone",
        lambda f: [(f / IMAGE).unlink(), (f / IMAGE).symlink_to("nowhere.npy")],
        "cannot be read",
    ),
    refused(
        "table cut", "a Parquet cut in half", raw(META, lambda b: b[: len(b) // 2]), META, "no Parquet file, or damaged"
    ),
    refused(
        "table of garbage",
        "a Parquet whose footer is garbage",
        raw(META, lambda b: b[:-200] + b"\xff" * 192 + b[-8:]),
        META,
        "no Parquet file, or damaged",
        alone=True,
    ),
    refused(
        "table with a footer of 2 GB",
        "a Parquet whose footer claims 2 GB",
        raw(META, lambda b: b[:-8] + b"\xff\xff\xff\x7f" + b[-4:]),
        META,
        "no Parquet file, or damaged",
        alone=True,
    ),
    refused(
        "table with damaged pages",
        "a Parquet whose pages are garbage",
        raw(META, lambda b: b[:4] + b"\xff" * 3000 + b[3004:]),
        META,
        "no Parquet file, or damaged",
        alone=True,
    ),
    refused("table of no bytes", "a Parquet of 0 bytes", raw(META, lambda b: b""), META, "no Parquet file, or damaged"),
    refused(
        "Arrow file named parquet", "an Arrow IPC file named .parquet", as_ipc, META, "no Parquet file, or damaged"
    ),
    refused(
        "key column of lists",
        "keys that are lists",
        table(META, lambda t: t.drop_columns("key").append_column("key", lists(np.zeros((50, 1), np.float32)))),
        "list<",
        "rename the column",
    ),
    refused("two key columns", "two columns of one name", table(META, two_keys), META, "key"),
    refused(
        "similarity of words",
        "similarities that are words",
        table(META, lambda t: t.set_column(3, "similarity", pa.array(["high"] * 50))),
        "similarity",
        "rename the column",
    ),
    refused(
        "two columns of captions",
        "a table with two columns named `caption`",
        table(META, lambda t: pa.Table.from_arrays([*t.columns, t["caption"]], names=[*t.column_names, "caption"])),
        "2 columns named caption",
    ),
    refused(
        "two columns of vectors",
        "a Parquet with two columns named `embedding`",
        lambda f: [shutil.rmtree(f), write_lists(f, random_vectors(ROWS), 1), second_vectors(f / "000.parquet")],
        "2 columns named embedding",
    ),
    refused(
        "captions in one file only",
        "a column that only some tables have",
        table(META, lambda t: t.drop_columns("caption")),
        "key, caption, similarity",
        "key, similarity",
    ),
    refused(
        "not of length 1", "vectors of length 2", all_images(lambda x: x * np.float16(2)), "length 2", "--normalize"
    ),
    refused("one vector of length 1.01", "one vector of length 1.01", of_length(1.01), f"{IMAGE} row 3", "--normalize"),
    refused(
        "float32 beyond float16",
        "float32 vectors of 70,000",
        all_images(lambda x: x.astype(np.float32) * 70_000),
        "--normalize",
    ),
    refused(
        "shuffled table",
        "a table in another order than its vectors",
        table(META, lambda t: t.take(np.random.default_rng(0).permutation(50))),
        "look shuffled",
    ),
    refused(
        "shifted table",
        "a table shifted by one row",
        table(META, lambda t: pa.concat_tables([t.slice(1), t.slice(0, 1)])),
        "look shuffled",
    ),
    refused("tables exchanged", "two tables exchanged, of other numbers of rows", exchanged, "rows"),
    refused(
        "one key in two files",
        "two tables that begin with one key",
        table(
            META,
            lambda t: t.set_column(
                t.column_names.index("key"), "key", pa.array(["000000000", *t["key"].to_pylist()[1:]])
            ),
        ),
        "Key 000000000 is in",
        "--prefix-keys",
    ),
    refused(
        "neither texts nor similarity",
        "no text vectors and no similarities",
        lambda f: [
            shutil.rmtree(f / "text_emb"),
            *(table(f"metadata/metadata_{i}.parquet", lambda t: t.drop_columns("similarity"))(f) for i in range(3)),
        ],
        "neither text vectors nor a column",
    ),
    refused(
        "npz cut",
        "an .npz cut in half",
        in_npz(lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])),
        *AGAIN,
    ),
    refused("npz that is none", "an .npz that is no zip", in_npz(lambda p: p.write_bytes(b"hello")), *AGAIN),
    refused("npz bomb", "an .npz of 1 KB whose array claims 1 TiB", in_npz(zip_bomb), "is cut", *AGAIN, alone=True),
    refused(
        "npz of pickled objects",
        "an .npz of pickled objects",
        in_npz(lambda p: np.savez(p, l14_img=np.array([[Payload()]], object))),
        "holds '|O'",
    ),
    refused(
        "npz without the arrays",
        "an .npz without the arrays that are meant",
        in_npz(lambda p: np.savez(p, x=np.zeros((ROWS, 4), np.float16))),
        "no array l14_img, only x",
    ),
    refused(
        "lists of two lengths",
        "a list column of no vectors",
        in_lists(lambda v: v.__setitem__(slice(None), [None] * 50)),
        "no vector in its column",
    ),
]

VECTORS = [
    number("NaN", "a vector with NaN", "not_finite", np.nan),
    number("infinity", "a vector with infinity", "not_finite", np.inf),
    number("minus infinity", "a vector with minus infinity", "not_finite", -np.inf),
    row(
        "zero vector",
        "a vector of zeros",
        "zero_norm",
        array(IMAGE, lambda x: np.concatenate([x[:3], x[3:4] * 0, x[4:]])),
    ),
    row(
        "negative zeros",
        "a vector of -0.0",
        "zero_norm",
        array(IMAGE, lambda x: np.concatenate([x[:3], x[3:4] * 0 * -1, x[4:]])),
    ),
    cell("null key", "a key that is null", "no_key", "key", None),
    cell("empty key", "an empty key", "no_key", "key", ""),
    cell("long key in a table", "a key of 256 bytes in a table", "bad_key", "key", "k" * 256),
    cell("line feed in a table's key", "a key with a line feed in a table", "bad_key", "key", "a\nb"),
    cell("table's key not UTF-8", "a key that is not UTF-8 in a table", "bad_key", "key", b"caf\xe9", pa.binary()),
    cell("table's key twice", "a key twice in one table", "duplicate_key", "key", "000000026"),
    cell("null caption", "a caption that is null", "no_caption", "caption", None),
    cell("blank caption in a table", "a blank caption in a table", "no_caption", "caption", " \u3000"),
    cell(
        "long caption in a table",
        "a caption of 64 KiB and a byte in a table",
        "caption_too_long",
        "caption",
        "x" * 65537,
    ),
    cell(
        "table's caption not UTF-8",
        "a caption that is not UTF-8 in a table",
        "caption_not_utf8",
        "caption",
        b"caf\xe9",
        pa.binary(),
    ),
    allowed("null caption, allowed", "a caption that is null", "caption", None),
    allowed("blank caption, allowed", "a blank caption in a table", "caption", " \u3000"),
    allowed("caption and similarity null, allowed", "a caption and a similarity that are null", "caption", None, True),
    cell("null similarity", "a similarity that is null", "no_text_cosine", "similarity", None),
    cell("NaN similarity", "a similarity of NaN", "no_text_cosine", "similarity", float("nan")),
    cell("infinite similarity", "a similarity of infinity", "no_text_cosine", "similarity", float("inf")),
    VectorsCase(
        "null vector in a list column",
        "a list column with null",
        in_lists(lambda v: v.__setitem__(3, None)),
        ("28 no_vector",),
    ),
    VectorsCase(
        "short vector in a list column",
        "a list column with a shorter vector",
        in_lists(lambda v: v.__setitem__(3, v[3][:-1])),
        ("28 no_vector",),
    ),
    VectorsCase(
        "NaN in a list column",
        "a list column with NaN",
        in_lists(lambda v: v.__setitem__(3, [float("nan")] * 16)),
        ("28 not_finite",),
    ),
    VectorsCase(
        "Fortran order", "a .npy in Fortran order", array(IMAGE, np.asfortranarray), effect="read as it is meant"
    ),
    VectorsCase(
        "big endian",
        "a .npy of big-endian numbers",
        array(IMAGE, lambda x: x.astype(">f2")),
        effect="read as it is meant",
    ),
    VectorsCase(
        "bytes behind the vectors",
        "a .npy with 7 bytes behind its last vector",
        raw(IMAGE, lambda b: b + b"garbage"),
        effect="ignored, with a warning",
        words=("7 bytes behind its last vector",),
    ),
    VectorsCase(
        "lengths a little off", "vectors of length 1.0009", of_length(1.0009), effect="used as they stand", new=True
    ),
    VectorsCase(
        "vectors of any length",
        "vectors of length 2 and `--normalize`",
        all_images(lambda x: x * np.float16(2)),
        flags=("--normalize",),
        effect="divided by their lengths",
        new=True,
    ),
    VectorsCase(
        "float32 beyond float16, divided",
        "float32 vectors of 70,000 and `--normalize`",
        all_images(lambda x: x.astype(np.float32) * 70_000),
        flags=("--normalize",),
        effect="divided by their lengths before they are rounded to float16",
        new=True,
    ),
    VectorsCase(
        "tiny vectors",
        "float32 vectors of length 1e-30 and `--normalize`",
        all_images(lambda x: x.astype(np.float32) * np.float32(1e-30)),
        flags=("--normalize",),
        effect="divided by their lengths",
        new=True,
    ),
    VectorsCase(
        "other files beside",
        "a README, a hidden file and a folder beside the vectors",
        lambda f: [
            (f / "img_emb/README.md").write_text("x"),
            (f / "img_emb/.img_emb_9.npy").write_bytes(b""),
            (f / "img_emb/old").mkdir(),
        ],
        effect="not looked at",
    ),
    VectorsCase(
        "extension type",
        "a table with a column that old readers unpickle (CVE-2023-47248)",
        extension_type,
        effect="read as text; nothing is unpickled",
    ),
]
