"""What others make of the bad inputs of ``tests/bad_inputs``: ``python benchmarks/silent_losses.py``.

Tars go through webdataset, folders of vectors through embedding-reader, both through coreset. A *silent loss* is a
reader that ends without an error or a warning, and gave fewer whole samples than there are, halves of a sample that is
cut or scattered, or vectors with the keys of others. *Unnoticed* is a cut or damage without either where no sample is
known to be lost. Rows that cannot be used and are passed on are no loss of the reader's.

Needs ``pip install embedding-reader`` (or ``--no-deps`` with pandas 2) for the second table; it is skipped
without it.
"""

import contextlib
import io
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from coreset.sources.tars import Pair, find_shards, read_pairs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
CASES: Any = __import__("bad_inputs", fromlist=["cases_tars", "cases_embeddings", "running"])
for _module in ("cases_tars", "cases_embeddings", "running"):
    __import__(f"bad_inputs.{_module}")
FOLDERS: Any = __import__("folders")
LIMIT = 20.0
"""Seconds after which a reader counts as hung."""
ADDRESS_SPACE = 8 << 30
SILENT, HANGS, UNNOTICED = "silent: ", "does not end", "unnoticed: "
BROKEN = {"truncated_shard", "damaged_shard", "data_after_end", "expansion_limit"}
NO_SAMPLE = {"no_image", "no_caption", "split_sample"}
"""Reasons for which there is no whole sample to lose."""
NOT_OF_A_READER = {"markup in a key", "10,000 members of one key", "one key in two files", "table's key twice"}
"""Cases about pictures, or about keys that differ, which no reader looks at."""


def main() -> None:
    """Prints both tables and the totals."""
    print(f"webdataset {version('webdataset')}, coreset {version('coreset')}, Python {sys.version.split()[0]}")
    silent: Counter[str] = Counter()
    print("\n| tar | webdataset, reraise_exception | webdataset, warn_and_continue | coreset |\n|---|---|---|---|")
    cases = [
        case for case in CASES.cases_tars.SHARDS if (case.refuses or case.shard) and case.name not in NOT_OF_A_READER
    ]
    with tempfile.TemporaryDirectory() as place:
        for case in cases:
            case.write(Path(place))
            tar = str(Path(place) / f"{case.file}.tar")
            about = {told.split()[0] for told in case.shard}
            lost = [told for told in case.refuses if told.split()[1] not in NO_SAMPLE]
            true = len(case.keeps) + len(lost) + sum(int(told.split()[1]) for told in case.shard)
            behind = case in CASES.cases_tars.DAMAGE and case.keeps == "a"  # a whole sample that only leniency reaches
            true += behind
            no_halves = bool(about & BROKEN) or any("split_sample" in told for told in case.refuses)
            found = [
                limited(by_webdataset, tar, true, no_halves, bool(about & BROKEN) and not behind, how)
                for how in (True, False)
            ]
            found.append(limited(by_coreset, tar, case.samples))
            tell(silent, case.given, found, ("webdataset, reraise", "webdataset, warn", "coreset, tars"))
    print(f"\n{len(cases)} tars; {totals(silent)}")
    if find_spec("embedding_reader") is None:
        print("embedding-reader is not installed: its table is left out")
        return
    __import__("embedding_reader")  # one that lacks a package of its own must not pass for one that refuses everything
    silent.clear()
    print(f"\nembedding-reader {version('embedding-reader')}, numpy {np.__version__}")
    print("\n| folder of vectors | embedding-reader | coreset |\n|---|---|---|")
    vectors = [case for case in (*CASES.cases_embeddings.FOLDERS, *CASES.cases_embeddings.VECTORS) if takes(case)]
    for case in vectors:
        with tempfile.TemporaryDirectory() as place:
            folder = harmed(case, Path(place))
            if not (folder / "img_emb").is_dir():
                continue
            unusable = {int(told.split()[0]) for told in getattr(case, "refuses", ())}
            found = [limited(by_embedding_reader, folder, unusable), by_import(case, Path(place))]
            tell(silent, case.given, found, ("embedding-reader", "coreset, vectors"))
    print(f"\n{len(vectors)} folders; {totals(silent)}")


def tell(silent: Counter[str], given: str, found: list[str], names: tuple[str, ...]) -> None:
    """Print a row, and count what was lost in silence."""
    for name, text in zip(names, found, strict=True):
        for sort, begins in (("silent losses", SILENT), ("unnoticed", UNNOTICED), ("hangs", HANGS)):
            silent[f"{name}: {sort}"] += text.startswith(begins)
    print(f"| {given} | {' | '.join(found)} |", flush=True)


def totals(silent: Counter[str]) -> str:
    """The counts in words."""
    return ", ".join(f"{name} {count}" for name, count in silent.items())


def by_webdataset(tar: str, true: int, no_halves: bool, broken: bool, strict: bool) -> str:
    """What webdataset gives for one tar in which there are so many whole samples."""
    handler = webdataset.reraise_exception if strict else webdataset.warn_and_continue
    whole = half = 0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            for sample in webdataset.WebDataset([tar], handler=handler, shardshuffle=False, empty_check=False):
                is_whole = any(kind in sample for kind in ("png", "jpg")) and any("txt" in kind for kind in sample)
                whole, half = whole + is_whole, half + (not is_whole)
        except Exception as error:  # noqa: BLE001  a reader of foreign bytes may raise anything
            return f"error: {type(error).__name__}"
    given = f"{whole} of {true} samples" + (f", {half} half" if half else "")
    if any(str(warning.filename).endswith("handlers.py") for warning in said):
        return f"warning, {given}"
    if whole < true or (half and no_halves):
        return SILENT + given
    return UNNOTICED + given if broken else given


def by_coreset(tar: str, samples: int) -> str:
    """What coreset's reader gives for one tar."""
    found = list(read_pairs(find_shards([tar])[0]))
    pairs = sum(isinstance(one, Pair) for one in found)
    reasons = Counter(one.reason for one in found if not isinstance(one, Pair))
    told = sum(one.rows for one in found if not isinstance(one, Pair))
    given = f"{pairs} of {samples} samples, and {', '.join(reasons) or 'nothing else'}"
    return given if pairs + told == samples and reasons else SILENT + given


def takes(case: Any) -> bool:  # noqa: ANN401  a case of either kind
    """Whether embedding-reader could take this folder: it has vectors and tables of the usual names."""
    if case.name in NOT_OF_A_READER:
        return False
    return not getattr(case, "new", False) and "npz" not in case.name and "list column" not in case.name


def harmed(case: Any, place: Path) -> Path:  # noqa: ANN401
    """The folder of a case."""
    if hasattr(case, "build"):
        case.build(place)
    else:
        FOLDERS.write_clip_retrieval(place / "in", FOLDERS.random_vectors(CASES.cases_embeddings.ROWS))
        case.harm(place / "in")
    return place / "in"


def by_embedding_reader(folder: Path, unusable: set[int]) -> str:
    """What embedding-reader gives for a folder: rows, and of how many the vector is not the key's."""
    from embedding_reader import EmbeddingReader  # an optional peer

    true = FOLDERS.random_vectors(CASES.cases_embeddings.ROWS).images.astype(np.float32)
    count = wrong = passed = 0
    try:
        reader = EmbeddingReader(
            str(folder / "img_emb"),
            file_format="parquet_npy",
            metadata_folder=str(folder / "metadata"),
            meta_columns=["key"],
        )
        for vectors, table in reader(batch_size=1000, show_progress=False):
            keys = [int(key) if str(key).isdigit() else -1 for key in table["key"]]
            for key, vector in zip(keys, np.asarray(vectors, np.float32), strict=True):
                count += 1
                is_true = 0 <= key < len(true) and is_along(vector, true[key])
                passed += key in unusable or key < 0
                wrong += not is_true and key not in unusable and key >= 0
    except Exception as error:  # noqa: BLE001  a reader of foreign bytes may raise anything
        return f"error: {type(error).__name__}"
    given = f"{count} of {len(true)} rows" + (f", {wrong} wrong" if wrong else "")
    given += f", {passed} unusable passed on" if passed else ""
    return SILENT + given if count < len(true) or wrong else given


def is_along(vector: np.ndarray, true: np.ndarray) -> bool:
    """Whether a vector has the direction of the true one, whatever its length."""
    if len(vector) != len(true) or not np.isfinite(vector).all():
        return False
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return length > 0 and float(vector.astype(np.float64) @ true) > 0.999 * length


def by_import(case: Any, place: Path) -> str:  # noqa: ANN401
    """What `coreset import` gives for a folder."""
    said = CASES.running.bounded("import", "in", "--max-bad", "100", *getattr(case, "flags", ()), cwd=place).said
    if said.code:
        return f"exit {said.code}" if "Traceback" not in said.err else f"{SILENT}a traceback"
    reasons = [told.split()[1] for told in getattr(case, "refuses", ())]
    rows = CASES.cases_embeddings.ROWS - len(reasons)
    expected = f"{rows:,} rows" in said.err and all(reason in said.err + said.out for reason in reasons)
    given = f"{rows} of {CASES.cases_embeddings.ROWS} rows" + (f", and {', '.join(reasons)}" if reasons else "")
    return given if expected else SILENT + given


def limited(call: Callable[..., str], *arguments: object) -> str:
    """What a call says, from a process of its own with bounds on time and memory."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answered, args=(send, call, arguments))
    process.start()
    send.close()
    try:
        answer = str(receive.recv()) if receive.poll(LIMIT) else f"{HANGS} in {LIMIT:g} s"
    except EOFError:
        answer = "the process died"
    process.kill()
    process.join()
    return answer


def _answered(send: Any, call: Callable[..., str], arguments: tuple[object, ...]) -> None:  # noqa: ANN401
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + ADDRESS_SPACE,) * 2)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        answer = call(*arguments)
    send.send(answer)


if __name__ == "__main__":
    main()
