"""Which night it is, told from what is to be run and from the nights before."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.fake_runs import fake_run

from orchestrator.command_line.night import Night, cell_digest, cell_name, night_of
from sweeps.contracts import RunSpec, TrainerSource
from sweeps.errors import ConfigError


def spec(revision: str = "abc", *, seed: int = 0, steps: int = 5) -> RunSpec:
    return replace(fake_run(seed=seed, steps=steps), source=TrainerSource(adapter="command", revision=revision))


def record(night: Night, verdict: str = "fine") -> dict[str, Any]:
    return {
        "night": night.number,
        "name": night.name,
        "digest": night.digest,
        "revision": night.revision,
        "own_seeds": night.own_seeds,
        "verdict": verdict,
    }


def night(specs: list[RunSpec], *earlier: dict[str, Any], last: int = 0, again: bool = False) -> Night:
    return night_of(specs, earlier, last=last, own_seeds=True, again=again)


def test_another_revision_is_another_night() -> None:
    """The same one, with more seeds too, is the night that it was; an earlier one that comes back is its own again."""
    first = night([spec("abc")])
    second = night([spec("def")], record(first))

    assert (first.number, first.name) == (1, "0001-abc")
    assert (second.number, second.name) == (2, "0002-def")
    assert night([spec("def"), spec("def", seed=1)], record(first), record(second)) == second
    assert night([spec("abc")], record(first), record(second)) == first


def test_other_options_are_another_night() -> None:
    """Their scores are not those of the same cell either."""
    first = night([spec("abc")])

    assert night([spec("abc", steps=6)], record(first)).number == 2
    assert cell_digest(spec("abc", steps=6)) != cell_digest(spec("abc"))
    assert cell_digest(spec("abc")) == cell_digest(spec("def", seed=3))


def test_again_makes_another_night_of_a_complete_one_only() -> None:
    """One that was cut off is continued first."""
    first = night([spec("abc")])

    assert night([spec("abc")], record(first), again=True).number == 2
    assert night([spec("abc")], record(first, verdict=""), again=True) == first


def test_numbers_of_nights_whose_folders_are_gone_are_not_given_again() -> None:
    """Their rows are still in the history."""
    assert night([spec("abc")], last=41).number == 42


def test_each_night_has_seeds_of_its_own_and_fresh_ones_beside_them() -> None:
    """No two ever meet."""
    specs = [spec(seed=0), spec(seed=1)]
    seventh = replace(night(specs), number=7)

    planned = seventh.planned(specs)
    fresh = seventh.fresh(planned, {cell_name(specs[0])}, 3)
    assert [one.key.seed for one in planned] == [7000, 7001]
    assert [one.key.seed for one in fresh] == [7500, 7501, 7502]
    assert [one.key.seed for one in replace(seventh, own_seeds=False).planned(specs)] == [0, 1]
    assert seventh.fresh(planned, {"another"}, 3) == []


@pytest.mark.parametrize(
    ("wrong", "why"), [(spec(""), "names no revision"), (spec(seed=500), "is too large")], ids=["revision", "seed"]
)
def test_what_cannot_be_told_apart_is_refused(wrong: RunSpec, why: str) -> None:
    """A trainer without a revision would be unchanged for ever."""
    with pytest.raises(ConfigError, match=why):
        night([wrong])
