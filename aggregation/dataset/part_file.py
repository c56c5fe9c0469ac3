"""One Parquet file of a dataset, whole and in place when it is closed.

DuckDB and Polars open a file several times in one query. So a later version of a file begins with all bytes of the
earlier one, its footer included, and whoever knows the earlier length or footer reads on as if nothing had happened:

    earlier bytes | new row groups | footer of all row groups that count
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.dataset.schema import Dataset

#: Values of a column that the Parquet writer encodes in one go.
_WRITTEN_AT_ONCE = 1 << 16
_MAGIC = b"PAR1"
_COPY_BYTES = 1 << 20
#: The Parquet writer makes many short writes.
_BUFFER_BYTES = 1 << 16


class PartFile:
    """One Parquet file in the making; whole and in place when it is closed. The store makes it durable.

    Args:
        dataset: What its columns are.
        path: Where it goes.
        earlier: The version that is there, with whose bytes the new one begins so that its readers can go on; closed
            when it was copied. None where there is none.
        kept: Its footer, to let its rows count in the new version; None where they do not.
    """

    def __init__(
        self,
        dataset: Dataset,
        path: Path,
        *,
        earlier: pa.NativeFile | None = None,
        kept: pq.FileMetaData | None = None,
    ) -> None:
        self.path = path
        self.unfinished = path.with_name(f".{path.name}.new")
        self._kept = kept
        self._sink = pa.BufferedOutputStream(pa.OSFile(str(self.unfinished), "wb"), _BUFFER_BYTES)
        self._footers: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(self._sink, dataset.schema, metadata_collector=self._footers, **_form(dataset))
        if earlier is not None:
            self._copy(earlier)

    def _copy(self, earlier: pa.NativeFile) -> None:
        """Begin with the earlier bytes. Offsets of row groups count from the file's start, wherever they lie."""
        with earlier:
            earlier.seek(0)
            # Arrow's writer has written the four bytes that every file begins with, and asks the sink where it is.
            assert earlier.read(self._sink.tell()) == _MAGIC
            while len(chunk := earlier.read_buffer(_COPY_BYTES)):
                self._sink.write(chunk)

    def write(self, table: pa.Table) -> None:
        """Add rows as one row group."""
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        self._writer.close()
        if self._kept is not None:
            self._kept.append_row_groups(self._footers[0])
            self._kept.write_metadata_file(self._sink)
        self._sink.close()
        # Onto a free name: ext4 writes a file out at once when it takes another's place.
        self.path.unlink(missing_ok=True)
        self.unfinished.rename(self.path)

    def abandon(self) -> None:
        self._writer.close()
        self._sink.close()
        self.unfinished.unlink()


def _form(dataset: Dataset) -> dict[str, Any]:
    """How the columns are written."""
    # Columns of few values are run lengths already; each compressor costs more than it would save there.
    compressed = [name for name in dataset.schema.names if name not in dataset.repeated]
    return {
        "compression": dict.fromkeys(dataset.repeated, "NONE") | dict.fromkeys(compressed, "ZSTD"),
        "compression_level": dict.fromkeys(compressed, 1),
        "use_dictionary": dataset.repeated,
        "write_statistics": dataset.sought,
        "column_encoding": dataset.encodings,
        "write_batch_size": _WRITTEN_AT_ONCE,
    }
