"""A small frozen table: columns checked against a schema, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.types._validate import set_field
from ferrosight.types.schema import Dtype, TableSchema

if TYPE_CHECKING:
    import pandas as pd

_NUMPY: dict[Dtype, Any] = {"string": np.str_, "number": np.float64, "integer": np.int64, "boolean": np.bool_}


@dataclass(frozen=True)
class Table:
    """Columns of equal length. Missing numbers are NaN, missing strings ""; never ``None``.

    A missing column is filled with missing values (integers: 0, booleans: false); an unknown one is an
    error. Zero rows are a table like any other.
    """

    schema: TableSchema
    columns: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        unknown = set(self.columns) - set(self.schema.names)
        if unknown:
            raise ValueError(f"table {self.schema.name} has no column {sorted(unknown)}")
        lengths = {len(np.atleast_1d(values)) for values in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of table {self.schema.name} differ in length: {sorted(lengths)}")
        n_rows = lengths.pop() if lengths else 0
        checked: dict[str, NDArray[Any]] = {}
        for column in self.schema.columns:
            values = self.columns.get(column.name)
            if values is None:
                values = _missing(column.dtype, n_rows)
            array = np.atleast_1d(np.asarray(values, dtype=_NUMPY[column.dtype])).copy()
            array.setflags(write=False)
            checked[column.name] = array
        set_field(self, "columns", checked)

    @classmethod
    def from_rows(cls, schema: TableSchema, rows: Sequence[Mapping[str, Any]]) -> Table:
        """A table from one mapping per row; keys a row lacks are missing, and unknown ones an error."""
        names = dict.fromkeys(name for row in rows for name in row)
        blank = {column.name: _missing(column.dtype, 1)[0] for column in schema.columns}
        return cls(schema, {name: np.array([row.get(name, blank.get(name)) for row in rows]) for name in names})

    def __len__(self) -> int:
        return len(self.columns[self.schema.names[0]])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def where(self, keep: NDArray[Any]) -> Table:
        """The rows that a boolean mask or an index array picks."""
        return Table(self.schema, {name: values[keep] for name, values in self.columns.items()})

    def with_columns(self, **columns: Any) -> Table:
        """The same table with some columns replaced."""
        return Table(self.schema, {**self.columns, **columns})

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))


def _missing(dtype: Dtype, n_rows: int) -> NDArray[Any]:
    if dtype == "number":
        return np.full(n_rows, np.nan)
    return np.zeros(n_rows, dtype=_NUMPY[dtype])
