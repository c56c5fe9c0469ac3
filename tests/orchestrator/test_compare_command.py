"""`dreamsweep compare` from score files and roots, as its users type it."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said

Curves = dict[str, list[float | None]]


def score_file(folder: Path, name: str, tasks: Curves, *, method: str = "m") -> Path:
    """One episode per seed, at frame 100, with the scores given; None for a seed that ended early."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ponds-{name}.json.gz"
    runs = [
        {"task": task, "method": method, "seed": seed, "xs": [50, 100], "ys": [0.0, score]}
        for task, scores in tasks.items()
        for seed, score in enumerate(scores)
    ]
    path.write_bytes(gzip.compress(json.dumps(runs).encode()))
    return path


def scores(mean: float, seeds: int = 5) -> list[float | None]:
    return [mean + float(offset) for offset in np.linspace(-5, 5, seeds)]


def compared(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """The one comparison that is told."""
    code, out, err = said(capsys, "compare", *map(str, words), "--json")
    assert (code, err) == (0, "")
    (found,) = json.loads(out)["comparisons"]
    return dict(found)


def test_two_files_are_compared_task_by_task_and_over_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels of one name are a pair, shown with the names of their sources."""
    a = score_file(tmp_path, "new", {"frog": scores(100), "newt": scores(50)})
    b = score_file(tmp_path, "old", {"frog": scores(60), "newt": scores(51)})
    found = compared(capsys, a, b)

    assert (found["a"], found["b"]) == ("m (ponds-new)", "m (ponds-old)")
    assert [(task["task"], task["verdict"]) for task in found["tasks"]] == [
        ("frog", "better"),
        ("newt", "no difference seen"),
    ]
    assert found["tasks"][0]["difference"] == pytest.approx(40)
    assert found["improvement"]["point"] == pytest.approx((1 + 0.34) / 2, abs=0.1)
    assert found["smallest_improvement"] > 0.7


def test_the_text_tells_coverage_verdicts_and_what_could_be_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seed without a score in the window is marked and counted."""
    a = score_file(tmp_path, "new", {"frog": [*scores(10)[:4], None], "newt": scores(50)})
    b = score_file(tmp_path, "old", {"frog": scores(60), "newt": scores(80)})
    code, out, err = said(capsys, "compare", str(a), str(b))

    assert (code, err) == (0, "")
    assert "4/5*" in out
    assert "* without a score in the window: 1 of 10 runs of A, 0 of 10 of B." in out
    assert "- worse" in out
    assert "A is worse" in out
    assert "Seen with a probability of 0.8 at alpha = 0.05: from P = 0." in out


def test_check_tells_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 where A is worse, 0 where it is not."""
    a, b = score_file(tmp_path, "new", {"frog": scores(10)}), score_file(tmp_path, "old", {"frog": scores(60)})

    assert said(capsys, "compare", str(a), str(b), "--check")[0] == 4
    assert said(capsys, "compare", str(b), str(a), "--check")[0] == 0


def test_a_check_of_nothing_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every run of A failed there is no score to be worse."""
    a = score_file(tmp_path, "new", {"frog": [None] * 5, "newt": scores(50)})
    b = score_file(tmp_path, "old", {"frog": scores(60), "newt": [None] * 5})
    code, out, err = said(capsys, "compare", str(a), str(b), "--check")

    assert (code, "Nothing to compare" in out) == (1, True)
    assert err.startswith("dreamsweep: --check has nothing to go by: ")
    assert said(capsys, "compare", str(a), str(b))[0] == 0


def test_two_labels_of_one_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are named, and a place compared with itself without them is refused."""
    store = tmp_path / "store"
    for name, mean in (("small", 10.0), ("large", 30.0)):
        file = score_file(tmp_path, name, {"frog": scores(mean)}, method=name)
        assert said(capsys, "import", str(file), "--store", str(store))[0] == 0
    found = compared(capsys, store, store, "--label-a", "large", "--label-b", "small")
    code, _, err = said(capsys, "compare", str(store), str(store))

    assert (found["a"], found["b"], found["verdict"]) == ("large", "small", "better")
    assert (code, "Both sides are" in err, "large, small" in err) == (1, True, True)


def test_what_cannot_be_paired_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an unknown label, nor an alpha that is none, nor suites without each other are a traceback."""
    a = score_file(tmp_path, "new", {"frog": scores(1)})
    other = tmp_path / "lakes-new.json.gz"
    other.write_bytes(a.read_bytes())

    code, _, err = said(capsys, "compare", str(a), str(other))
    assert (code, "share no suite" in err) == (1, True)
    code, _, err = said(capsys, "compare", str(a), str(a), "--label-a", "mm", "--label-b", "m")
    assert (code, "'mm'" in err) == (1, True)
    code, _, err = said(capsys, "compare", str(a), str(other), "--alpha", "2")
    assert (code, "expected a probability" in err) == (1, True)


def test_one_task_has_a_scale_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that its aggregate is told, with the difference and its interval."""
    a, b = score_file(tmp_path, "new", {"frog": scores(100)}), score_file(tmp_path, "old", {"frog": scores(60)})
    difference = compared(capsys, a, b)["differences"]["mean"]

    assert difference["point"] == pytest.approx(40)
    assert 30 < difference["low"] < 40 < difference["high"] < 50


def test_the_only_label_of_each_side_is_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as a fork and what was published."""
    a = score_file(tmp_path, "fork", {"frog": scores(100)}, method="fork")
    b = score_file(tmp_path, "published", {"frog": scores(60)}, method="published")

    assert (compared(capsys, a, b)["a"], compared(capsys, a, b)["b"]) == ("fork", "published")
