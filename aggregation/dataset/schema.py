"""The only namer of Arrow types: the columns of the datasets and of the two tables beside them."""

from dataclasses import dataclass, field

import pyarrow as pa

_WORD = pa.dictionary(pa.int32(), pa.string())


def _sure(name: str, kind: pa.DataType) -> pa.Field:
    """A column without nulls, which files and writers then need not mark row by row."""
    return pa.field(name, kind, nullable=False)


#: The columns that the folders of the dataset spell out: `task=<task>/label=<label>/`.
PARTITION = ("task", "label")

#: What the dataset's files hold; with the two partition columns, one row per episode.
SCORES = pa.schema(
    [
        _sure("suite", _WORD),
        _sure("method", _WORD),
        ("train_ratio", pa.float64()),  # null where unknown
        _sure("seed", pa.int32()),
        _sure(
            "attempt", pa.int32()
        ),  # 1 for the first; where dreamsweep did not launch the run, the segment between seams
        _sure("step", pa.int64()),  # environment frames, as the trainer logs it
        ("score", pa.float64()),  # null where the log held no finite number
        ("length", pa.int64()),  # null where the log has none
        _sure("run", _WORD),  # suite/task/label/seed
    ]
)

#: What the files of the dataset of metrics hold; with the two partition columns, one row per value.
METRICS = pa.schema(
    [
        _sure("suite", _WORD),
        _sure("method", _WORD),
        ("train_ratio", pa.float64()),
        _sure("seed", pa.int32()),
        _sure("attempt", pa.int32()),
        _sure("step", pa.int64()),
        _sure("name", _WORD),  # as the trainer logs it, such as train/loss/dyn
        ("value", pa.float64()),  # null where the log held no finite number
        _sure("run", _WORD),
    ]
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of a store: its folder, and how its files are written."""

    name: str
    schema: pa.Schema
    #: The column whose nulls are counted.
    value: str
    #: Columns with few distinct values.
    repeated: list[str]
    #: Columns by which readers leave out row groups.
    sought: list[str]
    encodings: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> pa.Table:
        """The dataset before its first row, with the columns that the folders spell out."""
        return pa.schema([*self.schema, *((name, pa.string()) for name in PARTITION)]).empty_table()


SCORE_ROWS = Dataset(
    "scores",
    SCORES,
    value="score",
    repeated=["suite", "method", "train_ratio", "seed", "attempt", "run"],
    sought=["seed", "step", "run"],
    encodings={"step": "DELTA_BINARY_PACKED", "length": "DELTA_BINARY_PACKED", "score": "BYTE_STREAM_SPLIT"},
)
METRIC_ROWS = Dataset(
    "metrics",
    METRICS,
    value="value",
    repeated=["suite", "method", "train_ratio", "seed", "attempt", "name", "run"],
    sought=["seed", "step", "name", "run"],
    encodings={"step": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
)

#: One row per run.
RUNS = pa.schema(
    [
        ("run", pa.string()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("label", pa.string()),
        ("method", pa.string()),
        ("train_ratio", pa.float64()),
        ("seed", pa.int32()),
        ("state", pa.string()),  # finished, running, the last attempt's outcome, unknown, or reference
        ("attempts", pa.int32()),
        ("rows", pa.int64()),  # in the dataset
        ("dropped", pa.int64()),  # superseded by a later attempt
        ("non_finite", pa.int64()),  # scores kept as null
        ("faults", pa.int64()),  # bad lines
        ("pending_bytes", pa.int64()),  # behind the last newline
        ("gap_frames", pa.int64()),  # lost between the log's last flush and the checkpoint
        ("first_step", pa.int64()),
        ("last_step", pa.int64()),
        ("fps", pa.float64()),  # environment frames per second, over all ended attempts
        ("gpu_hours", pa.float64()),  # of all ended attempts
        ("path", pa.string()),
    ]
)

#: One row per bad line.
FAULTS = pa.schema(
    [
        ("run", pa.string()),
        ("path", pa.string()),
        ("kind", pa.string()),
        ("line", pa.int64()),  # counted from 1
        ("offset", pa.int64()),  # of the line's first byte
        ("bytes", pa.int64()),
        ("kept", pa.int32()),  # good records found in the line all the same
        ("excerpt", pa.string()),
    ]
)

#: One row per bin of a run, empty ones within its span included (bins.py). NaN stands in place of null.
BINS = pa.schema(
    [
        pa.field("suite", _WORD, nullable=False),
        pa.field("task", _WORD, nullable=False),
        pa.field("label", _WORD, nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("bin", pa.int32(), nullable=False),  # counted from 0
        pa.field(
            "width", pa.int64(), nullable=False
        ),  # environment frames: the bin is [bin * width, (bin + 1) * width)
        pa.field("count", pa.int32(), nullable=False),  # finite scores
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("length", pa.float64(), nullable=False),  # mean episode length
    ]
)
