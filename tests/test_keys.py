"""Keys: found twice wherever they stand, and rewritten without touching the vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from synthetic import random_given, rows_of

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.local import in_process
from coreset.engine.stage import Part
from coreset.keys import check_keys, key_checks, rewrite_keys, written_keys


def written(folder: Path, keys: list[str], source: str, prefixed: bool) -> Part:
    """A part of rows/ with these keys and a vector each."""
    part = Part(f"{folder}/rows/00000", "plan", None)
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), len(keys), 2)
    vectors.write(np.ones((len(keys), 2), np.float16))
    vectors.close()
    columns = {name: [None] * len(keys) for name in rows.ROWS.names}
    columns |= {"key": keys, "key_hash": rows.key_hashes(keys), "source": [source] * len(keys)}
    table = rows.PartTable(part, rows.ROWS)
    table.write(pa.table(columns, schema=rows.ROWS))
    table.close({"samples": len(keys), "rows": len(keys), "quarantined": 0}, **written_keys(prefixed, "same"))
    part.commit()
    return part


def rewritten(part: Part, prefix: bool) -> list[str]:
    again = Part(part.location, "plan", None)
    rewrite_keys(again, prefix, "same")
    again.commit()
    table = rows.read_table(part.location + ".parquet")
    assert table["key_hash"].to_pylist() == rows.key_hashes(table["key"].to_pylist()).tolist()
    return table["key"].to_pylist()


def test_keys_are_prefixed_and_made_plain_again(tmp_path: Path) -> None:
    keys = ["0", "a.tar/1", "é"]
    part = written(tmp_path, keys, "a.tar", prefixed=False)
    assert rewritten(part, prefix=False) == keys
    assert rewritten(part, prefix=True) == ["a.tar/0", "a.tar/a.tar/1", "a.tar/é"]
    assert rewritten(part, prefix=True) == ["a.tar/0", "a.tar/a.tar/1", "a.tar/é"]
    assert rewritten(part, prefix=False) == keys


@pytest.mark.parametrize("ranges", [1, 5])
def test_a_key_that_stands_twice_is_named_with_both_sources(
    tmp_path: Path, ranges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = random_given(11)
    monkeypatch.setattr("coreset.keys.RANGE_ROWS", -(-len(given.keys) // ranges))
    check_keys(rows_of(tmp_path / "good", given, parts=3).locations(), in_process)
    given.keys[-1] = given.keys[0]
    parts = rows_of(tmp_path / "bad", given, parts=3).locations()
    assert (len(list(key_checks(parts))) > 1) == (ranges > 1)
    with pytest.raises(InputError, match=f"Key {given.keys[0]} is in 00000.tar and again in 0000..tar"):
        check_keys(parts, in_process)
