"""Makes Arrow columns from numbers and texts, and takes them apart again.

`pyarrow.array` and `to_numpy` import pandas, which takes longer than reading many a log.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def numbers(values: NDArray[Any], kind: pa.DataType, *, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of numbers; null where `valid` does not hold. Shapes [rows]."""
    bitmap = None if valid is None else _bitmap(valid)
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def numbers_of(column: pa.Array) -> NDArray[Any]:
    """The numbers of a column as numpy has them, shape [rows]; NaN for null."""
    if column.null_count:
        column = pc.fill_null(column, np.nan)
    kind = np.dtype(str(column.type).replace("double", "float64"))
    whole = np.frombuffer(column.buffers()[1], kind, count=column.offset + len(column))
    return whole[column.offset :]


def as_kept(text: str) -> str:
    """A text as a column holds it: what is no Unicode, such as some names of folders, stands as question marks."""
    return text.encode("utf-8", errors="replace").decode()


def texts(values: Sequence[str | None]) -> pa.Array:
    """A column of texts; null for None."""
    bitmap = None
    if None in values:
        bitmap = _bitmap(np.array([value is not None for value in values], np.bool_))
    known = ["" if value is None else value for value in values]
    joined = "".join(known)
    # In ASCII a text has as many bytes as characters.
    pieces = known if joined.isascii() else [value.encode("utf-8", errors="replace") for value in known]
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(joined.encode("utf-8", errors="replace"))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column of Python values of one of the kinds above; null for None."""
    if pa.types.is_string(kind):
        return texts(values)
    valid = None
    if None in values:
        valid = np.array([value is not None for value in values], np.bool_)
        values = [0 if value is None else value for value in values]
    plain = np.float64 if pa.types.is_floating(kind) else np.int64 if pa.types.is_int64(kind) else np.int32
    return numbers(np.array(values, plain), kind, valid=valid)


def table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of rows by column name."""
    return pa.Table.from_arrays([column([row[each.name] for row in rows], each.type) for each in schema], schema=schema)


def _bitmap(valid: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))
