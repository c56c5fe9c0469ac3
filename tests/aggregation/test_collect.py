"""Collecting logs into a dataset: whole, again, while they grow, and when it is stopped."""

import gzip
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_builders import (
    LOG,
    METRICS,
    attempt,
    dataset,
    generation,
    line,
    log_text,
    metric_points,
    metrics_text,
    points,
    published_rows,
    write_attempts,
    write_foreign,
    write_launched,
)

import aggregation.dataset.partition as dataset_module
import aggregation.logs.run_reader as run_reader_module
from aggregation.dataset.collect import collect
from aggregation.dataset.explanation import explain
from sweeps.errors import LogError

RUN = "dmc/dmc_walker_walk/dreamerv3/0"
LAUNCHED = "dmc_proprio/dmc_walker_walk/dreamerv3/0"


def test_dataset_has_one_row_per_episode_with_every_column(tmp_path: Path) -> None:
    """What `pandas.read_parquet` gives is the dataset that the design promises."""
    write_launched(tmp_path, line(10, 1.5) + b'{"step": 20, "episode/score": NaN}\n', label="dreamerv3_tr512")
    summary = collect([tmp_path], tmp_path)

    frame = pd.read_parquet(tmp_path / "scores")
    assert set(frame.columns) == {
        *("suite", "task", "method", "train_ratio", "label", "seed", "attempt", "step", "score", "length", "run")
    }
    first = frame.iloc[0].to_dict()
    assert {name: first[name] for name in sorted(first) if name != "length"} == {
        "attempt": 1,
        "label": "dreamerv3_tr512",
        "method": "dreamerv3",
        "run": "dmc_proprio/dmc_walker_walk/dreamerv3_tr512/0",
        "score": 1.5,
        "seed": 0,
        "step": 10,
        "suite": "dmc_proprio",
        "task": "dmc_walker_walk",
        "train_ratio": 512.0,
    }
    assert frame["score"].isna().tolist() == [False, True]
    assert (summary.runs, summary.rows, summary.new_rows, summary.non_finite) == (1, 2, 2, 1)


def test_duckdb_reads_the_partitions_alone(tmp_path: Path) -> None:
    """Folders spell out task and label, names with slashes, blanks and digits included."""
    for task in ("bsuite_mnist:0", "gym_CartPole-v1"):
        write_foreign(tmp_path / "logs", line(1), task=task)
    collect([tmp_path / "logs"], tmp_path / "store")

    query = (
        f"select task, label, step from read_parquet('{tmp_path}/store/scores/**/*.parquet', hive_partitioning=true)"
    )
    assert sorted(duckdb.sql(query).fetchall()) == [
        ("bsuite_mnist/0", "dreamerv3", 1),
        ("gym_CartPole-v1", "dreamerv3", 1),
    ]
    assert sorted(set(pd.read_parquet(tmp_path / "store" / "scores")["task"])) == ["bsuite_mnist/0", "gym_CartPole-v1"]


def test_replayed_stretch_counts_once(tmp_path: Path) -> None:
    """Rows beyond the checkpoint that a later attempt resumed from are dropped and counted."""
    before = log_text([(10, 1), (20, 2), (30, 3)])
    log = write_launched(
        tmp_path,
        before + log_text([(24, 4), (34, 5)]),
        attempts=[attempt(1, None, 0), attempt(2, 10, len(before))],
        action_repeat=2,
    )
    summary = collect([tmp_path], tmp_path)

    assert points(tmp_path) == [(LAUNCHED, 1, 10, 1), (LAUNCHED, 1, 20, 2), (LAUNCHED, 2, 24, 4), (LAUNCHED, 2, 34, 5)]
    assert (summary.rows, summary.dropped) == (4, 1)
    row = published_rows(tmp_path)[LAUNCHED]
    assert (row["rows"], row["dropped"], row["attempts"], row["first_step"], row["last_step"]) == (4, 1, 2, 10, 34)
    assert row["path"] == str(log)


def test_a_resume_between_two_collections_takes_rows_back(tmp_path: Path) -> None:
    """Rows that were published are taken out when a later attempt resumes before them, with or without new lines."""
    before = log_text([(10, 1), (20, 2), (30, 3)])
    log = write_launched(tmp_path, before, attempts=[attempt(1, None, 0)])
    collect([tmp_path], tmp_path)
    write_attempts(log.parent, [attempt(1, None, 0), attempt(2, 20, len(before))])
    summary = collect([tmp_path], tmp_path)
    assert points(tmp_path) == [(LAUNCHED, 1, 10, 1), (LAUNCHED, 1, 20, 2)]
    assert (summary.dropped, summary.bytes_read) == (1, 0)

    with log.open("ab") as file:
        file.write(line(21, 9))
    collect([tmp_path], tmp_path)
    assert points(tmp_path)[-1] == (LAUNCHED, 2, 21, 9)


def test_log_of_a_command_trainer_is_read_by_its_own_names(tmp_path: Path) -> None:
    """The file, the step and the score have the names that the trainer's options give."""
    options = {"adapter": "command", "log": "out.jsonl", "step_key": "frames", "score_key": "return"}
    write_launched(tmp_path, b'{"frames": 5, "return": 2}\n', adapter="command", trainer=options, log="out.jsonl")
    collect([tmp_path], tmp_path)

    assert points(tmp_path) == [(LAUNCHED, 1, 5, 2)]


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    """Counts by kind are in the summary, each bad line with its place and text in faults.parquet."""
    content = line(1) + b'{"step": 2, "epi' + line(3) + b"garbage\n" + line(4) + b'{"step": 5'
    log = write_launched(tmp_path, content, is_done=True)
    summary = collect([tmp_path], tmp_path)

    assert summary.faults == {"garbage": 1, "joined": 1, "torn_tail": 1}
    assert [(each.run, each.kinds) for each in summary.faulty_files] == [(LAUNCHED, summary.faults)]
    faults = pd.read_parquet(tmp_path / "faults.parquet")
    assert faults[["kind", "line", "kept"]].values.tolist() == [
        ["joined", 2, 1],
        ["garbage", 3, 0],
        ["torn_tail", 5, 0],
    ]
    for _, fault in faults.iterrows():
        assert log.read_bytes()[fault["offset"] :].startswith(fault["excerpt"].encode())


def test_second_collection_opens_nothing_and_publishes_nothing(tmp_path: Path) -> None:
    """Unchanged logs cost a look at their folders."""
    write_foreign(tmp_path / "logs", line(1))
    collect([tmp_path / "logs"], tmp_path)
    before = generation(tmp_path)
    summary = collect([tmp_path / "logs"], tmp_path)

    assert (summary.runs_read, summary.bytes_read, summary.is_changed, summary.rows) == (0, 0, False, 1)
    assert generation(tmp_path) == before


def test_grown_log_is_read_from_where_it_ended(tmp_path: Path) -> None:
    """Only the new bytes are read."""
    log = write_foreign(tmp_path / "logs", log_text((step, step) for step in range(1000)) + b'{"st')
    collect([tmp_path / "logs"], tmp_path)
    with log.open("ab") as file:
        file.write(b'ep": 1000, "episode/score": 7}\n')
    summary = collect([tmp_path / "logs"], tmp_path)

    assert (summary.bytes_read, summary.new_rows, summary.rows, summary.faults) == (35, 1, 1001, {})
    assert points(tmp_path)[-1] == (RUN, 1, 1000, 7)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"x\n", b'{"step": 7, "episode/score": 1}\n'])
def test_last_line_without_newline_is_read_once(tmp_path: Path, ending: bytes) -> None:
    """What follows is read from there where it is the newline; only a line that went on is read again with the rest."""
    log = write_foreign(tmp_path / "logs", log_text((step, step) for step in range(1000)) + line(1000)[:-1])
    assert collect([tmp_path / "logs"], tmp_path).rows == 1001
    with log.open("ab") as file:
        file.write(ending)
    summary = collect([tmp_path / "logs"], tmp_path)
    fresh = collect([tmp_path / "logs"], tmp_path / "fresh")

    assert points(tmp_path) == points(tmp_path / "fresh")
    assert summary.faults == fresh.faults
    assert (summary.bytes_read == len(ending)) == (ending in (b"\n", b"\r\n"))


def test_small_growths_do_not_pile_up_files(tmp_path: Path) -> None:
    """A sweep that is collected every minute keeps a handful of files."""
    log = write_foreign(tmp_path / "logs", b"")
    for step in range(30):
        with log.open("ab") as file:
            file.write(line(step))
        collect([tmp_path / "logs"], tmp_path)

    assert len(list((tmp_path / "scores").rglob("*.parquet"))) == 2
    assert [step for _, _, step, _ in points(tmp_path)] == list(range(30))
    assert len([path for path in (tmp_path / ".collected").iterdir() if path.name.isdigit()]) == 3


def test_many_files_of_a_partition_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are merged now and then, and nothing is lost or doubled by it."""
    monkeypatch.setattr(dataset_module, "_SMALL_BYTES", 0)
    monkeypatch.setattr(dataset_module, "_MANY_FILES", 3)
    log = write_foreign(tmp_path / "logs", b"")
    counts = []
    for step in range(9):
        with log.open("ab") as file:
            file.write(line(step))
        collect([tmp_path / "logs"], tmp_path)
        counts.append(len(list((tmp_path / "scores").rglob("*.parquet"))))

    assert counts == [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert [step for _, _, step, _ in points(tmp_path)] == list(range(9))


def test_later_version_of_a_file_begins_with_the_earlier_one(tmp_path: Path) -> None:
    """DuckDB and Polars open a file several times in one query: its footer and its bytes must stay where they were.

    Replacing a file by an unrelated one of the same name made one query in forty fail while a sweep was collected.
    """
    before = log_text([(10, 1), (20, 2), (30, 3)])
    log = write_launched(tmp_path, before, attempts=[attempt(1, None, 0)])
    collect([tmp_path], tmp_path)
    (path,) = (tmp_path / "scores").rglob("*.parquet")
    versions = [path.read_bytes()]
    with log.open("ab") as file:
        file.write(line(40))
    collect([tmp_path], tmp_path)
    versions.append(path.read_bytes())
    write_attempts(log.parent, [attempt(1, None, 0), attempt(2, 20, log.stat().st_size)])
    collect([tmp_path], tmp_path)
    versions.append(path.read_bytes())

    assert all(later.startswith(earlier) and later != earlier for earlier, later in itertools.pairwise(versions))
    assert [step for _, _, step, _ in points(tmp_path)] == [10, 20]


def test_reader_that_opens_files_of_two_generations_finds_no_stretch_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader lists the files, and a collection is published before it opens the last of them.

    A resume took rows out of two files and put its own into one of them: whoever had opened the other one before had
    the replayed stretch twice.
    """
    monkeypatch.setattr(dataset_module, "_MANY_GROUPS", 2)
    log = write_foreign(tmp_path / "logs", b"")
    versions: list[dict[str, list[int]]] = []
    for steps in ([0, 10], [20, 30], [40, 50], [25, 35], [45], [15, 18], [60], [5], [12], [14]):
        with log.open("ab") as file:
            file.write(log_text((step, 1) for step in steps))
        collect([tmp_path / "logs"], tmp_path)
        files = {path.name: pd.read_parquet(path)["step"].tolist() for path in (tmp_path / "scores").rglob("part-*")}
        versions.append(files)

    for earlier, later in itertools.pairwise(versions):
        assert earlier.keys() <= later.keys()
        for opened in itertools.product([earlier, later], repeat=len(earlier)):
            steps = [step for version, name in zip(opened, earlier, strict=True) for step in version[name]]
            assert len(steps) == len(set(steps))
    assert sorted(itertools.chain(*versions[-1].values())) == [0, 5, 12, 14]


def test_collecting_does_not_import_pandas(tmp_path: Path) -> None:
    """Importing it takes longer than most collections, and Arrow does so in many a harmless call."""
    write_foreign(tmp_path / "logs", line(1) + b"garbage\n").with_name(METRICS).write_bytes(
        metrics_text([(1, 2)], with_lengths=True)
    )
    program = (
        "import sys; from pathlib import Path; from aggregation.dataset.collect import collect;"
        f"top = Path({str(tmp_path)!r}); log = next(top.rglob('scores.jsonl'));"
        "collect([top / 'logs'], top, metrics='.*'); log.open('ab').write(log.read_bytes());"
        "collect([top / 'logs'], top); sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)


def test_runs_that_went_away_leave_the_dataset(tmp_path: Path) -> None:
    """The dataset holds what the folders hold."""
    write_foreign(tmp_path / "logs", line(1), seed=0)
    gone = write_foreign(tmp_path / "logs", line(2), seed=1)
    alone = write_foreign(tmp_path / "logs", line(3), task="dmc_cup_catch")
    collect([tmp_path / "logs"], tmp_path)
    gone.unlink()
    alone.unlink()
    collect([tmp_path / "logs"], tmp_path)

    assert points(tmp_path) == [(RUN, 1, 1, 1)]
    assert list(published_rows(tmp_path)) == [RUN]


def test_root_without_an_episode_is_an_empty_dataset(tmp_path: Path) -> None:
    """Readers may come before the first episode ends."""
    write_launched(tmp_path, None)
    collect([tmp_path], tmp_path)

    frame = pd.read_parquet(tmp_path / "scores")
    assert (len(frame), "task" in frame, "score" in frame) == (0, True, True)
    assert published_rows(tmp_path)[LAUNCHED]["state"] == "planned"


def test_runs_table_tells_state_speed_and_gpu_hours(tmp_path: Path) -> None:
    """Attempts that ended count towards time; half a GPU for an hour is half a GPU hour."""
    ended = attempt(1, None, 0, ended_at=3700.0, outcome="preempted")
    write_launched(tmp_path, log_text([(3600, 1), (7200, 2)]), attempts=[ended])
    collect([tmp_path], tmp_path)

    row = published_rows(tmp_path)[LAUNCHED]
    assert (row["state"], row["fps"], row["gpu_hours"]) == ("preempted", 2.0, 0.5)


@pytest.mark.parametrize("is_packed", [False, True])
def test_memory_holds_a_slice_of_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_packed: bool) -> None:
    """A log beyond the slice is read in several, and a seam in a later slice takes rows of an earlier one back."""
    monkeypatch.setattr(run_reader_module, "SLICE_ROWS", 4)
    monkeypatch.setattr("aggregation.logs.reader.BLOCK_BYTES", 64)
    steps = [*range(0, 200, 10), *range(55, 400, 10)]
    log = write_foreign(tmp_path / "logs", log_text((step, 1) for step in steps))
    if is_packed:
        log.with_suffix(".jsonl.gz").write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
    summary = collect([tmp_path / "logs"], tmp_path)

    assert [step for _, _, step, _ in points(tmp_path)] == [*range(0, 55, 10), *range(55, 400, 10)]
    assert (summary.rows, summary.dropped) == (6 + 35, 14)


def test_unreadable_log_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    """A log that is a folder cannot be read; the other runs are."""
    write_foreign(tmp_path / "logs", line(1), seed=0)
    (tmp_path / "logs" / "dmc_walker_walk" / "dreamerv3" / "1" / LOG).mkdir(parents=True)
    summary = collect([tmp_path / "logs"], tmp_path)

    assert points(tmp_path) == [(RUN, 1, 1, 1)]
    assert len(summary.unusable) == 1
    assert LOG in summary.unusable[0]


@pytest.mark.parametrize("name", ["scores", "runs.parquet"])
def test_store_with_files_of_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing that dreamsweep did not make is replaced."""
    write_foreign(tmp_path / "logs", line(1))
    (tmp_path / "store" / name).mkdir(parents=True)

    with pytest.raises(LogError, match=name):
        collect([tmp_path / "logs"], tmp_path / "store")


def test_folder_without_any_log_is_an_error(tmp_path: Path) -> None:
    """The message names the folder and what was expected."""
    with pytest.raises(LogError, match=r"scores\.jsonl"):
        collect([tmp_path], tmp_path / "store")


def test_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file where the store should be is told as such."""
    write_foreign(tmp_path / "logs", line(1))
    (tmp_path / "file").touch()

    with pytest.raises(LogError, match="cannot hold a dataset"):
        collect([tmp_path / "logs"], tmp_path / "file")


#: Which of a run's two logs an action changes.
LOGS = st.sampled_from([(LOG, METRICS), (LOG, METRICS), (LOG,), (METRICS,)])
WITH_LENGTHS = "(train|fps|episode)/.*"


def test_the_suite_that_was_given_holds_until_another_is(tmp_path: Path) -> None:
    """As do the metrics; a nightly collection that forgets the word would rename every run."""
    write_foreign(tmp_path / "logs", line(1))
    suites = []
    for suite in ("mine", None, "yours", None, ""):
        collect([tmp_path / "logs"], tmp_path, suite=suite)
        suites += dataset(tmp_path)["suite"].unique().tolist()

    assert suites == ["mine", "mine", "yours", "yours", "dmc"]


def test_repeats_are_numbered_the_same_however_they_came(tmp_path: Path) -> None:
    """Collected as they appear and disappear, or at once: each folder has the seed that its place among all gives."""
    logs, grown, fresh = (tmp_path / name for name in ("logs", "grown", "fresh"))
    for number in (1, 3, 2):
        write_foreign(logs / str(number), line(number, number))
        summary = collect([logs], grown, numbers_repeats=True)
    assert [(Path(each.folder).parts[-4], each.run) for each in summary.repeats] == [
        ("2", "dmc/dmc_walker_walk/dreamerv3/1"),
        ("3", "dmc/dmc_walker_walk/dreamerv3/2"),
    ]
    write_foreign(logs / "3", line(3, 3) + line(4, 4))
    shutil.rmtree(logs / "1")
    collect([logs], grown, numbers_repeats=True)
    collect([logs], fresh, numbers_repeats=True)

    want = pd.DataFrame({"seed": [0, 1, 1], "step": [2, 3, 4]})
    for store in (grown, fresh):
        rows = dataset(store).sort_values(["seed", "step"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[["seed", "step"]], want, check_dtype=False)
    assert len(collect([logs], grown).repeats) == 1  # what was asked for holds
    shutil.rmtree(logs / "3")
    collect([logs], grown, numbers_repeats=False)
    assert dataset(grown)["seed"].tolist() == [0]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(0, 1), st.lists(st.integers(0, 60), max_size=5), LOGS),
        st.tuples(
            st.just("tear"), st.integers(0, 1), st.sampled_from([b'{"st', b"\0\0", line(7)[:-1], b"\n", b"x\n"]), LOGS
        ),
        st.tuples(st.just("cut"), st.integers(0, 1), st.integers(0, 80), LOGS),
        st.tuples(st.just("replace"), st.integers(0, 1), st.lists(st.integers(0, 60), max_size=5), LOGS),
        st.tuples(st.just("resume"), st.integers(0, 1), st.integers(0, 30), LOGS),
        st.tuples(st.just("finish"), st.integers(0, 1), st.booleans(), LOGS),
        st.tuples(st.just("remove"), st.integers(0, 1), st.none(), LOGS),
        st.tuples(st.just("collect"), st.just(0), st.sampled_from([None, None, "(train|fps)/.*", WITH_LENGTHS]), LOGS),
    ),
    min_size=1,
    max_size=14,
)


@settings(deadline=None, max_examples=40)
@given(actions=ACTIONS, small=st.sampled_from([0, 6000, 1 << 19]))
def test_collecting_along_the_way_equals_collecting_at_the_end(
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[str, int, object, tuple[str, ...]]],
    small: int,
) -> None:
    """After any growth, tearing, truncation, replacement, resume and removal, the dataset is what a fresh one is.

    So are the lengths that come from metrics.jsonl, whichever of the two logs is ahead.
    """
    root = tmp_path_factory.mktemp("root")
    attempts: dict[int, list[object]] = {0: [], 1: []}
    logs = [write_launched(root, b""), write_foreign(root / "runs" / "more", b"", seed=1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_module, "_SMALL_BYTES", small)
        for action, which, value, names in [*actions, ("collect", 0, None, ())]:
            _act(root, logs[which], which, action, value, names, attempts)
        for pattern in ("(train|fps)/.*", WITH_LENGTHS):
            summary = collect([root], root, metrics=pattern)
            fresh = root / pattern[1:6] / str(summary.metric_rows)
            collect([root], fresh, metrics=pattern)
            _assert_equal(root, fresh)


def _assert_equal(root: Path, fresh: Path) -> None:
    """That two stores of the same logs hold the same."""
    columns = ["run", "attempt", "step", "score", "length"]
    pd.testing.assert_frame_equal(dataset(root)[columns], dataset(fresh)[columns])
    assert metric_points(root) == metric_points(fresh)
    counts = Counter((run, number) for run, number, _, _ in points(root))
    for run, row in published_rows(root).items():
        told = explain(root, run)
        assert {each.attempt: each.kept for each in told.stretches if each.kept} == {
            number: count for (of, number), count in counts.items() if of == run
        }
        assert sum(loss.rows for each in told.stretches for loss in each.dropped) == row["dropped"]
    for name in ("runs.parquet", "faults.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(root / name), pd.read_parquet(fresh / name))


def _act(
    root: Path,
    log: Path,
    which: int,
    action: str,
    value: object,
    names: tuple[str, ...],
    attempts: dict[int, list[object]],
) -> None:
    if action == "collect":
        assert value is None or isinstance(value, str)
        collect([root], root, metrics=value or WITH_LENGTHS)
    elif action == "resume":
        assert isinstance(value, int)
        if which == 0:
            sizes = [path.stat().st_size if path.exists() else 0 for path in (log, log.with_name(METRICS))]
            number, resumed = len(attempts[0]) + 1, value if attempts[0] else None
            attempts[0].append(attempt(number, resumed, sizes[0], metrics_bytes=sizes[1]))
            write_attempts(log.parent, attempts[0])  # type: ignore[arg-type]
    elif action == "finish":
        done = log.parent / "done"
        if which == 0:
            done.touch() if value else done.unlink(missing_ok=True)
    else:
        if LOG in names:
            _change(log, action, value, log_text)
        if METRICS in names:
            _change(log.with_name(METRICS), action, value, partial(metrics_text, with_lengths=True))


def _change(log: Path, action: str, value: object, text: Callable[[Iterable[tuple[int, float]]], bytes]) -> None:
    if action == "remove":
        log.unlink(missing_ok=True)
    elif action == "replace":
        assert isinstance(value, list)
        fresh = log.with_name("fresh")
        fresh.write_bytes(text((step, 5) for step in value))
        fresh.replace(log)
    elif action == "grow":
        assert isinstance(value, list)
        with log.open("ab") as file:
            file.write(text((step, 1) for step in value))
    elif action == "tear":
        assert isinstance(value, bytes)
        with log.open("ab") as file:
            file.write(value)
    elif action == "cut" and log.exists():
        assert isinstance(value, int)
        os.truncate(log, max(log.stat().st_size - value, 0))


def test_a_run_that_ended_without_a_score_is_told(tmp_path: Path) -> None:
    """It did what it was told to, and yet something is wrong: the keys that were looked for are named."""
    write_launched(tmp_path, line(1), is_done=True)
    other = b'{"step": 2, "score": 3.0}\n'
    log = write_launched(tmp_path, other, seed=1, is_done=True)
    write_launched(tmp_path, None, seed=2, is_done=True)
    write_launched(tmp_path, None, seed=3)

    summary = collect([tmp_path], tmp_path)

    assert (summary.scoreless, [run.run[-1] for run in summary.scoreless_runs]) == (2, ["1", "2"])
    first = summary.scoreless_runs[0]
    assert (first.path, first.step_key, first.score_key) == (str(log), "step", "episode/score")


def test_readers_are_right_at_every_moment(tmp_path: Path) -> None:
    """While logs grow and resume, what pandas and DuckDB read is always one whole published state."""
    content = log_text((step, 1) for step in range(0, 400, 2))
    for seed in range(4):
        write_foreign(tmp_path / "logs", content, seed=seed, task=f"dmc_t{seed % 2}")
    collect([tmp_path / "logs"], tmp_path)
    program = textwrap.dedent(
        f"""
        import itertools, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from log_builders import line
        from aggregation.dataset.collect import collect
        top = Path({str(tmp_path)!r})
        logs = sorted(top.glob("logs/*/*/*/scores.jsonl"))
        step = 400
        for number in itertools.count():
            for log in logs:
                with log.open("ab") as file:
                    file.write(b"".join(line(step + k) for k in range(0, 40, 2)))
            # every third time the step goes back: a resume that takes rows out
            step += 40 if number % 3 else -22
            collect([top / "logs"], top)
        """
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    try:
        seen = set()
        until = time.monotonic() + 6
        while time.monotonic() < until:
            frame = pd.read_parquet(tmp_path / "scores")
            rows = duckdb.sql(
                f"select run, step from read_parquet('{tmp_path}/scores/**/*.parquet', hive_partitioning=true)"
            ).df()
            for read in (frame, rows):
                for _, run in read.groupby("run", observed=True):
                    steps = sorted(run["step"])
                    assert len(steps) == len(set(steps))
                    assert steps[:200] == list(range(0, 400, 2))
            seen.add(len(frame))
            assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    assert len(seen) > 2


def test_killed_at_any_moment_it_leaves_the_last_dataset_or_the_next(tmp_path: Path) -> None:
    """A collection that is killed is as good as one that never began; the next one goes on."""
    logs = [write_foreign(tmp_path / "logs", log_text((s, 1) for s in range(20_000)), seed=seed) for seed in range(4)]
    collect([tmp_path / "logs"], tmp_path)
    program = (
        "import sys; from pathlib import Path; from aggregation.dataset.collect import collect; print(flush=True);"
        f"collect([Path({str(tmp_path / 'logs')!r})], Path({str(tmp_path)!r}))"
    )
    want = 20_000
    outcomes = set()
    for number in range(8):
        for log in logs:
            with log.open("ab") as file:
                file.write(log_text((20_000 + 10 * number + k, 1) for k in range(10)))
        worker = subprocess.Popen(
            [sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
        )
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(0.004 * number)
        worker.kill()
        worker.wait()
        worker.stdout.close()
        counts = set(dataset(tmp_path).groupby("run").size())
        assert counts in ({want}, {20_000 + 10 * (number + 1)})
        outcomes.add(counts == {want})
        want = counts.pop()
    collect([tmp_path / "logs"], tmp_path)

    assert set(dataset(tmp_path).groupby("run").size()) == {20_080}
    assert pq.read_table(tmp_path / "runs.parquet").num_rows == 4
