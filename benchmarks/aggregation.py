"""Collecting scores: dreamsweep against plot.py's own load and bin, and against plain DuckDB, on one input in one run.

    python benchmarks/aggregation.py --runs 300 --lines 100000 --plot-py ~/dreamerv3/plot.py

Each contender runs in a process of its own, several times, of which the shortest counts (plot.py runs once); the page
cache is warm for all. Without --plot-py that row is left out.
Two rows are bounds: what it costs to read the numbers alone, and to write them alone.
CPU time tells the contenders apart on a machine that others use too.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

_BINS = 30
_SEEDS = 5
#: Hold the last line of a log.
_LAST_BYTES = 200
_GROUP_ROWS = 1 << 18
#: 1 % of the bytes is new: whole new runs; some of the runs in flight, as the others have ended or wait; or all.
_NEWS_IN_ONE_OF = (100, 10, 1)
#: Contenders that go over the whole input.
_WHOLE = ("plot_py", "duckdb_read", "duckdb", "aggregate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--lines", type=int, default=20_000, help="per run")
    parser.add_argument("--folders", type=int, default=10_000, help="run folders of the second call with nothing new")
    parser.add_argument("--repeats", type=int, default=5, help="of every contender but plot.py; the shortest counts")
    parser.add_argument("--plot-py", type=Path, help="plot.py of a DreamerV3 checkout")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--top", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_timed(options.only, options.top, options.plot_py)))
        return
    with tempfile.TemporaryDirectory(prefix="dreamsweep-bench-") as folder:
        _compare(Path(folder), options)


def _compare(top: Path, options: argparse.Namespace) -> None:
    size = _generate(top / "logs", options.runs, options.lines)
    print(f"{options.runs} runs, {options.runs * options.lines:,} lines, {size / 1e6:,.0f} MB, {os.cpu_count()} cores")
    for path in (top / "logs").rglob("scores.jsonl"):
        path.read_bytes()
    rows = {"plot_py": _run("plot_py", top, options)} if options.plot_py else {}
    for name in ("duckdb_read", "arrow_write", "duckdb", "aggregate", "export", "again", "command"):
        rows[name] = _shortest(name, top, options)
    for every in _NEWS_IN_ONE_OF:
        grown = partial(_grow, top / "logs", every=every, lines=options.lines * every // 100)
        rows[f"news_{every}"] = _shortest(f"news_{every}", top, options, before=grown)
    _generate(top / "many", options.folders, 3)
    _run("many", top, options)
    rows["many"] = _shortest("many", top, options)
    print(f"{'':42} {'seconds':>8} {'CPU s':>8} {'MB/s':>7} {'peak MB':>8}")
    names = {
        "plot_py": "plot.py load and bin",
        "duckdb_read": "DuckDB reading alone",
        "arrow_write": "Arrow writing step and score alone",
        "duckdb": "DuckDB COPY to Parquet",
        "aggregate": "dreamsweep aggregate",
        "export": f"dreamsweep export, {_BINS} bins",
        "again": "aggregate, nothing new",
        "command": "the same as a command, its start included",
        **{f"news_{every}": f"aggregate, 1 % new, in 1 log of {every}" for every in _NEWS_IN_ONE_OF},
        "many": f"nothing new, {options.folders:,} folders",
    }
    for name, row in rows.items():
        rate = f"{size / 1e6 / row['seconds']:7.0f}" if name in _WHOLE else f"{'':7}"
        print(f"{names[name]:42} {row['seconds']:8.2f} {row['cpu_s']:8.2f} {rate} {row['peak_mb']:8.0f}")
    for unit, what in (("seconds", "time"), ("cpu_s", "CPU time")):
        ours = rows["aggregate"][unit]
        both = ours + rows["export"][unit]
        print(f"by {what}:")
        if options.plot_py:
            print(f"  aggregate and export are {rows['plot_py'][unit] / both:.1f} times as fast as plot.py")
        print(f"  aggregate has {rows['duckdb'][unit] / ours:.2f} of plain DuckDB's throughput")
        for every in _NEWS_IN_ONE_OF:
            share = 100 * rows[f"news_{every}"][unit] / ours
            print(f"  1 % new bytes in 1 log of {every} cost {share:.1f} % of the full time")


def _shortest(
    name: str, top: Path, options: argparse.Namespace, *, before: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The shortest of several runs: what else the machine did only makes one longer."""
    found = []
    for _ in range(options.repeats):
        before()
        found.append(_run(name, top, options))
    return min(found, key=lambda row: row["seconds"])


def _run(name: str, top: Path, options: argparse.Namespace) -> dict[str, float]:
    words = [sys.executable, __file__, "--only", name, "--top", str(top)]
    if options.plot_py:
        words += ["--plot-py", str(options.plot_py)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL if name == "plot_py" else None}
    output = subprocess.run(words, check=True, text=True, cwd=Path(__file__).parents[1], **pipes).stdout
    return dict(json.loads(output.splitlines()[-1]))


def _timed(name: str, top: Path, plot_py: Path | None) -> dict[str, float]:
    work = _contender(name, top, plot_py)
    start, cpu_start = time.perf_counter(), _cpu_s()
    work()
    seconds, cpu_s = time.perf_counter() - start, _cpu_s() - cpu_start
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_mb": max(peaks) / 1024}


def _cpu_s() -> float:
    """CPU time of this process and of those that it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _contender(name: str, top: Path, plot_py: Path | None) -> Callable[[], object]:
    """What is timed; imports are made before, as for every contender."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if name == "plot_py":
        assert plot_py is not None
        return _plot_py(plot_py, top / "logs")
    if name == "duckdb":
        return lambda: _duckdb(top)
    if name == "duckdb_read":
        return lambda: _duckdb_read(top)
    if name == "arrow_write":
        return _arrow_write(top)
    if name == "command":
        words = ["aggregate", str(top / "logs"), "--store", str(top / "store"), "--json"]
        return lambda: subprocess.run([sys.executable, "-m", "orchestrator.cli", *words], check=True)
    from aggregation.dataset.binning import View
    from aggregation.dataset.collect import collect
    from aggregation.dataset.score_files import export

    if name == "aggregate":
        shutil.rmtree(top / "store", ignore_errors=True)
    if name == "export":
        return lambda: export(top / "store", view=View(bins=_BINS))
    if name == "many":
        return lambda: collect([top / "many"], top / "many_store")
    return lambda: collect([top / "logs"], top / "store")


def _scores(top: Path) -> str:
    """The logs as DuckDB reads them."""
    columns = "{step: 'BIGINT', 'episode/score': 'DOUBLE'}"
    files = f"'{top}/logs/*/*/*/scores.jsonl'"
    return f"read_json({files}, format='newline_delimited', columns={columns}, filename=true)"


def _duckdb(top: Path) -> None:
    import duckdb

    to = f"TO '{top}/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)"
    duckdb.connect().execute(f"COPY (SELECT * FROM {_scores(top)}) {to}")


def _duckdb_read(top: Path) -> None:
    """The least that reading costs there: both numbers of each line, and nothing kept."""
    import duckdb

    duckdb.connect().execute(f'SELECT max(step), max("episode/score") FROM {_scores(top)}').fetchall()


def _arrow_write(top: Path) -> Callable[[], object]:
    """The least that writing costs: two columns, one thread, encoded as in the dataset."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aggregation.dataset.schema import SCORE_ROWS

    one = next((top / "logs").rglob("scores.jsonl")).read_text().splitlines()
    rows = [json.loads(line) for line in itertools.islice(itertools.cycle(one), _GROUP_ROWS)]
    values = {"step": [row["step"] for row in rows], "score": [row["episode/score"] for row in rows]}
    table = pa.table(values)
    lines = sum(path.read_bytes().count(b"\n") for path in (top / "logs").rglob("scores.jsonl"))

    def work() -> None:
        encodings = {name: SCORE_ROWS.encodings[name] for name in values}
        with pq.ParquetWriter(
            top / "arrow.parquet",
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            column_encoding=encodings,
        ) as writer:
            for first in range(0, lines, _GROUP_ROWS):
                writer.write_table(table.slice(0, min(_GROUP_ROWS, lines - first)))

    return work


def _plot_py(path: Path, logs: Path) -> Callable[[], object]:
    sys.path.insert(0, str(path.parent))
    sys.argv = ["plot.py"]
    import importlib.util
    import types

    spec = importlib.util.spec_from_file_location("plot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    args = types.SimpleNamespace(
        indirs=[str(logs)],
        pattern="**/scores.jsonl",
        methods=".*",
        tasks=".*",
        newstyle=False,
        indir_prefix=False,
        workers=16,
        xkeys=["xs", "step"],
        ykeys=["ys", "episode/score"],
        ythres=None,
        xlim=0,
        binsize=0,
        bins=_BINS,
    )
    return lambda: module.bin_runs(module.load_runs(args), args)


def _generate(top: Path, runs: int, lines: int) -> int:
    """Logs as the trainer writes them: half of the scores whole, half sums of float32."""
    rng = np.random.default_rng(0)
    total = 0
    for run in range(runs):
        path = top / f"dmc_task{run // _SEEDS}" / "dreamerv3" / str(run % _SEEDS) / "scores.jsonl"
        path.parent.mkdir(parents=True)
        steps = np.cumsum(rng.integers(200, 1200, lines)).tolist()
        scores = rng.normal(300, 100, lines).astype(np.float32).astype(float)
        scores[::2] = scores[::2].round()
        text = "".join(
            f'{{"step": {step}, "episode/score": {score!r}}}\n'
            for step, score in zip(steps, scores.tolist(), strict=True)
        )
        path.write_text(text)
        total += len(text)
    return total


def _grow(top: Path, *, every: int, lines: int) -> None:
    """Append lines to one of so many logs."""
    for path in sorted(top.rglob("scores.jsonl"))[::every]:
        with path.open("rb+") as file:
            file.seek(-_LAST_BYTES, os.SEEK_END)
            last = json.loads(file.read().splitlines()[-1])["step"]
            for number in range(lines):
                file.write(b'{"step": %d, "episode/score": 250.5}\n' % (last + 500 * (number + 1)))


if __name__ == "__main__":
    main()
