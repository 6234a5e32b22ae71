"""Chosen rows for a trainer that asks for them by number: pictures come by their places from the original tars."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt64

from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import Location
from coreset.results.export.pictures import check_sources, kind_of, sources_of
from coreset.results.in_place.meant import Where, meant_rows
from coreset.sources.image_parquet import pictures_at
from coreset.sources.pictures import decoded
from coreset.sources.shards import is_table
from coreset.sources.tar_members import is_member

PLACE = ("key", "source", "source_row", "image_offset", "image_bytes")
HEADER = 512
"""Bytes in front of a picture in a tar, which say what it is."""
OPEN_FILES = 64
"""Tars that are kept open."""


class PictureDataset:
    """The chosen rows of a run with their pictures, as a map-style dataset: torch needs no more than this.

    Each row is a dict of the columns that are asked for and `image`: the stored bytes, or what `transform` makes of
    the RGB picture. The rows are held in memory, the pictures are not. The order is the coreset's own; of other
    fates it is that of `dedup/`. It travels to the workers of a DataLoader as the name of the run.

    Example:
        ```python
        rows = coreset.PictureDataset("run", transform=preprocess)
        loader = torch.utils.data.DataLoader(rows, batch_size=64, sampler=coreset.Sampler(rows), num_workers=8)
        ```
    """

    def __init__(
        self,
        run: Location,
        where: Where = "kept",
        transform: Callable[[Any], Any] | None = None,
        columns: Sequence[str] = ("key", "caption"),
    ) -> None:
        """Open the rows, and look for their sources.

        Args:
            run: the run directory
            where: which rows: fates or steps of the funnel, as for `coreset export --where`
            transform: takes the decoded picture, in RGB
            columns: of `coreset/`

        Raises:
            UsageError: A word of `where` is no fate and no step.
            InputError: The run is not selected to its end, has no such rows, or was made from vectors; a source is
                gone, has another size than when it was embedded, or is gzipped.
        """
        self.run, self.where, self.transform, self.columns = run.rstrip("/"), where, transform, tuple(columns)
        wanted = list(dict.fromkeys([*self.columns, *PLACE]))
        self._rows = pa.concat_tables(meant_rows(self.run, where, wanted)).combine_chunks()
        self._sources = sources_of(self.run)
        check_sources(self.run, self._sources, pc.unique(self._rows["source"]).to_pylist())
        if packed := self._rows["image_offset"].null_count:
            raise InputError(
                f"{packed:,} pictures are in gzipped tars, where none can be read by its place; `coreset export "
                f"webdataset OUT` writes plain ones."
            )
        self._files: OrderedDict[str, IO[bytes]] = OrderedDict()

    def __len__(self) -> int:
        """How many rows are meant."""
        return int(self._rows.num_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row with its picture.

        Raises:
            IndexError: There is no such row.
            InputError: A source is not what it was.
            BadPictureError: A picture that was good when it was embedded does not decode any more.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        row = self._rows.slice(int(index), 1).to_pylist()[0]
        content = self._picture(row)
        image = content if self.transform is None else self.transform(decoded(content, self._sources.max_pixels))
        return {**{name: row[name] for name in self.columns}, "image": image}

    def __reduce__(self) -> tuple[type[PictureDataset], tuple[Any, ...]]:
        return PictureDataset, (self.run, self.where, self.transform, self.columns)

    def _picture(self, row: dict[str, Any]) -> bytes:
        shard = self._sources.shard(row["source"])
        if is_table(shard.location):
            content = next(pictures_at(shard, [row["source_row"]]))
        else:
            size = row["image_bytes"]
            number = self._opened(shard.location).fileno()
            block = os.pread(number, HEADER + size, row["image_offset"] - HEADER)
            content = block[HEADER:] if is_member(block[:HEADER], size) and len(block) == HEADER + size else None
        if content is None or kind_of(content) is None:
            raise InputError(
                f"{shard.location} is not the file that was embedded: the picture of {row['key']} is not where it "
                f"was; put the file back, or embed it again."
            )
        return content

    def _opened(self, location: Location) -> IO[bytes]:
        """A tar that stays open; the one that was not read for the longest time is closed for it."""
        file = self._files.pop(location, None)
        if file is None:
            try:
                file = open(location, "rb", buffering=0)  # noqa: SIM115  closed below, or with the dataset
            except OSError as error:
                raise InputError(f"{location} cannot be read: {error.strerror}.") from error
        self._files[location] = file
        if len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return file

    def close(self) -> None:
        """Close the tars that are open; the next picture opens its own again."""
        while self._files:
            self._files.popitem()[1].close()

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()


class Sampler:
    """The order in which each process of a training asks for rows: another one every epoch, the same on every machine.

    A DataLoader takes it as its `sampler`. Of every epoch each rank has a part that no other rank has.

    Attributes:
        epoch: which order is given; `set_epoch` changes it, as trainers do
    """

    def __init__(
        self,
        rows: Sized,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        even: bool = True,
    ) -> None:
        """Plan the order.

        Args:
            rows: a dataset, or anything else that has a length
            seed: of the order
            rank: of this process, from 0
            world_size: processes of the training
            shuffle: whether each epoch has an order of its own; else it is that of the rows
            even: whether all ranks get equally many rows, which most trainers need: fewer than `world_size` of the
                last rows of an epoch are then left out of it, other ones every epoch

        Raises:
            UsageError: There is no such rank.
        """
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} of world_size {world_size}: ranks are 0 to world_size - 1.")
        self.epoch = 0
        self._count, self._seed, self._shuffle = len(rows), seed, shuffle
        self._rank, self._world_size = rank, world_size
        self._stop = len(rows) - len(rows) % world_size if even else len(rows)

    def __len__(self) -> int:
        """How many rows this rank gets in an epoch."""
        return len(range(self._rank, self._stop, self._world_size))

    def __iter__(self) -> Iterator[int]:
        """The numbers of this rank's rows, in the order of the epoch."""
        order = epoch_order(self._count, self._seed, self.epoch) if self._shuffle else np.arange(self._count)
        yield from order[self._rank : self._stop : self._world_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Take another order: trainers call this at the start of each epoch."""
        self.epoch = epoch


def epoch_order(count: int, seed: int, epoch: int) -> Int64[np.ndarray, "n"]:
    """A shuffled order of some rows: by a hash of seed, epoch and number, so that it is the same everywhere.

    Example:
        >>> epoch_order(5, seed=0, epoch=0).tolist(), epoch_order(5, seed=0, epoch=1).tolist()
        ([0, 4, 2, 1, 3], [2, 4, 0, 1, 3])
    """
    salt = mixed(np.array([seed % (1 << 64)], np.uint64)) + np.uint64(epoch)
    hashes = mixed(np.arange(count, dtype=np.uint64) + mixed(mixed(salt)))
    order: Int64[np.ndarray, "n"] = np.argsort(hashes, kind="stable")
    return order


def mixed(x: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """A hash of each number, by which no two are equal: the finaliser of splitmix64.

    Source:
        G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    last: UInt64[np.ndarray, "n"] = x ^ (x >> np.uint64(31))
    return last
