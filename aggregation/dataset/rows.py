"""Makes the rows of some runs into a table, as the files of a dataset hold them."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aggregation.dataset.arrow_columns import numbers, texts
from aggregation.dataset.schema import METRICS, SCORES, Dataset
from aggregation.logs.run_files import RunCard
from aggregation.logs.run_reader import Reading


def rows_table(dataset: Dataset, parts: Sequence[tuple[RunCard, Reading]]) -> pa.Table:
    """The rows of readings, one after the other."""
    cards, readings = [card for card, _ in parts], [reading for _, reading in parts]
    counts = np.array([len(reading.steps) for reading in readings])
    values = np.concatenate([reading.values for reading in readings])
    is_finite = ~np.isnan(values) if any(reading.non_finite for reading in readings) else None
    ratios = np.array([np.nan if card.train_ratio is None else card.train_ratio for card in cards])
    has_ratio = None if np.isfinite(ratios).all() else np.repeat(np.isfinite(ratios), counts)
    columns = {
        "suite": _words([card.key.suite for card in cards], counts),
        "method": _words([card.method for card in cards], counts),
        "train_ratio": numbers(np.repeat(ratios, counts), pa.float64(), valid=has_ratio),
        "seed": numbers(np.repeat(np.array([card.key.seed for card in cards], np.int32), counts), pa.int32()),
        "attempt": numbers(np.concatenate([reading.attempts for reading in readings]), pa.int32()),
        "step": numbers(np.concatenate([reading.steps for reading in readings]), pa.int64()),
        dataset.value: numbers(values, pa.float64(), valid=is_finite),
        "run": _words([card.run for card in cards], counts),
    }
    if dataset.schema is SCORES:
        columns["length"] = _lengths(readings, counts)
    if dataset.schema is METRICS:
        columns["name"] = _names(readings)
    return pa.Table.from_arrays([columns[name] for name in dataset.schema.names], schema=dataset.schema)


def _words(texts_of_parts: Sequence[str], counts: NDArray[np.int64]) -> pa.DictionaryArray:
    """A column with one text for each part, shape [rows]."""
    number = {text: index for index, text in enumerate(dict.fromkeys(texts_of_parts))}
    index = np.array([number[text] for text in texts_of_parts], np.int32)
    return _encoded(np.repeat(index, counts), tuple(number))


def _encoded(index: NDArray[np.int32], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(numbers(index, pa.int32()), _dictionary(words), safe=False)


@lru_cache(maxsize=256)
def _dictionary(words: tuple[str, ...]) -> pa.Array:
    """Most tables have the suites and methods of the one before."""
    return texts(words)


def _names(readings: Sequence[Reading]) -> pa.DictionaryArray:
    """The names of metrics: each reading numbers them in its own way."""
    number: dict[str, int] = {}
    pieces = []
    for reading in readings:
        assert reading.name_index is not None
        own = np.array([number.setdefault(name, len(number)) for name in reading.names], np.int32)
        pieces.append(own[reading.name_index])
    return _encoded(np.concatenate(pieces), tuple(number))


def _lengths(readings: Sequence[Reading], counts: NDArray[np.int64]) -> pa.Array:
    if all(reading.lengths is None for reading in readings):
        return pa.nulls(int(counts.sum()), pa.int64())
    lengths = np.concatenate(
        [np.full(len(each.steps), np.nan) if each.lengths is None else each.lengths for each in readings]
    )
    has_length = np.isfinite(lengths)
    return numbers(np.where(has_length, lengths, 0).astype(np.int64), pa.int64(), valid=has_length)
