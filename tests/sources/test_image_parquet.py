"""Parquet files of pictures: both layouts, every bad row, damage, and runs that equal those of tars."""

from __future__ import annotations

import io
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_equal, check_refused, contents, coreset, done, started
from PIL import Image
from shards import SIDE, good_pairs, recipe, write_shard

import coreset as package
from coreset.engine.errors import InputError
from coreset.sources import image_parquet
from coreset.sources.image_parquet import check_shard, picture_at
from coreset.sources.pairs import Limits, Pair, Reject
from coreset.sources.shards import find_shards

COUNT = 24
GROUP = 8
Columns = dict[str, Any]


def jpeg(content: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).save(file, "JPEG", quality=95)
    return file.getvalue()


SAMPLES = [
    {**{k: v for k, v in sample.items() if k != "png"}, "jpg": jpeg(sample["png"])} for sample in good_pairs(0, COUNT)
]
PICTURES = [sample["jpg"] for sample in SAMPLES]
CAPTIONS = [sample["txt"].decode() for sample in SAMPLES]
KEYS = [sample["__key__"] for sample in SAMPLES]
TOKEN = b"\xff\xd8\xff"


def img2dataset() -> Columns:
    """What `output_format=parquet` writes."""
    return {
        "key": list(KEYS),
        "jpg": list(PICTURES),
        "txt": list(CAPTIONS),
        "url": [f"http://example.org/{i - 1 if i % 3 == 2 else i}" for i in range(COUNT)],
        "status": ["success"] * COUNT,
        "width": [SIDE] * COUNT,
        "height": [SIDE] * COUNT,
    }


def hugging_face() -> Columns:
    """What `datasets` writes."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = [{"bytes": content, "path": f"{key}.jpg"} for key, content in zip(KEYS, PICTURES, strict=True)]
    return {"image": pa.array(pictures, kind), "TEXT": list(CAPTIONS)}


def write(path: Path, columns: Columns, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"row_group_size": GROUP, "compression": "none", "use_dictionary": False, **options}
    pq.write_table(pa.table(columns), path, **settings)
    return path


def read(path: Path, **limits: Any) -> list[Pair | Reject]:
    return list(image_parquet.read_pairs(*find_shards([str(path)]), Limits(**limits)))


def pairs_of(found: list[Pair | Reject]) -> list[Pair]:
    return [one for one in found if isinstance(one, Pair)]


def rejects_of(found: list[Pair | Reject]) -> list[Reject]:
    return [one for one in found if isinstance(one, Reject)]


def check_counted(found: list[Pair | Reject], rows: int = COUNT) -> None:
    assert len(pairs_of(found)) + sum(reject.rows for reject in rejects_of(found)) == rows


def folder_of(place: Path, clip: Path, shards: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "coreset.toml").write_text(recipe(clip, shards))
    return place


def rows_of(place: Path) -> tuple[np.ndarray, list[dict[str, Any]]]:
    rows = place / "run" / "rows"
    return np.load(rows / "00000.npy"), pq.read_table(rows / "00000.parquet").to_pylist()


@pytest.mark.parametrize("layout", [img2dataset, hugging_face])
@pytest.mark.parametrize("groups", [1, 7, 100])
def test_every_row_is_a_pair_whose_picture_is_the_bytes_that_were_written(
    tmp_path: Path, layout: Callable[[], Columns], groups: int
) -> None:
    path = write(tmp_path / "0.parquet", layout(), row_group_size=groups, compression="zstd", use_dictionary=True)
    found = pairs_of(read(path))
    assert [(pair.row, pair.image_offset, pair.image, pair.caption) for pair in found] == [
        (row, row, PICTURES[row], CAPTIONS[row]) for row in range(COUNT)
    ]
    assert [pair.key for pair in found] == (
        KEYS if layout is img2dataset else [f"0.parquet/{row}" for row in range(COUNT)]
    )
    assert [picture_at(str(path), row) for row in range(COUNT)] == PICTURES
    assert picture_at(str(path), COUNT) is None
    assert check_shard(*find_shards([str(path)])) == (KEYS[0] if layout is img2dataset else None)


def test_large_binary_other_names_and_whole_number_keys_are_read(tmp_path: Path) -> None:
    columns = {
        "SAMPLE_ID": list(range(COUNT)),
        "webp": pa.array(PICTURES, pa.large_binary()),
        "Caption": CAPTIONS,
        "similarity": ["high"] * COUNT,
        "hash": ["A" * 64] * COUNT,
    }
    found = pairs_of(read(write(tmp_path / "0.parquet", columns)))
    assert [pair.key for pair in found] == [str(row) for row in range(COUNT)]
    assert {pair.hashes["sha256"] for pair in found} == {"a" * 64}


def test_a_run_from_parquet_equals_a_run_from_a_tar(tmp_path: Path, clip: Path) -> None:
    tar, table = (folder_of(tmp_path / name, clip, f"0.{name}") for name in ("tar", "parquet"))
    write_shard(tar / "0.tar", SAMPLES)
    write(table / "0.parquet", img2dataset())
    for place in (tar, table):
        done("run", cwd=place)
    (vectors, rows), (others, found) = rows_of(tar), rows_of(table)
    assert len(rows) == COUNT
    assert vectors.tobytes() == others.tobytes()
    differing = ("source", "image_offset")
    assert [{k: v for k, v in row.items() if k not in differing} for row in rows] == [
        {k: v for k, v in row.items() if k not in differing} for row in found
    ]
    for row in found:
        place = row["source"], row["image_offset"], row["image_bytes"]
        assert package.picture_bytes(str(table / "run"), *place) == PICTURES[row["source_row"]]
    done("verify", "--full", cwd=table)
    keys = [
        pq.read_table(place / "run" / "coreset" / "coreset-00000-of-00001.parquet")["key"] for place in (tar, table)
    ]
    assert keys[0] == keys[1]


def test_a_picture_in_another_file_of_that_name_is_refused(tmp_path: Path, clip: Path) -> None:
    place = folder_of(tmp_path / "place", clip, "0.parquet")
    write(place / "0.parquet", img2dataset())
    done("embed", cwd=place)
    row = rows_of(place)[1][3]
    asked = str(place / "run"), row["source"], row["image_offset"], row["image_bytes"]
    write(place / "0.parquet", {**img2dataset(), "jpg": [b"x"] * COUNT})
    with pytest.raises(InputError, match="another file"):
        package.picture_bytes(*asked)
    (place / "0.parquet").write_bytes(b"PAR1" + bytes(64) + b"PAR1")
    with pytest.raises(InputError, match="damaged"):
        package.picture_bytes(*asked)
    (place / "0.parquet").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        package.picture_bytes(*asked)


BAD = {
    "no_image": ("jpg", None, {}),
    "empty_image": ("jpg", b"", {}),
    "member_too_large": ("jpg", TOKEN + bytes(5000), {"member": 4000}),
    "no_caption": ("txt", "  ", {}),
    "caption_not_utf8": ("txt", b"caf\xe9", {}),
    "caption_too_long": ("txt", "x" * 500, {"caption": 400}),
    "no_key": ("key", None, {}),
    "bad_key": ("key", "a\nb", {}),
    "duplicate_key": ("key", KEYS[0], {}),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_row_is_refused_alone(tmp_path: Path, reason: str) -> None:
    column, value, limits = BAD[reason]
    columns = img2dataset()
    columns[column][13] = value
    if isinstance(value, bytes) and column == "txt":
        columns[column] = [text if isinstance(text, bytes) else text.encode() for text in columns[column]]
    found = read(write(tmp_path / "0.parquet", columns), **limits)
    assert [(reject.row, reject.reason, reject.rows) for reject in rejects_of(found)] == [(13, reason, 1)]
    assert [pair.row for pair in pairs_of(found)] == [row for row in range(COUNT) if row != 13]


def test_a_key_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    columns = {**img2dataset(), "key": [key.encode() for key in KEYS]}
    columns["key"][5] = b"\xff"
    [reject] = rejects_of(read(write(tmp_path / "0.parquet", columns)))
    assert (reject.row, reject.reason) == (5, "bad_key")


@pytest.mark.parametrize("value", [None, {"bytes": None, "path": "a.jpg"}], ids=["null", "only a path"])
def test_a_struct_without_bytes_is_no_image(tmp_path: Path, value: dict[str, str | None] | None) -> None:
    columns = hugging_face()
    pictures = columns["image"].to_pylist()
    pictures[9] = value
    path = write(tmp_path / "0.parquet", {**columns, "image": pa.array(pictures, columns["image"].type)})
    found = read(path)
    assert [(reject.row, reject.reason) for reject in rejects_of(found)] == [(9, "no_image")]
    assert [pair.image for pair in pairs_of(found)] == PICTURES[:9] + PICTURES[10:]
    assert picture_at(str(path), 9) is None


def test_a_missing_caption_is_a_pair_where_it_is_allowed(tmp_path: Path) -> None:
    columns = img2dataset()
    columns["txt"][2] = None
    path = write(tmp_path / "0.parquet", columns)
    assert [reject.reason for reject in rejects_of(read(path))] == ["no_caption"]
    found = pairs_of(read(path, allow_missing_caption=True))
    assert [pair.row for pair in found if pair.caption is None] == [2]
    del columns["txt"]
    path = write(tmp_path / "1.parquet", columns)
    assert {reject.reason for reject in rejects_of(read(path))} == {"no_caption"}
    assert len(pairs_of(read(path, allow_missing_caption=True))) == COUNT


def test_what_is_no_picture_is_quarantined_and_the_sums_hold(tmp_path: Path, clip: Path) -> None:
    place = folder_of(tmp_path / "place", clip, "*.parquet")
    columns = img2dataset()
    columns["jpg"][4] = b"<html>not found</html>"
    columns["jpg"][5] = PICTURES[5][:-80]
    columns["jpg"][6] = None
    write(place / "0.parquet", columns)
    done("embed", "--max-bad", "50", cwd=place)
    refused = pq.read_table(place / "run" / "quarantine" / "embed-00000.parquet").to_pylist()
    found = [(entry["source_row"], entry["reason"]) for entry in refused]
    assert found == [(4, "not_a_picture"), (5, "undecodable_picture"), (6, "no_image")]
    assert len(rows_of(place)[1]) + len(refused) == COUNT


def page_of(path: Path, content: bytes) -> int:
    """Where the pages of a picture begin: the place of its bytes in an uncompressed file."""
    place = path.read_bytes().index(content)
    assert place > 0
    return place


def damage_page(path: Path) -> None:
    """The header of the pictures' page in the second row group becomes garbage."""
    chunk = pq.read_metadata(path).row_group(1).column(1)
    assert chunk.path_in_schema == "jpg"
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 16] = b"\xff" * 16
    path.write_bytes(content)


def test_a_damaged_page_costs_its_row_group_only_and_every_row_is_counted(tmp_path: Path, clip: Path) -> None:
    place = folder_of(tmp_path / "place", clip, "*.parquet")
    damage_page(write(place / "0.parquet", img2dataset()))
    found = read(place / "0.parquet")
    [reject] = rejects_of(found)
    assert (reject.row, reject.reason, reject.rows) == (None, "damaged_shard", GROUP)
    assert "rows 8 to 16 in row group 1" in reject.detail
    assert [pair.row for pair in pairs_of(found)] == [*range(GROUP), *range(2 * GROUP, COUNT)]
    check_counted(found)
    done("embed", "--max-bad", "50", cwd=place)
    assert len(rows_of(place)[1]) == COUNT - GROUP
    summary = (place / "run" / "rows" / "stage.json").read_text().replace(" ", "")
    assert f'"samples":{COUNT}' in summary
    assert '"incomplete":0' in summary


def test_a_checksum_that_does_not_fit_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "0.parquet", img2dataset(), write_page_checksum=True, write_statistics=False)
    content = bytearray(path.read_bytes())
    content[page_of(path, PICTURES[12]) + 100] ^= 1
    path.write_bytes(content)
    found = read(path)
    assert [(reject.reason, reject.rows) for reject in rejects_of(found)] == [("damaged_shard", GROUP)]
    check_counted(found)


@pytest.mark.parametrize("successes", [None, COUNT])
@pytest.mark.parametrize("reason", ["truncated_shard", "damaged_shard"])
def test_without_a_footer_only_the_stats_say_how_many_rows_are_lost(
    tmp_path: Path, clip: Path, reason: str, successes: int | None
) -> None:
    place = folder_of(tmp_path / "place", clip, "*.parquet")
    path = write(place / "0.parquet", img2dataset())
    whole = path.read_bytes()
    garbage = whole[:-200] + b"\xff" * 192 + whole[-8:]
    path.write_bytes(whole[: len(whole) // 2] if reason == "truncated_shard" else garbage)
    if successes is not None:
        (place / "0_stats.json").write_text(f'{{"successes": {successes}}}')
    [reject] = read(path)
    assert isinstance(reject, Reject)
    assert (reject.row, reject.reason, reject.rows) == (None, reason, successes or 0)
    write(place / "1.parquet", img2dataset())
    done("embed", "--max-bad", "90", cwd=place)
    summary = (place / "run" / "rows" / "stage.json").read_text().replace(" ", "")
    assert f'"incomplete":{int(successes is None)}' in summary


def test_a_row_group_that_unpacks_to_too_much_is_left_out(tmp_path: Path) -> None:
    columns = {"jpg": [bytes(200_000)] * COUNT, "txt": CAPTIONS}
    path = write(tmp_path / "0.parquet", columns, compression="zstd")
    assert len(pairs_of(read(path))) == COUNT
    found = read(path, gzip_allowance=1 << 20)
    assert {(reject.reason, reject.rows) for reject in rejects_of(found)} == {("expansion_limit", GROUP)}
    check_counted(found)


def test_an_empty_table_and_files_that_are_none_are_refused_before_any_work(tmp_path: Path) -> None:
    schema = pa.schema([("jpg", pa.binary()), ("txt", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    assert [reject.reason for reject in rejects_of(read(tmp_path / "empty.parquet"))] == ["empty_shard"]
    (tmp_path / "nothing.parquet").write_bytes(b"")
    (tmp_path / "html.parquet").write_bytes(b"<html>" * 100)
    write(tmp_path / "captions.parquet", {"caption": CAPTIONS, "image": KEYS})
    write(tmp_path / "lists.parquet", {"jpg": PICTURES, "caption": [["a", "b"]] * COUNT})
    for name, said in (
        ("empty", "has no rows"),
        ("nothing", "has 0 bytes"),
        ("html", "is not a Parquet"),
        ("captions", "has no column of pictures"),
        ("lists", "cannot be a caption"),
    ):
        with pytest.raises(InputError, match=said):
            check_shard(*find_shards([str(tmp_path / f"{name}.parquet")]))


def test_a_parquet_beside_a_tar_is_no_shard(tmp_path: Path, clip: Path) -> None:
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", SAMPLES)
        write(tmp_path / f"{number}.parquet", {"key": KEYS, "status": ["success"] * COUNT})
    assert [shard.name for shard in find_shards(["*"], str(tmp_path))] == ["0.tar", "1.tar"]
    write(tmp_path / "2.parquet", img2dataset())
    assert [shard.name for shard in find_shards(["*"], str(tmp_path))] == ["0.tar", "1.tar", "2.parquet"]
    with pytest.raises(InputError, match="only Parquet files that lie beside tars"):
        find_shards(["[01].parquet"], str(tmp_path))
    place = folder_of(tmp_path, clip, "0.parquet")
    check_refused(coreset("embed", cwd=place), 3, "0.parquet lies beside 0.tar")


def test_a_file_that_changes_size_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "0.parquet", img2dataset())
    shards = find_shards([str(path)])
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="wait until it is complete"):
        list(image_parquet.read_pairs(*shards))


def test_keys_that_two_files_share_are_refused_and_can_be_prefixed(tmp_path: Path, clip: Path) -> None:
    place = folder_of(tmp_path / "place", clip, "*.parquet")
    for number in range(2):
        write(place / f"{number}.parquet", img2dataset())
    check_refused(coreset("embed", cwd=place), 3, KEYS[0], "--prefix-keys")
    done("embed", "--prefix-keys", cwd=place)
    assert rows_of(place)[1][0]["key"] == f"0.parquet/{KEYS[0]}"


def test_a_run_that_is_killed_goes_on_and_leaves_the_same_bytes(tmp_path: Path, clip: Path) -> None:
    pristine = folder_of(tmp_path / "pristine", clip, "*.parquet")
    for number in range(3):
        write(pristine / f"{number}.parquet", hugging_face())
    place = shutil.copytree(pristine, tmp_path / "whole")
    done("embed", cwd=place)
    wanted = contents(place / "run")
    for count in (2, 6, 12):
        place = shutil.copytree(pristine, tmp_path / str(count))
        assert started("embed", cwd=place, fault=f"write:{count}:kill").wait() == -signal.SIGKILL
        done("embed", cwd=place)
        check_equal(place / "run", wanted)
