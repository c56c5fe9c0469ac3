"""Makes the rows of one run into a table, as the files of a dataset hold them."""

import numpy as np
import pyarrow as pa

from aggregation.arrow_columns import numbers, texts
from aggregation.run_files import RunCard
from aggregation.run_reader import Reading
from aggregation.schema import METRICS, SCORES


def rows_table(card: RunCard, reading: Reading) -> pa.Table:
    """The rows of a reading: scores, or metrics where they have names."""
    rows = len(reading.steps)
    zeros = np.zeros(rows, np.int32)
    ratio, lengths, is_finite = card.train_ratio, reading.lengths, None
    if reading.non_finite:
        is_finite = ~np.isnan(reading.values)

    def word(text: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(numbers(zeros, pa.int32()), texts([text]))

    first = [
        word(card.key.suite),
        word(card.method),
        pa.nulls(rows, pa.float64()) if ratio is None else numbers(np.full(rows, ratio), pa.float64()),
        numbers(np.full(rows, card.key.seed, np.int32), pa.int32()),
        numbers(reading.attempts, pa.int32()),
        numbers(reading.steps, pa.int64()),
    ]
    values = numbers(reading.values, pa.float64(), valid=is_finite)
    run = word(str(card.key))
    if reading.name_index is not None:
        names = pa.DictionaryArray.from_arrays(numbers(reading.name_index, pa.int32()), texts(reading.names))
        return pa.Table.from_arrays([*first, names, values, run], schema=METRICS)
    length = pa.nulls(rows, pa.int64())
    if lengths is not None:
        has_length = np.isfinite(lengths)
        length = numbers(np.where(has_length, lengths, 0).astype(np.int64), pa.int64(), valid=has_length)
    return pa.Table.from_arrays([*first, values, length, run], schema=SCORES)
