"""Bad lines by the thousand: held on disk, and told in the same order."""

from pathlib import Path

import pandas as pd
import pytest
from log_builders import METRICS, line, metrics_text, write_foreign

import aggregation.dataset.fault_spool as fault_spool_module
import aggregation.logs.run_reader as run_reader_module
from aggregation.dataset.collect import collect


def test_bad_lines_beyond_the_limit_wait_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is the same as one made in memory, over several collections; nothing else is left."""
    logs = [write_foreign(tmp_path / "logs", b"", seed=seed) for seed in (0, 1)]
    stores = [tmp_path / "spilled", tmp_path / "held"]
    for round_ in range(3):
        for log in logs[round_ > 0 :]:
            with log.open("ab") as file:
                file.write(b"".join(line(step) + b"garbage\n" * (step % 3) for step in range(round_, 40)))
            with log.with_name(METRICS).open("ab") as file:
                file.write(b"bad\n" * 7 + metrics_text([(round_, 1)]))
        for store in stores:
            with monkeypatch.context() as patch:
                if store.name == "spilled":
                    patch.setattr(fault_spool_module, "_HELD", 5)
                    patch.setattr(fault_spool_module, "_WRITTEN_AT_ONCE", 9)
                    patch.setattr(run_reader_module, "SLICE_FAULTS", 4)
                    patch.setattr("aggregation.logs.reader.BLOCK_BYTES", 64)
                    patch.setattr("aggregation.logs.small_logs.SMALL_BYTES", 0)
                collect([tmp_path / "logs"], store, metrics="train/.*")

    tables = [pd.read_parquet(store / "faults.parquet") for store in stores]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["line"].tolist() == tables[0].sort_values(["run", "path", "line"])["line"].tolist()
    assert len(tables[0]) > 150
    assert list(tmp_path.rglob("*.waiting")) == []
