"""Reading a trainer's configs.yaml: what blocks, patterns and flags make of each option."""

from pathlib import Path

import pytest

from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.contracts import Option
from sweeps.errors import TrainerError, UnknownNameError

CONFIGS = r"""
defaults:
  seed: 0
  run: {steps: 1e10, envs: 16, train_ratio: 32.0}
  agent: {enc: {units: 1024}, dec: {units: 1024}, unimix: 0.01}
size1m: {.*\.units: 64}
atari: {run.train_ratio: 256.0, run: {envs: 1}}
"""


@pytest.fixture
def configs(tmp_path: Path) -> TrainerConfigs:
    path = tmp_path / "configs.yaml"
    path.write_text(CONFIGS)
    return TrainerConfigs.read(path)


def test_defaults_are_flat(configs: TrainerConfigs) -> None:
    """Every option has a dotted name, and `1e10` is a number as in YAML 1.2."""
    assert configs.resolve([], {}) == {
        "seed": 0,
        "run.steps": 1e10,
        "run.envs": 16,
        "run.train_ratio": 32.0,
        "agent.enc.units": 1024,
        "agent.dec.units": 1024,
        "agent.unimix": 0.01,
    }


def test_blocks_apply_in_order_and_flags_last(configs: TrainerConfigs) -> None:
    """Patterns change every option that they match, dotted and nested names are the same."""
    values = configs.resolve(["atari", "size1m"], {"agent.dec.units": 7, "run.envs": 4})

    assert [values[name] for name in ("run.train_ratio", "run.envs", "agent.enc.units", "agent.dec.units")] == [
        256.0,
        4,
        64,
        7,
    ]


def test_an_unknown_block_is_refused(configs: TrainerConfigs) -> None:
    """With those that there are."""
    with pytest.raises(UnknownNameError, match=r"config block 'size2m'.* Allowed: atari, size1m"):
        configs.resolve(["size2m"], {})


def test_an_unknown_option_is_refused(configs: TrainerConfigs) -> None:
    """With those beside it."""
    with pytest.raises(UnknownNameError, match=r"option 'run\.env'.* Allowed: run\.envs, run\.steps, run\.train_ratio"):
        configs.resolve([], {"run.env": 1})


@pytest.mark.parametrize(
    ("text", "pattern"),
    [(None, "Cannot read"), ("a: [", "is no YAML"), ("a: 1", "no 'defaults'"), ("", "no 'defaults'")],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str | None, pattern: str) -> None:
    """The message names the file."""
    path = tmp_path / "configs.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(TrainerError, match=f"{pattern}") as refusal:
        TrainerConfigs.read(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("option", "given", "read"),
    [
        ("run.envs", "8", 8),
        ("run.envs", 8.0, 8),
        ("run.steps", "5e4", 50_000.0),
        ("run.steps", 7, 7.0),
        (r".*\.units", 64.0, 64),
    ],
)
def test_a_flag_is_read_by_the_kind_of_its_default(
    configs: TrainerConfigs, option: str, given: str | float, read: float
) -> None:
    """As the trainer's own parser does, whatever way the number was written."""
    values = configs.resolve([], {option: given})

    value = values["agent.enc.units" if option.startswith(".*") else option]
    assert (value, type(value)) == (read, type(read))


@pytest.mark.parametrize(
    ("option", "value", "pattern"),
    [
        (
            "run.envs",
            "many",
            r"run\.envs is 'many'; expected a whole number, such as its default 16 in .*configs\.yaml",
        ),
        ("run.envs", 1.5, "expected a whole number"),
        ("run.envs", True, "expected a whole number"),
        ("run.envs", None, "expected a whole number"),
        ("agent.unimix", "nan", "expected a number"),
        ("agent.unimix", [0.1], "expected a number"),
        ("agent.(", 1, r"The flag 'agent\.\(' is no regular expression: .* Expected the name of an option"),
    ],
)
def test_a_value_of_another_kind_is_refused(configs: TrainerConfigs, option: str, value: Option, pattern: str) -> None:
    """The trainer would stop with it after its start, on every node."""
    with pytest.raises(TrainerError, match=pattern):
        configs.resolve([], {option: value})
