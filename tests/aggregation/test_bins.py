"""Fine bins of one run, and the cache of those of every run."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_builders import generation, line, log_text, write_foreign

from aggregation.dataset import bin_cache
from aggregation.dataset.bin_cache import BinCache
from aggregation.dataset.bins import MOST_BINS, RunBins, bin_width, bins_of
from aggregation.dataset.collect import collect
from aggregation.dataset.store import Store
from aggregation.sources.sources import open_sources

Episode = tuple[int, float, float]


def arrays(episodes: list[Episode]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ordered = sorted(episodes, key=lambda each: each[0])
    columns = zip(*ordered, strict=True) if ordered else ([], [], [])
    steps, scores, lengths = columns
    return np.array(steps, np.int64), np.array(scores, np.float64), np.array(lengths, np.float64)


def assert_equal(found: RunBins, expected: RunBins) -> None:
    assert found.width == expected.width
    for name in ("count", "mean", "low", "high", "length"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5000), st.one_of(st.just(np.nan), st.integers(-9, 9)), st.one_of(st.just(np.nan), st.just(3))
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_bins_are_what_a_loop_makes_of_the_episodes(episodes: list[Episode]) -> None:
    """Count, mean, lowest and highest score and mean length of the episodes in each span of frames."""
    bins = bins_of(*arrays(episodes))
    finite = [each for each in episodes if each[1] == each[1]]

    assert len(bins.count) == (max(step for step, _, _ in finite) // bins.width + 1 if finite else 0)
    for index in range(len(bins.count)):
        inside = [each for each in finite if each[0] // bins.width == index]
        scores = [score for _, score, _ in inside]
        lengths = [length for _, _, length in inside if length == length]
        expected = (np.mean(scores), min(scores), max(scores)) if scores else (np.nan,) * 3
        assert bins.count[index] == len(scores)
        np.testing.assert_allclose((bins.mean[index], bins.low[index], bins.high[index]), expected, rtol=1e-12)
        assert bins.length is not None
        np.testing.assert_array_equal(bins.length[index], np.mean(lengths) if lengths else np.nan)


@given(st.integers(0, 10**12))
def test_a_run_has_at_most_512_bins_and_at_least_half_as_many(last_step: int) -> None:
    """The width is a power of two, so that widths of different runs divide each other."""
    width = bin_width(last_step)
    bins = last_step // width + 1

    assert width & (width - 1) == 0
    assert bins <= MOST_BINS
    assert bins > MOST_BINS // 2 or width == 1


def held(store: Path) -> dict[str, RunBins]:
    """The bins of every run as the cache has them."""
    with open_sources([store]) as sources:
        return {str(run.key): bins for run, bins in sources.bins(with_lengths=True)}


def expected(store: Path) -> dict[str, RunBins]:
    """The bins of every run as its episodes have them."""
    with open_sources([store]) as sources:
        pairs = sources.episodes(with_lengths=True)
        return {str(run.key): bins_of(each.steps, each.scores, each.lengths) for run, each in pairs}


def assert_sound(store: Path) -> None:
    found, wanted = held(store), expected(store)
    assert list(found) == [run for run, bins in wanted.items() if len(bins.count)]
    for run, bins in found.items():
        assert_equal(bins, wanted[run])


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of a few rows, so that small caches have many."""
    monkeypatch.setattr(bin_cache, "_FEW_ROWS", 100)
    monkeypatch.setattr(bin_cache, "_MANY_ROWS", 700)


@pytest.mark.usefixtures("small_groups")
def test_a_cache_that_grew_along_the_way_equals_one_made_at_once(tmp_path: Path) -> None:
    """Runs grow past the span of their bins, new ones come and old ones go; segments are gathered in between."""
    generator = np.random.default_rng(0)
    logs, store = tmp_path / "logs", tmp_path / "store"
    last: dict[tuple[str, str, int], int] = {}
    for turn in range(24):
        for _ in range(3):
            place = str(generator.choice(["a_x", "b_y"])), f"m{generator.integers(3)}", int(generator.integers(3))
            if turn % 7 == 6 and place in last:
                (logs / place[0] / place[1] / str(place[2]) / "scores.jsonl").unlink()
                del last[place]
                continue
            path = logs / place[0] / place[1] / str(place[2]) / "scores.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as log:
                for _ in range(20):
                    last[place] = last.get(place, 0) + int(generator.integers(1, 60))
                    log.write(line(last[place], float(generator.normal())))
        collect([logs], store)
        assert_sound(store)

    segments = list((store / ".collected" / "bins").glob("*.parquet"))
    assert len(segments) <= bin_cache._MANY_SEGMENTS


def test_only_partitions_that_changed_are_binned_again(tmp_path: Path) -> None:
    """One log of many that grew costs the bins of its task and label; no change costs none."""
    logs, store = tmp_path / "logs", tmp_path / "store"
    paths = [write_foreign(logs, log_text([(10, 1.0)]), label=f"m{number}") for number in range(5)]
    collect([logs], store)

    def update() -> int:
        current = Store(store).current()
        assert current is not None
        return BinCache(current).update()

    assert [update(), update()] == [5, 0]
    with paths[3].open("ab") as log:
        log.write(line(20, 2.0))
    collect([logs], store)
    assert [update(), update()] == [1, 0]
    assert_sound(store)


def test_a_cache_that_cannot_be_used_is_made_anew(tmp_path: Path) -> None:
    """A torn index, a missing segment and a segment that is no Parquet do no harm."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    collect([tmp_path / "logs"], tmp_path / "store")
    folder = tmp_path / "store" / ".collected" / "bins"
    assert_sound(tmp_path / "store")

    (folder / "index.json").write_text('{"version": 1, "sta')
    assert_sound(tmp_path / "store")
    for segment in folder.glob("*.parquet"):
        segment.unlink()
    assert_sound(tmp_path / "store")
    for segment in folder.glob("*.parquet"):
        segment.write_bytes(b"PAR1")
    assert_sound(tmp_path / "store")


def test_a_store_that_cannot_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    """The bins go to a temporary place."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0)]))
    collect([tmp_path / "logs"], tmp_path / "store")
    (tmp_path / "store" / ".collected" / "bins").write_text("in the way")

    assert_sound(tmp_path / "store")


def test_a_reader_goes_on_while_its_segments_are_replaced(tmp_path: Path) -> None:
    """What a view has opened stays readable when a later update gathers the segments."""
    logs, store = tmp_path / "logs", tmp_path / "store"
    paths = [write_foreign(logs, log_text([(10, 1.0)]), label=f"m{number}") for number in range(3)]
    collect([logs], store)
    with open_sources([store]) as sources:
        reading = sources.bins()
        next(reading)
        for number in range(2 * bin_cache._MANY_SEGMENTS):
            with paths[number % 3].open("ab") as log:
                log.write(line(20 + number, 2.0))
            collect([logs], store)
            assert_sound(store)
        assert generation(store) > 10

        assert [bins.mean[-1] for _, bins in reading] == [1.0, 1.0]


@pytest.mark.usefixtures("small_groups")
def test_runs_come_in_the_order_asked_for(tmp_path: Path) -> None:
    """Also against the order of the file, and with runs that have no finite score in between."""
    logs, store = tmp_path / "logs", tmp_path / "store"
    for number in range(6):
        write_foreign(logs, log_text([(step, float(number)) for step in range(200)]), label=f"m{number}")
    write_foreign(logs, b'{"step": 5, "episode/score": NaN}\n', label="m3", seed=1)
    collect([logs], store)

    with open_sources([store]) as sources:
        wanted = sources.runs[::-1]
        assert [(run.key, bins.mean[0]) for run, bins in sources.bins(wanted)] == [
            (run.key, float(run.key.label[1:])) for run in wanted if run.key.seed == 0
        ]


def test_other_programs_read_the_bins(tmp_path: Path) -> None:
    """Each row says whose bin it is and which frames it spans."""
    write_foreign(tmp_path / "logs", log_text([(10, 1.0), (1500, 3.0), (1501, 5.0)]))
    collect([tmp_path / "logs"], tmp_path / "store")
    held(tmp_path / "store")
    (segment,) = (tmp_path / "store" / ".collected" / "bins").glob("*.parquet")

    rows = duckdb.sql(f"select task, label, seed, bin * width, count, mean, low, high from '{segment}' where count > 0")

    assert rows.fetchall() == [
        ("dmc_walker_walk", "dreamerv3", 0, 8, 1, 1.0, 1.0, 1.0),
        ("dmc_walker_walk", "dreamerv3", 0, 1500, 2, 4.0, 3.0, 5.0),
    ]
    assert pq.read_metadata(segment).num_rows == 376


def mismatches(store: Path, rounds: int) -> list[str]:
    """Runs whose bins are not those of their episodes, in several looks at a store."""
    found = []
    for _ in range(rounds):
        with open_sources([store]) as sources:
            exact = {str(run.key): bins_of(each.steps, each.scores) for run, each in sources.episodes()}
            cached = {str(run.key): bins for run, bins in sources.bins()}
        found += [run for run in exact if not np.array_equal(exact[run].mean, cached[run].mean, equal_nan=True)]
        found += sorted(exact.keys() ^ cached.keys())
    return found


def test_views_in_several_processes_agree_while_a_sweep_is_collected(tmp_path: Path) -> None:
    """Each sees one state of the dataset, and whoever updates the cache last leaves a sound one."""
    store = tmp_path / "store"
    paths = [write_foreign(tmp_path / "logs", log_text([(5, 1.0)]), label=f"m{number}") for number in range(4)]
    collect([tmp_path / "logs"], store)
    step = 5
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        views = [pool.submit(mismatches, store, 8) for _ in range(2)]
        while not all(view.done() for view in views):
            for path in paths[step % 2 :: 2]:
                step += 7
                with path.open("ab") as log:
                    log.write(line(step, float(step)))
            collect([tmp_path / "logs"], store)
        assert [view.result() for view in views] == [[], []]

    assert_sound(store)
