"""The folders of a store's generations: made into later ones, and what was left in them."""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from log_builders import (
    LOG,
    METRICS,
    attempt,
    line,
    log_text,
    metrics_text,
    points,
    write_attempts,
    write_foreign,
    write_launched,
)

import aggregation.dataset.mirror as mirror_module
import aggregation.dataset.partition as partition_module
from aggregation.dataset.collect import collect
from aggregation.dataset.episodes import open_runs
from aggregation.dataset.reference_runs import import_files
from aggregation.dataset.store import Store
from sweeps.errors import LogError


def grow(logs: Path, step: int) -> None:
    """A new line in every log."""
    for log in logs.rglob(LOG):
        with log.open("ab") as file:
            file.write(line(step))


def numbers(store: Path) -> list[int]:
    return sorted(int(path.name) for path in (store / ".collected").iterdir() if path.name.isdigit())


def folder(store: Path, number: int) -> Path:
    return store / ".collected" / f"{number:06d}"


def content(generation: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(generation)): path.read_bytes()
        for path in generation.rglob("*")
        if path.is_file() and path.name != "state.json"
    }


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two tasks of two seeds, each with three lines."""
    for task in ("dmc_walker_walk", "dmc_cup_catch"):
        for seed in range(2):
            write_foreign(tmp_path / "logs", log_text((step, 1) for step in range(3)), task=task, seed=seed)
    return tmp_path / "logs"


def test_a_generation_is_made_from_the_third_last_one(tmp_path: Path, logs: Path) -> None:
    """Its folders are used once more; the last two stay exactly as they were."""
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path)
    assert numbers(tmp_path) == [1, 2, 3]
    inode = (folder(tmp_path, 1) / "scores").stat().st_ino
    before = [content(folder(tmp_path, number)) for number in (2, 3)]
    grow(logs, 6)
    collect([logs], tmp_path)

    assert numbers(tmp_path) == [2, 3, 4]
    assert (folder(tmp_path, 4) / "scores").stat().st_ino == inode
    assert [content(folder(tmp_path, number)) for number in (2, 3)] == before
    assert {step for _, _, step, _ in points(tmp_path)} == set(range(7))


def test_what_a_killed_collection_left_does_not_show(tmp_path: Path, logs: Path) -> None:
    """Half-written files, files of rows that were never published, stray folders and links: all go."""
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path)
    left = folder(tmp_path, 4)
    shutil.copytree(folder(tmp_path, 3), left, symlinks=True)
    (part, *_) = sorted(left.rglob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    (part.parent / ".part-000004.parquet.new").write_bytes(b"PAR1")
    shutil.copy(sorted(left.rglob("part-*.parquet"))[-1], part.with_name("part-000004.parquet"))
    (left / "scores" / "task=dmc_gone" / "label=dreamerv3").mkdir(parents=True)
    (left / "scores" / "task=dmc_cup_catch" / "label=gone").mkdir()
    (left / "scores" / "empty.parquet").write_bytes(b"")
    (left / "scores" / "task=dmc_cup_catch" / "link").symlink_to(tmp_path)
    (left / "faults.waiting").write_bytes(b"PAR1")
    grow(logs, 6)
    collect([logs], tmp_path)
    collect([logs], tmp_path / "fresh")

    assert numbers(tmp_path) == [2, 3, 5]
    assert points(tmp_path) == points(tmp_path / "fresh")
    made = {path for path in content(folder(tmp_path, 5)) if not path.startswith("scores/task=")}
    assert made == {"runs.parquet", "faults.parquet"}
    assert not any((folder(tmp_path, 5)).rglob("*gone*"))
    assert logs.is_dir()


def test_a_generation_that_is_read_is_left_alone(tmp_path: Path, logs: Path) -> None:
    """However many are published meanwhile; afterwards it goes."""
    collect([logs], tmp_path)
    runs = open_runs(tmp_path)
    before = content(runs.generation.path)
    for step in range(3, 8):
        grow(logs, step)
        collect([logs], tmp_path)

    assert content(runs.generation.path) == before
    assert numbers(tmp_path) == [1, 4, 5, 6]
    assert [len(each.steps) for each in runs.episodes()] == [3, 3, 3, 3]
    runs.held.let_go()
    grow(logs, 8)
    collect([logs], tmp_path)
    assert numbers(tmp_path) == [5, 6, 7]


def test_runs_and_metrics_that_went_away_leave_no_folder(tmp_path: Path, logs: Path) -> None:
    """A generation that had more than the next one is made into it all the same."""
    for log in logs.rglob(LOG):
        log.with_name(METRICS).write_bytes(metrics_text([(1, 1)]))
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path, metrics="train/.*")
    shutil.rmtree(logs / "dmc_cup_catch")
    for step in range(6, 10):
        grow(logs, step)
        collect([logs], tmp_path, metrics="")
        made = folder(tmp_path, numbers(tmp_path)[-1])
        assert sorted(path.name for path in made.iterdir()) == [
            "faults.parquet", "runs.parquet", "scores", "state.json",
        ]  # fmt: skip
        # At first it stays, with files without a row, for readers that have listed it.
        tasks = {"task=dmc_walker_walk"} | ({"task=dmc_cup_catch"} if step == 6 else set())
        assert {path.name for path in (made / "scores").iterdir()} == tasks
        assert not (tmp_path / "metrics").exists()
    assert {step for _, _, step, _ in points(tmp_path)} == set(range(10))


def test_without_hard_links_files_are_copied(tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none."""

    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(mirror_module.os, "link", refused)
    copied: list[str] = []
    copy = shutil.copy2
    monkeypatch.setattr(mirror_module.shutil, "copy2", lambda *paths: (copied.append(str(paths[1])), copy(*paths)))
    for step in range(3, 9):
        grow(logs / "dmc_walker_walk", step)
        collect([logs], tmp_path)

    steps = {task: set(range(9 if "walker" in task else 3)) for task in ("dmc_walker_walk", "dmc_cup_catch")}
    found: dict[str, set[int]] = {}
    for run, _, step, _ in points(tmp_path):
        found.setdefault(run.split("/")[1], set()).add(step)
    assert found == steps
    assert sum("cup" in path for path in copied) == 2  # into the second and third generation; the others have it
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / ".collected").rglob("part-*.parquet"))


@pytest.mark.parametrize("place", [".", "scores", "scores/*", "scores/*/*", "metrics/*/*"])
def test_files_that_nfs_keeps_for_readers_are_let_be(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """An NFS client renames a removed file that somebody has open, and refuses to remove it under that name."""
    for log in logs.rglob(LOG):
        log.with_name(METRICS).write_bytes(metrics_text([(1, 1)]))
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path, metrics="train/.*")
    for found in [folder(tmp_path, 1)] if place == "." else list(folder(tmp_path, 1).glob(place)):
        (found / ".nfs0001").write_bytes(b"kept")
    remove = os.unlink

    def unlink(path: str, **options: int) -> None:
        if Path(path).name.startswith(".nfs"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        remove(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    shutil.rmtree(logs / "dmc_cup_catch")
    for step in range(6, 10):
        grow(logs, step)
        collect([logs], tmp_path, metrics="")

    assert {step for _, _, step, _ in points(tmp_path)} == set(range(10))
    assert {run for run, *_ in points(tmp_path)} == {f"dmc/dmc_walker_walk/dreamerv3/{seed}" for seed in range(2)}
    assert not (tmp_path / "metrics").is_dir() or not list((tmp_path / "metrics").rglob("*.parquet"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_folders_of_somebody_else_are_not_used_once_more(tmp_path: Path, logs: Path) -> None:
    """They may not let us write, which would show in the middle of a collection."""
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path)
    first = folder(tmp_path, 1)
    inode = first.stat().st_ino
    os.chown(first, 12345, -1)
    grow(logs, 6)
    collect([logs], tmp_path)

    assert folder(tmp_path, 4).stat().st_ino != inode
    assert {step for _, _, step, _ in points(tmp_path)} == set(range(7))


def test_a_folder_whose_name_is_no_text_is_remembered(tmp_path: Path) -> None:
    """It is read on from where it ended, like any other."""
    top = tmp_path / os.fsdecode(b"caf\xe9")
    log = write_foreign(top, log_text([(1, 1)]))
    collect([top], tmp_path / "store")
    assert not collect([top], tmp_path / "store").is_changed
    with log.open("ab") as file:
        file.write(line(2))
    summary = collect([top], tmp_path / "store")

    assert (summary.bytes_read, summary.unusable) == (len(line(2)), [])
    assert [step for _, _, step, _ in points(tmp_path / "store")] == [1, 2]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 6}', '{"version": "\\udce9"}'])
def test_a_damaged_state_is_no_traceback(tmp_path: Path, logs: Path, content: str) -> None:
    """Everything is read again."""
    collect([logs], tmp_path)
    (folder(tmp_path, 1) / "state.json").write_text(content)

    assert collect([logs], tmp_path).new_rows == 12
    assert len(points(tmp_path)) == 12


def test_a_state_of_another_version_is_told(tmp_path: Path, logs: Path) -> None:
    """Everything is read again, and whoever imported something learns that it is gone."""
    collect([logs], tmp_path)
    state = folder(tmp_path, 1) / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"version": 1}))
    summary = collect([logs], tmp_path)

    assert any("another version" in reason and "imported" in reason for reason in summary.unusable)
    assert summary.new_rows == 12
    assert len(points(tmp_path)) == 12
    assert collect([logs], tmp_path).unusable == []


@pytest.mark.parametrize("step", ["show", "_remove_others"])
def test_what_stops_a_collection_after_it_was_published_harms_nothing(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The dataset is the next one then, references included; whoever collects again finds nothing new."""
    reference = tmp_path / "dmc-published.json"
    reference.write_text('[{"task": "t", "method": "m", "seed": 0, "xs": [1, 2], "ys": [3, 4]}]')
    collect([logs], tmp_path)
    import_files([reference], tmp_path)
    grow(logs, 7)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Store, step, interrupt)
        collect([logs], tmp_path)

    assert {point[2] for point in points(tmp_path)} == {0, 1, 2, 7}
    summary = collect([logs], tmp_path)
    assert (summary.new_rows, summary.runs, summary.unusable) == (0, 5, [])


def test_links_that_were_never_made_are_made_by_the_next_collection(tmp_path: Path, logs: Path) -> None:
    """A collection may be killed after its generation became the current one, and before the store showed it."""
    collect([logs], tmp_path)
    for name in ("scores", "runs.parquet", "faults.parquet"):
        (tmp_path / name).unlink()

    assert collect([logs], tmp_path).is_changed is False
    assert len(points(tmp_path)) == 12
    assert (tmp_path / "runs.parquet").exists()
    assert (tmp_path / "faults.parquet").exists()


def test_a_dataset_without_its_state_stays_until_the_next_one_is_there(tmp_path: Path, logs: Path) -> None:
    """Everything is read again, and readers have the earlier dataset in the meantime."""
    for step in range(3, 6):
        grow(logs, step)
        collect([logs], tmp_path)
    (folder(tmp_path, 3) / "state.json").unlink()
    seen = []
    collect([logs], tmp_path, progress=lambda *_: seen.append(len(points(tmp_path))))

    assert seen
    assert set(seen) == {24}
    assert len(points(tmp_path)) == 24


def test_generations_are_counted_and_not_spelled(tmp_path: Path, logs: Path) -> None:
    """The millionth has a longer name than those before."""
    collect([logs], tmp_path)
    current = tmp_path / ".collected" / "current"
    folder(tmp_path, 1).rename(folder(tmp_path, 999_998))
    current.unlink()
    current.symlink_to("999998")
    (tmp_path / ".collected" / "²").mkdir()
    for step in range(3, 7):
        grow(logs, step)
        collect([logs], tmp_path)
        assert {point[2] for point in points(tmp_path)} == set(range(step + 1))

    assert current.readlink() == Path("1000002")
    (tmp_path / ".collected" / "²").rmdir()
    assert numbers(tmp_path) == [1_000_000, 1_000_001, 1_000_002]


def test_somebodys_folder_of_metrics_ends_no_dataset(tmp_path: Path, logs: Path) -> None:
    """It stands in the way of metrics that an earlier collection began with."""
    (next(logs.rglob(LOG)).parent / METRICS).write_bytes(metrics_text([(1, 1.0)]))
    collect([logs], tmp_path, metrics="train/.*")
    (tmp_path / "metrics").unlink()
    (tmp_path / "metrics").mkdir()
    grow(logs, 3)

    with pytest.raises(LogError, match="was not made by dreamsweep"):
        collect([logs], tmp_path)
    assert len(points(tmp_path)) == 12


def test_a_reader_over_two_collections_finds_no_stretch_twice(tmp_path: Path) -> None:
    """An attempt that has logged nothing takes rows out of an old file; what it logs later goes to no file of then."""
    first = attempt(1, None, 0)
    log = write_launched(tmp_path, log_text((step, 1) for step in range(1000)), attempts=[first])
    versions = []

    def collected() -> None:
        collect([tmp_path], tmp_path)
        versions.append({path.name: steps_of(path) for path in (tmp_path / "scores").rglob("part-*")})

    def steps_of(path: Path) -> list[int]:
        with pq.ParquetFile(path) as file:
            return [int(step) for step in file.read(columns=["step"]).column(0).to_pylist()]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition_module, "_SMALL_BYTES", 0)  # so that the rows have two files
        collected()
        with log.open("ab") as file:
            file.write(log_text((step, 1) for step in range(1000, 1010)))
        collected()
    write_attempts(log.parent, [first, attempt(2, 899, log.stat().st_size)])
    collected()
    with log.open("ab") as file:
        file.write(log_text((step, 2) for step in range(900, 950)))
    collected()

    earlier = versions[1]
    assert len(earlier) == 2
    for opened in itertools.product(versions[1:], repeat=len(earlier)):
        steps = [step for version, name in zip(opened, earlier, strict=True) for step in version[name]]
        assert len(steps) == len(set(steps))


def test_a_file_does_not_keep_all_that_it_ever_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that go one after the other leave no more behind than what is still there explains."""
    monkeypatch.setattr(partition_module, "_DEAD_BYTES", 1 << 16)
    text = log_text((step, step % 7) for step in range(500))
    logs = [write_foreign(tmp_path / "logs", text, seed=seed) for seed in range(30)]
    for log in logs[1:]:
        collect([tmp_path / "logs"], tmp_path)
        shutil.rmtree(log.parent)
    collect([tmp_path / "logs"], tmp_path)

    assert len(points(tmp_path)) == 500
    files = list((tmp_path / "scores").resolve().rglob("part-*"))
    assert sum(path.stat().st_size for path in files) < 2 * (1 << 16) + 16 * 5 * 500


def test_a_damaged_part_is_told_in_words(tmp_path: Path) -> None:
    """By readers with its name, by collections with the folder to remove; the logs have everything."""
    path = write_foreign(tmp_path / "logs", log_text([(step, 1.0) for step in range(1, 200)]))
    collect([tmp_path / "logs"], tmp_path)
    (part,) = {file.resolve() for file in (tmp_path / "scores").rglob("part-*.parquet")}
    content = part.read_bytes()
    part.unlink()  # an earlier generation may share it
    part.write_bytes(content[:200])

    with pytest.raises(LogError, match=r"part-\d+\.parquet is damaged: .* remove \S+/\.collected, collect"):
        list(open_runs(tmp_path).episodes())
    path.write_bytes(log_text([(step, 1.0) for step in range(1, 100)]))
    with pytest.raises(LogError, match=r"/\.collected is damaged: .* remove \S+/\.collected, collect"):
        collect([tmp_path / "logs"], tmp_path)
    shutil.rmtree(tmp_path / ".collected")
    collect([tmp_path / "logs"], tmp_path)
    assert len(points(tmp_path)) == 99


def test_a_copy_with_files_where_links_were_can_be_read(tmp_path: Path, logs: Path) -> None:
    """As `cp -L`, `scp -r` and `rsync -L` make them; to collect into it, somebody must say what shall go."""
    collect([logs], tmp_path / "store")
    shutil.copytree(tmp_path / "store", tmp_path / "copy", symlinks=False)

    assert sum(len(run.steps) for run in open_runs(tmp_path / "copy").episodes()) == 12
    with pytest.raises(LogError, match=r"copy/scores was not made by dreamsweep .* as cp -L makes them, remove it"):
        collect([logs], tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / ".collected")
    for name in ("scores", "runs.parquet", "faults.parquet"):
        path = tmp_path / "copy" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert collect([logs], tmp_path / "copy").rows == 12
