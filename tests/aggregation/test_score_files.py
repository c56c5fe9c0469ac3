"""Score files: ours, and the published ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from log_builders import LOG, line, log_text, published_rows, write_foreign

from aggregation.dataset.binning import View
from aggregation.dataset.collect import collect
from aggregation.dataset.reference_runs import import_files
from aggregation.dataset.score_files import export, read_score_file
from aggregation.sources.sources import open_sources
from sweeps.errors import LogError, UnknownNameError

PUBLISHED = sorted((Path(__file__).parents[3] / "shared" / "data" / "score_files").glob("*.json.gz"))


def collected(tmp_path: Path, **runs: bytes) -> Path:
    for name, content in runs.items():
        label, _, seed = name.rpartition("_")
        write_foreign(tmp_path / "logs", content, label=label, seed=int(seed))
    collect([tmp_path / "logs"], tmp_path / "store")
    return tmp_path / "store"


def entries(path: Path) -> list[Any]:
    return list(json.loads(gzip.decompress(path.read_bytes())))


def test_raw_export_is_a_list_of_runs_in_the_published_form(tmp_path: Path) -> None:
    """Key order, an int as seed, null where the log had no number; one file per suite and label."""
    store = collected(
        tmp_path, b_1=log_text([(5, 1.5), (9, 2)]), b_0=b'{"step": 3, "episode/score": NaN}\n', a_0=line(1)
    )
    files = export(store)

    assert [(Path(file.path).name, file.runs, file.points) for file in files] == [
        ("dmc-a.json.gz", 1, 1),
        ("dmc-b.json.gz", 2, 3),
    ]
    got = entries(store / "score_files" / "dmc-b.json.gz")
    assert [list(entry) for entry in got] == [["task", "method", "seed", "xs", "ys"]] * 2
    assert got == [
        {"task": "dmc_walker_walk", "method": "b", "seed": 0, "xs": [3], "ys": [None]},
        {"task": "dmc_walker_walk", "method": "b", "seed": 1, "xs": [5, 9], "ys": [1.5, 2.0]},
    ]
    assert list(pd.read_json(files[1].path).columns) == ["task", "method", "seed", "xs", "ys"]


def test_binned_export_has_the_right_edges_and_fills(tmp_path: Path) -> None:
    """Bins reach to the task's last step of any label; what lies beyond the budget is left out."""
    store = collected(tmp_path, a_0=log_text([(10, 1), (20, 3), (60, 5)]), b_0=line(100, 7))

    export(store, tmp_path / "null", view=View(bins=4))
    export(store, tmp_path / "last", view=View(binsize=25, budget=75, fill="last"))
    assert entries(tmp_path / "null" / "dmc-a.json.gz")[0]["xs"] == [25, 50, 75, 100]
    assert entries(tmp_path / "null" / "dmc-a.json.gz")[0]["ys"] == [2.0, None, 5.0, None]
    assert entries(tmp_path / "last" / "dmc-a.json.gz")[0]["ys"] == [2.0, 2.0, 5.0]
    assert not (tmp_path / "last" / "dmc-b.json.gz").exists()


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the time nor the way the dataset grew shows in a score file."""
    content = log_text((step, step / 7) for step in range(0, 3000, 3))
    store = collected(tmp_path, a_0=content[: len(content) // 2], a_1=content)
    with (tmp_path / "logs" / "dmc_walker_walk" / "a" / "0" / LOG).open("ab") as file:
        file.write(content[len(content) // 2 :])
    collect([tmp_path / "logs"], store)
    collect([tmp_path / "logs"], tmp_path / "fresh")

    for view in (View(), View(bins=10)):
        export(store, tmp_path / "one", view=view)
        export(tmp_path / "fresh", tmp_path / "two", view=view)
        assert (tmp_path / "one" / "dmc-a.json.gz").read_bytes() == (tmp_path / "two" / "dmc-a.json.gz").read_bytes()


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_published_file_comes_back_with_equal_values(tmp_path: Path, path: Path) -> None:
    """Import and export change no value, whatever shape the published file has."""
    summary = import_files([path], tmp_path)
    (file,) = export(tmp_path)

    assert Path(file.path).name == path.name
    key = lambda entry: (entry["task"], entry["seed"])  # noqa: E731
    assert sorted(entries(Path(file.path)), key=key) == sorted(entries(path), key=key)
    assert summary.runs == file.runs


def test_binned_files_come_back_as_well(tmp_path: Path) -> None:
    """The right edges of bins lie between two frames; the dataset holds the nearest frame."""
    store = collected(tmp_path, a_0=line(0) + line(100, 2.0))
    (file,) = export(store, view=View(bins=3))
    (binned,) = entries(Path(file.path))
    import_files([Path(file.path)], tmp_path / "other")
    (back,) = entries(Path(export(tmp_path / "other")[0].path))

    assert [x for x in binned["xs"] if x != int(x)], "no edge between two frames: this shows nothing"
    assert back["xs"] == [round(x) for x in binned["xs"]]
    assert back["ys"] == binned["ys"]


def test_a_label_with_a_ratio_comes_back_as_method_and_ratio(tmp_path: Path) -> None:
    """Imported runs are curves of the ratio study like those that were trained here."""
    path = tmp_path / "dmc-dreamerv3_tr512.json"
    labels = ["dreamerv3_tr512", "dreamerv3_tr0.5", "dreamerv3_trial"]
    records = [{"task": "dmc_walker_walk", "method": each, "seed": 0, "xs": [1], "ys": [2]} for each in labels]
    path.write_text(json.dumps(records))
    import_files([path], tmp_path / "store")

    rows = published_rows(tmp_path / "store").values()
    ratios = {row["label"]: None if pd.isna(row["train_ratio"]) else row["train_ratio"] for row in rows}
    assert {row["label"]: (row["method"], ratios[row["label"]]) for row in rows} == {
        "dreamerv3_tr512": ("dreamerv3", 512.0),
        "dreamerv3_tr0.5": ("dreamerv3", 0.5),
        "dreamerv3_trial": ("dreamerv3_trial", None),
    }


def test_references_stay_beside_collected_runs(tmp_path: Path) -> None:
    """A later collection leaves imported runs alone, and importing them again replaces them."""
    path = tmp_path / "dmc-published.json"
    record = {"task": "dmc_walker_walk", "method": "theirs", "seed": "3", "xs": [1.0, 2], "ys": [None, 5]}
    path.write_text(json.dumps([record]))
    store = collected(tmp_path, a_0=line(1))
    import_files([path], store)
    import_files([path], store)
    collect([tmp_path / "logs"], store)

    rows = published_rows(store)
    assert {run: (row["state"], row["rows"]) for run, row in rows.items()} == {
        "dmc/dmc_walker_walk/a/0": ("unknown", 1),
        "dmc/dmc_walker_walk/theirs/3": ("reference", 2),
    }
    assert len(pd.read_parquet(store / "scores")) == 3


def test_reference_with_the_name_of_a_collected_run_is_refused(tmp_path: Path) -> None:
    """Published and own runs are never mixed; another label keeps them apart."""
    path = tmp_path / "dmc-a.json"
    path.write_text(json.dumps([{"task": "dmc_walker_walk", "method": "a", "seed": 0, "xs": [1], "ys": [5]}]))
    store = collected(tmp_path, a_0=line(1))

    with pytest.raises(LogError, match="another label"):
        import_files([path], store)
    assert import_files([path], store, label="published_a").runs == 2


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"{}",
        b"[1]",
        b'[{"task": "t", "method": "m", "seed": 0, "xs": [1, 2], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": "x", "xs": [1], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": 0, "xs": [null], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": 0, "xs": [1e300], "ys": [1]}]',
        b'[{"task": "t", "method": "m-m", "seed": 0, "xs": [1], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": -1, "xs": [1], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": 2147483648, "xs": [1], "ys": [1]}]',
        b'[{"task": "t", "method": "m", "seed": 0, "xs": [1], "ys": [1%s]}]' % (b"0" * 400),
        b"\x1f\x8bcut",
    ],
)
def test_file_that_is_no_score_file_is_an_error_with_its_path(tmp_path: Path, content: bytes) -> None:
    """Whatever is wrong with it, the message names it."""
    path = tmp_path / "suite-label.json.gz"
    path.write_bytes(content)

    with pytest.raises(LogError, match=str(path)):
        read_score_file(path)


def test_a_score_file_tells_its_suite_or_is_told_it(tmp_path: Path) -> None:
    """Its whole name is no suite, and a suite that nobody knows has no scale."""
    path = tmp_path / "mydata.json"
    path.write_text('[{"task": "t", "method": "m", "seed": 0, "xs": [1], "ys": [1]}]')

    with pytest.raises(LogError, match=r"mydata\.json does not name its suite"):
        import_files([path], tmp_path / "store")
    with open_sources([path], suite="gym") as sources:
        assert sources.suites == ["gym"]
    assert import_files([path], tmp_path / "store", suite="gym").runs == 1


def test_a_score_file_beside_a_log_stands_in_no_way(tmp_path: Path) -> None:
    """The folder of a reference is no log folder, even where both are one."""
    log = write_foreign(tmp_path / "logs", line(1))
    path = log.parent / "dmc-published.json"
    path.write_text('[{"task": "t", "method": "m", "seed": 0, "xs": [1], "ys": [1]}]')
    import_files([path], tmp_path)

    assert collect([tmp_path / "logs"], tmp_path).runs == 2
    assert collect([tmp_path / "logs"], tmp_path).runs == 2


def test_export_without_a_dataset_or_with_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    """The message says what to do, or lists what there is."""
    with pytest.raises(LogError, match="dreamsweep aggregate"):
        export(tmp_path)
    store = collected(tmp_path, a_0=line(1))
    with pytest.raises(UnknownNameError, match="Did you mean 'dmc_walker_walk'"):
        export(store, tasks=["dmc_walker_wolk"])
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="cannot be written"):
        export(store, tmp_path / "file")
