"""Names as people type them."""

import pytest

from sweeps.errors import UnknownNameError
from sweeps.selection import matching, selected

TASKS = ["dmc_walker_walk", "dmc_walker_run", "atari_pong", "odd[1]"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("atari_pong", ["atari_pong"]),
        ("dmc_walker_*", ["dmc_walker_walk", "dmc_walker_run"]),
        ("*_run", ["dmc_walker_run"]),
        ("odd[1]", ["odd[1]"]),
        ("walker", []),
        ("ATARI_*", []),
    ],
)
def test_a_name_means_itself_or_what_its_wild_cards_match(name: str, found: list[str]) -> None:
    """In the order of what there is; brackets are letters like others."""
    assert matching(name, TASKS) == found


def test_several_names_mean_what_any_of_them_means() -> None:
    """Each has to mean something."""
    assert selected("task", ["dmc_*", "dmc_walker_run", "atari_pong"], TASKS) == set(TASKS[:3])
    with pytest.raises(UnknownNameError, match=r"Unknown task 'dmc_hopper_\*' in here\."):
        selected("task", ["dmc_*", "dmc_hopper_*"], TASKS, where="here")
