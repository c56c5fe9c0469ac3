"""Protocols and normalisers as data: found by name, checked in words, and equal to the published figures."""

import csv
from pathlib import Path

import pytest

from sweeps.config import compose_sweep
from sweeps.config_tree import group_names
from sweeps.errors import ConfigError, UnknownNameError
from sweeps.protocols import protocol_of, read_normaliser, read_protocol, read_suite
from sweeps.settings import Protocol

_SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def user_file(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


@pytest.mark.parametrize("name", group_names("protocol"))
def test_every_protocol_can_be_used(name: str) -> None:
    """Each has a window or a last share, something to report, and a normaliser that exists."""
    protocol = read_protocol(name)

    assert (protocol.window is None) != (protocol.last is None)
    assert protocol.aggregate != []
    assert protocol.name == name
    if protocol.normaliser is not None:
        assert read_normaliser(protocol.normaliser) != {}


@pytest.mark.parametrize("name", group_names("suite"))
def test_a_suites_normaliser_knows_its_tasks(name: str) -> None:
    """Every task of a suite can be normalised by the suite's own protocol."""
    suite, protocol = read_suite(name), protocol_of(name)

    assert suite is not None
    if protocol.normaliser is not None:
        assert set(suite.tasks) <= set(read_normaliser(protocol.normaliser))


def test_normalisers_are_the_published_figures() -> None:
    """Task by task, the scores that stand for 0 and 1."""
    path = _SHARED / "normalisers.csv"
    if not path.exists():
        pytest.skip("the published normalisers are not here")
    published: dict[str, dict[str, tuple[float, float]]] = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        published.setdefault(row["normaliser"], {})[row["task"]] = float(row["low"]), float(row["high"])

    assert {name: dict(read_normaliser(name)) for name in group_names("normaliser")} == published


def test_a_suite_tells_its_protocol(tmp_path: Path) -> None:
    """By name, in place, or not at all; what nobody publishes is reported by how it ended."""
    own = user_file(tmp_path, "suite/ponds", "name: ponds\ntasks: [a]\nsteps: 9\nevaluation: {window: [5, 9]}\n")
    user_file(own, "suite/lakes", "name: lakes\ntasks: [a]\nsteps: 9\nevaluation: deep\n")
    user_file(own, "protocol/deep", "last: 0.5\naggregate: [iqm]\n")

    assert protocol_of("atari100k") == read_protocol("atari100k")
    assert protocol_of("ponds", own) == Protocol(name="ponds", window=(5, 9)) == read_protocol("ponds", own)
    assert protocol_of("lakes", own) == Protocol(name="deep", last=0.5, aggregate=["iqm"])
    assert [protocol_of(name).name for name in ("crafter", "minecraft_diamond", "no_such_suite")] == ["final"] * 3


def test_a_sweep_composes_with_the_protocol_of_its_suite(tmp_path: Path) -> None:
    """The plan knows the window of a protocol that the suite names, a user's own too, and prints the name."""
    own = user_file(tmp_path, "suite/lakes", "name: lakes\ntasks: [a]\nsteps: 9\nevaluation: deep\n")
    user_file(own, "protocol/deep", "last: 0.5\n")

    config = compose_sweep(["suite=lakes"], own)
    assert config.first.suite.evaluation == Protocol(name="deep", last=0.5)
    assert "evaluation: deep" in config.text
    user_file(own, "suite/lakes", "name: lakes\ntasks: [a]\nsteps: 9\nevaluation: shallow\n")
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'shallow'.*Allowed: .*deep"):
        compose_sweep(["suite=lakes"], own)


def test_a_users_own_file_comes_before_ours(tmp_path: Path) -> None:
    """`--config-dir` can change a protocol as it can a suite."""
    own = user_file(tmp_path, "protocol/atari100k", "window: [1, 2]\n")

    assert read_protocol("atari100k", own) == Protocol(name="atari100k", window=(1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window: [9, 5]", r"the window must end after it begins, not be \[9, 5\]"),
        ("window: [1, 2]\nlast: 0.1", "exclude each other"),
        ("last: 2", "less than or equal to 1"),
        ("normaliser: x\nscores: [0, 1]", "exclude each other"),
        ("aggregate: [average]", "'mean', 'median', 'iqm', 'optimality_gap' or 'capped_mean'"),
        ("windows: [1, 2]", "Unknown key 'windows' in protocol mine. Did you mean 'window'"),
        ("- 1", "mine.yaml: The configuration holds"),
    ],
)
def test_mistakes_in_a_protocol_are_told(tmp_path: Path, text: str, message: str) -> None:
    """With the file or the protocol's name, and what was expected."""
    with pytest.raises(ConfigError, match=message):
        read_protocol("mine", user_file(tmp_path, "protocol/mine", text))


def test_unknown_names_list_the_known_ones() -> None:
    """A slip of the pen finds the nearest."""
    with pytest.raises(UnknownNameError, match=r"Unknown protocol 'atari100'.*Did you mean 'atari100k'.*procgen"):
        read_protocol("atari100")
    with pytest.raises(UnknownNameError, match=r"Unknown normaliser 'atari'.*dmlab30"):
        read_normaliser("atari")


def test_a_config_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """It would otherwise look as if the protocol in it did not exist."""
    with pytest.raises(
        ConfigError, match=r"--config-dir '.*absent' is not a folder; expected one that holds .*protocol/"
    ):
        read_protocol("atari100k", tmp_path / "absent")


@pytest.mark.parametrize("text", ["a: 1", "a: [1]", "a: [1, x]", "a: [1, 1]"])
def test_a_normaliser_needs_two_different_scores_of_each_task(tmp_path: Path, text: str) -> None:
    """A span of no length would divide by zero."""
    with pytest.raises(ConfigError, match="'mine'"):
        read_normaliser("mine", user_file(tmp_path, "normaliser/mine", text))
