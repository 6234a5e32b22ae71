"""The first few rows of an order, kept while many tables pass by."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


class First:
    """The rows of many tables that come first in an order.

    Args:
        most: rows that are kept
        order: names of columns, with `ascending` or `descending`, that decide; the last must leave no tie
        one_each: of rows that agree in this column only the first is kept; None keeps them all
    """

    def __init__(self, most: int, order: Sequence[tuple[str, str]], one_each: str | None = None) -> None:
        self._most, self._order, self._one_each = most, list(order), one_each
        self._table: pa.Table | None = None

    def add(self, table: pa.Table) -> None:
        """Consider the rows of a table."""
        if self._table is not None:
            table = pa.concat_tables([self._table, self._hopeful(table)])
        table = table.take(self._sorted(table))
        self._table = table.slice(0, self._most).combine_chunks()

    def _hopeful(self, table: pa.Table) -> pa.Table:
        """The rows that may still be among the first, judged by the first column of the order."""
        name, way = self._order[0]
        if self._table is None or self._table.num_rows < self._most or not table.num_rows:
            return table
        bound = self._table[name][-1]
        is_inside = pc.less_equal if way == "ascending" else pc.greater_equal
        return table.filter(is_inside(table[name], bound))

    def _sorted(self, table: pa.Table) -> pa.Array:
        index = pc.sort_indices(table, sort_keys=self._order)
        if self._one_each is None:
            return index
        values = table[self._one_each].take(index).to_pylist()
        first = {value: place for place, value in reversed(list(enumerate(values)))}
        return index.take(pa.array(sorted(first.values()), pa.int64()))

    @property
    def table(self) -> pa.Table | None:
        """The rows in order; None if no table came."""
        return self._table
