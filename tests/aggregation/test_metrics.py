"""Chosen keys of metrics.jsonl as a dataset of their own."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builders import (
    METRICS,
    attempt,
    generation,
    line,
    log_text,
    metric_points,
    metrics_text,
    write_foreign,
    write_launched,
)

import aggregation.logs.run_reader as run_reader_module
from aggregation.dataset.collect import collect
from aggregation.logs.log_format import LogFormat
from aggregation.logs.record import Record, flat_metrics, records_of
from orchestrator.cli import main
from sweeps.errors import ConfigError, LogError

RUN = "dmc/dmc_walker_walk/dreamerv3/0"
LAUNCHED = "dmc_proprio/dmc_walker_walk/dreamerv3/0"


def metric_log(tmp_path: Path, content: bytes) -> Path:
    """A foreign run with metrics; returns their log."""
    path = write_foreign(tmp_path / "logs", line(1)).with_name(METRICS)
    path.write_bytes(content)
    return path


def test_chosen_metrics_have_one_row_per_value(tmp_path: Path) -> None:
    """A name must match as a whole; null stands for what is not finite, and texts are no metrics."""
    first = b'{"step": 5, "train/loss": 1.5, "xtrain/loss": 3, "train/text": "hello"}\n'
    metric_log(tmp_path, first + b'{"step": 6, "train/loss": NaN}\n')
    summary = collect([tmp_path / "logs"], tmp_path, metrics="train/.*|fps/.*")

    assert metric_points(tmp_path) == [(RUN, 1, 5, "train/loss", 1.5), (RUN, 1, 6, "train/loss", None)]
    assert set(pd.read_parquet(tmp_path / "metrics").columns) == {
        *("suite", "task", "method", "train_ratio", "label", "seed", "attempt", "step", "name", "value", "run")
    }
    assert (summary.metric_rows, summary.new_metric_rows, summary.rows) == (2, 2, 1)


def test_replayed_stretch_of_metrics_counts_once(tmp_path: Path) -> None:
    """The seams are those of metrics.jsonl itself."""
    scores, before = log_text([(10, 1), (20, 2), (30, 3)]), metrics_text([(12, 1), (22, 2), (32, 3)])
    log = write_launched(
        tmp_path,
        scores + line(24),
        attempts=[attempt(1, None, 0), attempt(2, 20, len(scores), metrics_bytes=len(before))],
    )
    log.with_name(METRICS).write_bytes(before + metrics_text([(23, 4)]))
    collect([tmp_path], tmp_path, metrics="train/loss")

    assert metric_points(tmp_path) == [(LAUNCHED, 1, 12, "train/loss", 1), (LAUNCHED, 2, 23, "train/loss", 4)]


def lengths(store: Path) -> list[tuple[int, float | None]]:
    """Step and length of every score."""
    frame = pd.read_parquet(store / "scores").sort_values("step")
    pairs = zip(frame["step"].tolist(), frame["length"].tolist(), strict=True)
    return [(step, None if length != length else length) for step, length in pairs]


def test_scores_have_the_lengths_that_metrics_log(tmp_path: Path) -> None:
    """A score's own line of metrics may come later than the score: its length is put in then, and only that is read."""
    path = metric_log(tmp_path, metrics_text([(10, 5)], with_lengths=True))
    path.with_name("scores.jsonl").write_bytes(log_text([(10, 1), (20, 2)]))
    collect([tmp_path / "logs"], tmp_path, metrics="episode/length")
    assert lengths(tmp_path) == [(10, 105), (20, None)]

    new = metrics_text([(15, 1)]) + metrics_text([(20, 6)], with_lengths=True)
    with path.open("ab") as file:
        file.write(new)
    summary = collect([tmp_path / "logs"], tmp_path)
    assert (lengths(tmp_path), summary.bytes_read, summary.rows) == ([(10, 105), (20, 206)], len(new), 2)

    collect([tmp_path / "logs"], tmp_path, metrics="fps/.*")
    assert lengths(tmp_path) == [(10, None), (20, None)]


def test_lengths_follow_a_resume(tmp_path: Path) -> None:
    """The replayed stretch has the lengths of its own metrics, also where a score's step is the same as before."""
    scores, before = log_text([(10, 1), (20, 2)]), metrics_text([(10, 1), (20, 2)], with_lengths=True)
    log = write_launched(tmp_path, scores, attempts=[attempt(1, None, 0)])
    log.with_name(METRICS).write_bytes(before)
    collect([tmp_path], tmp_path, metrics="episode/.*")
    resumed = attempt(2, 10, len(scores), metrics_bytes=len(before))
    log = write_launched(tmp_path, scores + log_text([(20, 3)]), attempts=[attempt(1, None, 0), resumed])
    collect([tmp_path], tmp_path)
    assert lengths(tmp_path) == [(10, 101), (20, None)]

    log.with_name(METRICS).write_bytes(before + metrics_text([(20, 7)], with_lengths=True))
    collect([tmp_path], tmp_path)
    assert lengths(tmp_path) == [(10, 101), (20, 207)]


def test_without_metrics_the_score_log_itself_tells_lengths(tmp_path: Path) -> None:
    """Values that are no whole number are no lengths."""
    path = metric_log(tmp_path, b'{"step": 1, "episode/length": 1.5}\n')
    own = b'{"step": 1, "episode/score": 1, "episode/length": 7}\n'
    path.with_name("scores.jsonl").write_bytes(own)
    collect([tmp_path / "logs"], tmp_path)
    assert lengths(tmp_path) == [(1, 7)]
    collect([tmp_path / "logs"], tmp_path, metrics="episode/.*")
    assert lengths(tmp_path) == [(1, None)]
    path.unlink()
    collect([tmp_path / "logs"], tmp_path)
    assert lengths(tmp_path) == [(1, 7)]


def test_the_choice_holds_until_another_is_made(tmp_path: Path) -> None:
    """Later collections read only what is new; another choice reads anew, an empty one removes the dataset."""
    log = metric_log(tmp_path, metrics_text([(1, 1)]))
    collect([tmp_path / "logs"], tmp_path, metrics="train/loss")
    before = generation(tmp_path)
    assert not collect([tmp_path / "logs"], tmp_path).is_changed
    assert generation(tmp_path) == before

    new = metrics_text([(2, 2)])
    with log.open("ab") as file:
        file.write(new)
    summary = collect([tmp_path / "logs"], tmp_path)
    assert (summary.bytes_read, summary.metrics, summary.metric_rows) == (len(new), "train/loss", 2)

    collect([tmp_path / "logs"], tmp_path, metrics="fps/policy")
    assert [row[3:] for row in metric_points(tmp_path)] == [("fps/policy", 2), ("fps/policy", 4)]
    collect([tmp_path / "logs"], tmp_path, metrics="")
    assert not (tmp_path / "metrics").is_symlink()
    assert len(pd.read_parquet(tmp_path / "scores")) == 1


def test_bad_lines_of_metrics_are_named_with_their_file(tmp_path: Path) -> None:
    """They stand beside those of the scores."""
    twice = b'{"step": 2, "train/loss": 1, "train/loss": 2}\n'
    path = metric_log(tmp_path, b"garbage\n" + metrics_text([(1, 1)]) + twice)
    summary = collect([tmp_path / "logs"], tmp_path, metrics=".*")
    collect([tmp_path / "logs"], tmp_path)

    faults = pd.read_parquet(tmp_path / "faults.parquet")
    assert faults[["path", "kind", "line"]].values.tolist() == [
        [str(path), "garbage", 1],
        [str(path), "duplicate_key", 3],
    ]
    assert summary.faults == {"duplicate_key": 1, "garbage": 1}


def test_lengths_go_with_the_metrics_also_of_a_run_that_was_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder could not be listed when the metrics were switched off, and can be again."""
    path = metric_log(tmp_path, metrics_text([(1, 1)], with_lengths=True))
    write_foreign(tmp_path / "logs", line(1), seed=1)
    collect([tmp_path / "logs"], tmp_path, metrics="episode/length")
    listed = os.scandir

    def refuse(folder: str) -> object:
        if folder == str(path.parent):
            raise PermissionError(13, "Permission denied", folder)
        return listed(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        collect([tmp_path / "logs"], tmp_path, metrics="")
    before = pd.read_parquet(tmp_path / "scores")["length"].dropna().tolist()
    collect([tmp_path / "logs"], tmp_path)

    assert (before, pd.read_parquet(tmp_path / "scores")["length"].dropna().tolist()) == ([11.0], [])


def test_memory_holds_a_slice_of_a_long_log_of_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices are counted in values."""
    monkeypatch.setattr(run_reader_module, "SLICE_ROWS", 4)
    monkeypatch.setattr("aggregation.logs.reader.BLOCK_BYTES", 64)
    metric_log(tmp_path, metrics_text((step, step) for step in range(20)))
    collect([tmp_path / "logs"], tmp_path, metrics="train/loss|fps/.*")

    assert [row[2] for row in metric_points(tmp_path)] == [*range(20), *range(20)]


def test_run_without_metrics_is_fine(tmp_path: Path) -> None:
    """The dataset is there, and empty."""
    write_foreign(tmp_path / "logs", line(1))
    collect([tmp_path / "logs"], tmp_path, metrics="train/.*")

    assert metric_points(tmp_path) == []


def test_mistakes_are_errors(tmp_path: Path) -> None:
    """What is no regular expression is told, and a folder of somebody else is left alone."""
    write_foreign(tmp_path / "logs", line(1))
    with pytest.raises(ConfigError, match="no regular expression"):
        collect([tmp_path / "logs"], tmp_path, metrics="train/(")
    (tmp_path / "metrics").mkdir()
    collect([tmp_path / "logs"], tmp_path)
    with pytest.raises(LogError, match="metrics"):
        collect([tmp_path / "logs"], tmp_path, metrics="train/.*")


def test_command_takes_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--metrics` is the regular expression."""
    metric_log(tmp_path, metrics_text([(1, 1)]))
    assert main(["aggregate", str(tmp_path / "logs"), "--store", str(tmp_path), "--metrics", "train/.*", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric_rows"] == 1


KEYS = st.sampled_from(["step", "a", "b", "a:b", 'q"', "é"])
VALUES = st.one_of(
    st.none(), st.integers(-3, 10**20), st.floats(), st.text(max_size=3), st.just({"c": 1}), st.lists(st.just(1))
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=5), st.sampled_from([":", ": ", " : "]), st.integers(0, 200))
def test_quick_way_agrees_with_the_exact_one(pairs: list[tuple[str, object]], colon: str, cut: int) -> None:
    """Whatever the quick reader of a line takes, the exact one reads likewise."""
    text = "{" + ", ".join(json.dumps(key) + colon + json.dumps(value) for key, value in pairs) + "}"
    content = text.encode()[: cut + 1]
    form = LogFormat().of_metrics(".*")
    quick = flat_metrics(content, form)
    if quick is not None:
        # A byte order mark leads past the quick way.
        exact = records_of(b"\xef\xbb\xbf" + content, form)
        assert repr(exact) == repr(([Record(quick.step, quick.score, None, 3, quick.metrics)], None))
