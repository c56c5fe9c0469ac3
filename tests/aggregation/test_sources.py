"""Opening roots, stores, logs and score files together."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from log_builders import attempt, log_text, write_foreign, write_launched

from aggregation.dataset.collect import collect
from aggregation.dataset.window_scores import WindowScore
from aggregation.sources.sources import open_sources
from sweeps.contracts import RunKey, Schedule
from sweeps.errors import LogError, UnknownNameError


def write_score_file(path: Path, runs: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(runs).encode()))
    return path


def published(seed: int = 0, *, task: str = "dmc_walker_walk", method: str = "dreamerv3") -> dict[str, object]:
    return {"task": task, "method": method, "seed": seed, "xs": [1000, 2000], "ys": [1.0, None]}


def plan(root: Path, *seeds: int, label: str = "dreamerv3_tr512", event: str = "RunPlanned") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "sweep.yaml").touch()
    with (root / "journal.jsonl").open("a") as journal:
        for seed in seeds:
            run = f"dmc_proprio/dmc_walker_walk/{label}/{seed}"
            record = {"event": event, "at": 1.0, "key": run}
            extra = {"group": "dreamerv3 × dmc_proprio"} if event == "RunPlanned" else {}
            journal.write(json.dumps(record | extra) + "\n")


def keys(runs: object) -> list[str]:
    return [str(run.key) for run in runs]  # type: ignore[attr-defined]


def test_a_root_of_logs_tells_its_planned_runs_too(tmp_path: Path) -> None:
    """A cell without any data is a run all the same, with the method and the ratio that its name tells."""
    write_launched(tmp_path, log_text([(10, 1.0), (20, 2.0)]), label="dreamerv3_tr512", is_done=True)
    plan(tmp_path, 0, 1, 2)
    plan(tmp_path, 2, event="RunCancelled")

    with open_sources([tmp_path]) as sources:
        found = [(run.key.seed, run.state, run.rows, run.method, run.train_ratio) for run in sources.runs]

        assert found == [
            (0, "finished", 2, "dreamerv3", 512.0),
            (1, "planned", 0, "dreamerv3", 512.0),
            (2, "cancelled", 0, "dreamerv3", 512.0),
        ]
        assert sources.sources[0].has_plan
        assert [run.key.seed for run, _ in sources.episodes()] == [0]
    assert (tmp_path / "scores").exists(), "a root's dataset goes where every command expects it"


def test_a_torn_journal_is_no_obstacle(tmp_path: Path) -> None:
    """The orchestrator tells of its journal; a table needs the names that can be read."""
    plan(tmp_path, 4)
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"event": "RunPlanned", "key": "no/run"}\nnot json\n{"event": "RunPlanned", "at": 1.0, "ke')

    with open_sources([tmp_path]) as sources:
        assert keys(sources.runs) == ["dmc_proprio/dmc_walker_walk/dreamerv3_tr512/4"]


def test_schedules_come_from_the_launch_or_from_the_suite(tmp_path: Path) -> None:
    """run.json counts where dreamsweep launched the run; else the official numbers of a suite that is known."""
    write_launched(tmp_path / "root", log_text([(10, 1.0)]), action_repeat=2)
    plan(tmp_path / "root", 7)
    ours = write_score_file(tmp_path / "dmc_vision-mine.json.gz", [published()])
    other = write_score_file(tmp_path / "ponds-mine.json.gz", [published()])

    with open_sources([tmp_path / "root", ours, other]) as sources:
        schedules = {str(run.key): run.schedule for run in sources.runs}

    proprio = Schedule(steps=1_100_000, envs=16)
    assert schedules == {
        "dmc_proprio/dmc_walker_walk/dreamerv3/0": Schedule(steps=1000, action_repeat=2),
        "dmc_proprio/dmc_walker_walk/dreamerv3_tr512/7": proprio,
        "dmc_vision/dmc_walker_walk/dreamerv3/0": proprio,
        "ponds/dmc_walker_walk/dreamerv3/0": None,
    }


def test_logs_and_score_files_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is collected for a look goes to a temporary place, and nothing is written among the logs."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    write_score_file(tmp_path / "files" / "dmc_proprio-theirs.json.gz", [published(method="theirs")])
    before = sorted(tmp_path.rglob("*"))

    with open_sources([tmp_path / "logs", tmp_path / "files"]) as sources:
        assert [(run.label, run.rows) for run in sources.runs] == [("dreamerv3", 1), ("theirs", 2)]
        assert list(temporary.iterdir()) != []

    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistake_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that cannot be opened does not strand what was collected from the others."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))

    with pytest.raises(LogError, match="absent does not exist; expected a sweep root"):
        open_sources([tmp_path / "logs", tmp_path / "absent"])
    with pytest.raises(UnknownNameError, match=r"Unknown task 'dmc_walker_wal'. Did you mean 'dmc_walker_walk'"):
        open_sources([tmp_path / "logs"], tasks=["dmc_walker_wal"])

    assert list(temporary.iterdir()) == []


def test_a_damaged_table_of_runs_is_told_in_words(tmp_path: Path) -> None:
    """With what to do; the logs hold everything."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    open_sources([tmp_path / "logs"], store=tmp_path / "store")
    table = (tmp_path / "store" / "runs.parquet").resolve()
    table.write_bytes(table.read_bytes()[:-10])

    with pytest.raises(LogError, match=rf"{table} is damaged: .*remove {table.parents[1]}, collect"):
        open_sources([tmp_path / "store"])


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of many folders, the first few and the number of the others."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    for number in range(13):
        write_foreign(tmp_path / "logs", log_text([(10, 1.0)]), label=f"no label {number}")

    open_sources([tmp_path / "logs"])
    assert len(caplog.messages) == 11
    assert "no label" in caplog.messages[0]
    assert caplog.messages[-1] == "left out: 3 more"


def test_wild_cards_choose_runs(tmp_path: Path) -> None:
    """In labels as they are in a file, and as they are shown beside another file's."""
    for name in ("one", "two"):
        runs = [published(method=method) for method in ("theirs", "ours")]
        write_score_file(tmp_path / name / "dmc_proprio-theirs.json.gz", runs)

    with open_sources([tmp_path / "one", tmp_path / "two"], labels=["the*"], tasks=["dmc_*_walk"]) as sources:
        assert [run.key.label for run in sources.runs] == ["theirs", "theirs"]
    with open_sources([tmp_path / "one", tmp_path / "two"], labels=["*two*"]) as sources:
        assert {run.source.path for run in sources.runs} == {tmp_path / "two"}


def test_what_is_collected_can_be_kept(tmp_path: Path) -> None:
    """With a store, logs are collected into it, and a second opening reads only what is new."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    with open_sources([tmp_path / "logs"], store=tmp_path / "store"):
        pass

    with open_sources([tmp_path / "store"]) as sources:
        assert [(run.source.kind, run.rows) for run in sources.runs] == [("store", 1)]


def test_labels_carry_their_source_only_where_two_sources_share_them(tmp_path: Path) -> None:
    """The published runs and one's own of the same name stand side by side."""
    write_launched(tmp_path / "a" / "mine", log_text([(10, 1.0)]))
    write_launched(tmp_path / "b" / "mine", log_text([(10, 1.0)]), seed=1)
    write_launched(tmp_path / "b" / "mine", log_text([(10, 1.0)]), label="dreamerv3_tr512")
    file = write_score_file(tmp_path / "dmc_proprio-dreamerv3.json.gz", [published(), published(1)])

    with open_sources([tmp_path / "a" / "mine", tmp_path / "b" / "mine", file]) as sources:
        assert [(run.label, run.key.seed) for run in sources.runs] == [
            ("dreamerv3 (a/mine)", 0),
            ("dreamerv3 (b/mine)", 1),
            ("dreamerv3 (dmc_proprio-dreamerv3)", 0),
            ("dreamerv3 (dmc_proprio-dreamerv3)", 1),
            ("dreamerv3_tr512", 0),
        ]
        chosen = open_sources([tmp_path / "a" / "mine", file], labels=["dreamerv3 (mine)"])
        assert [(run.source.name, run.label) for run in chosen.runs] == [("mine", "dreamerv3 (mine)")]


def test_the_same_place_counts_once(tmp_path: Path) -> None:
    """A root given twice, as a text or by a link too, is one source."""
    write_launched(tmp_path / "root", log_text([(10, 1.0)]))
    (tmp_path / "link").symlink_to(tmp_path / "root")

    with open_sources([tmp_path / "root", tmp_path / "link", str(tmp_path / "root")]) as sources:
        assert [source.name for source in sources.sources] == ["root"]


def test_episodes_of_several_sources_keep_their_runs_apart(tmp_path: Path) -> None:
    """Two suites share a task's folder in the dataset, and two sources a run's key."""
    for number, name in enumerate(("one", "two")):
        for suite in ("dmc_proprio", "dmc_vision"):
            run = published() | {"xs": [10, 20], "ys": [number, 5.0 if suite == "dmc_vision" else 7.0]}
            write_score_file(tmp_path / name / f"{suite}-m.json.gz", [run])

    with open_sources([tmp_path / "one", tmp_path / "two"]) as sources:
        found = [(run.key.suite, run.source.name, each.scores.tolist()) for run, each in sources.episodes()]

        assert found == [
            ("dmc_proprio", "one", [0.0, 7.0]),
            ("dmc_proprio", "two", [1.0, 7.0]),
            ("dmc_vision", "one", [0.0, 5.0]),
            ("dmc_vision", "two", [1.0, 5.0]),
        ]
        assert [run for run, _ in sources.bins(sources.runs[1:2])] == [sources.runs[1]]


def test_lengths_come_where_they_were_asked_for(tmp_path: Path) -> None:
    """The score log of some trainers has episode lengths; NaN stands for an episode without one."""
    lines = b'{"step": 10, "episode/score": 1.0, "episode/length": 7}\n{"step": 20, "episode/score": 2.0}\n'
    write_launched(tmp_path, lines, attempts=[attempt(1, None, 0)])
    collect([tmp_path], tmp_path)

    with open_sources([tmp_path]) as sources:
        ((_, plain),) = sources.episodes()
        ((_, full),) = sources.episodes(with_lengths=True)

    assert plain.key == RunKey(suite="dmc_proprio", task="dmc_walker_walk", label="dreamerv3", seed=0)
    assert plain.lengths is None
    np.testing.assert_array_equal(full.lengths, [7.0, np.nan])


def test_tasks_named_by_the_trainers_flag_get_their_published_name(tmp_path: Path) -> None:
    """Logs of the official trainer then stand beside published scores; two names of one task are not mixed."""
    for name, task in (("logs", "atari100k_pong"), ("both", "atari100k_alien"), ("both", "atari_alien")):
        write_foreign(tmp_path / name, log_text([(10, 1.0)]), task=task)

    with open_sources([tmp_path / "logs", tmp_path / "both"], suite="atari100k") as sources:
        assert [(run.source.name, run.key.task) for run in sources.runs] == [
            ("both", "atari100k_alien"),
            ("both", "atari_alien"),
            ("logs", "atari_pong"),
        ]
        assert [each.scores.tolist() for _, each in sources.episodes()] == [[1.0]] * 3
        assert [bins.mean[-1] for _, bins in sources.bins()] == [1.0] * 3


def test_window_scores_are_means_of_episodes_and_are_remembered(tmp_path: Path) -> None:
    """Both ends of a window are inside; nulls do not count; a log that grew is read again."""
    logs = tmp_path / "logs"
    path = write_foreign(logs, log_text([(9, 5.0), (10, 1.0), (15, float("nan")), (20, 3.0), (21, 7.0)]))
    write_foreign(logs, log_text([(21, 7.0)]), seed=1)
    place = ("dmc", "dmc_walker_walk")

    def scores(low: int, high: int) -> list[WindowScore | None]:
        with open_sources([tmp_path / "store"]) as sources:
            return sources.window_scores(sources.runs, {place: (low, high)}, lambda done, _: read.append(done))

    read: list[int] = []
    collect([logs], tmp_path / "store")
    assert scores(10, 20) == [WindowScore(2.0, 2), None]
    assert scores(10, 20) == [WindowScore(2.0, 2), None]
    assert scores(21, 21) == [WindowScore(7.0, 1), WindowScore(7.0, 1)]
    assert read == [0, 0]
    with path.open("ab") as log:
        log.write(log_text([(22, 1.0)]))
    collect([logs], tmp_path / "store")
    assert scores(21, 22) == [WindowScore(4.0, 2), WindowScore(7.0, 1)]
    for window in range(9):
        assert scores(window, 22)[0] is not None
    assert scores(10, 20) == [WindowScore(2.0, 2), None]


def test_what_is_read_stays_until_it_was_read(tmp_path: Path) -> None:
    """A sweep that is collected every minute does not take the dataset from under a long report."""
    store, path = tmp_path / "store", write_foreign(tmp_path / "logs", log_text([(1, 1.0)]))
    collect([tmp_path / "logs"], store)
    with open_sources([store]) as sources:
        for step in range(2, 7):
            with path.open("ab") as log:
                log.write(log_text([(step, 1.0)]))
            collect([tmp_path / "logs"], store)
        assert [each.steps.tolist() for _, each in sources.episodes()] == [[1]]
        assert [bins.count.tolist() for _, bins in sources.bins()] == [[0, 1]]
        assert sources.sources[0].generation.path.exists()

    collect([tmp_path / "logs"], store)
    with path.open("ab") as log:
        log.write(log_text([(7, 1.0)]))
    collect([tmp_path / "logs"], store)
    assert sorted(each.name for each in (store / ".collected").iterdir() if each.name.isdigit()) == [
        f"{number:06d}" for number in (5, 6, 7)
    ]
