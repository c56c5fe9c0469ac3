"""Which GPUs of a host a process may use."""

from pathlib import Path

import pytest

from orchestrator.host_gpus import names_of, visible_gpus


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ("0", ["0"]),
        ("3,1", ["3", "1"]),
        (" 2 , GPU-5a1b ", ["2", "GPU-5a1b"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
        ("NoDevFiles", ["NoDevFiles"]),
    ],
)
def test_the_environment_says_which(tmp_path: Path, told: str, names: list[str]) -> None:
    """As CUDA reads it: in the order given, up to the first that is none."""
    (tmp_path / "nvidia0").touch()

    assert visible_gpus({"CUDA_VISIBLE_DEVICES": told}, tmp_path) == names


def test_without_a_word_all_of_the_host_are(tmp_path: Path) -> None:
    """The driver has a device file for each, and some that are no GPU."""
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()

    assert visible_gpus({}, tmp_path) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("environ", "names"),
    [({}, "1,2"), ({"CUDA_VISIBLE_DEVICES": "5,GPU-a,GPU-b"}, "GPU-a,GPU-b")],
)
def test_positions_are_among_those_that_the_process_sees(environ: dict[str, str], names: str) -> None:
    """A trainer that was given position 1 must not land on the host's GPU 1 where that is somebody else's."""
    assert names_of([1, 2], environ) == names
