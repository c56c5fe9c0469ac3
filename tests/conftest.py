"""Makes the packages of this checkout importable in every process, and sets what Ray reads when it is imported."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parent.parent

sys.path.insert(0, str(_CHECKOUT))
# Guards, Ray's workers and local heads are processes of their own, in folders of their own.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_CHECKOUT), os.environ.get("PYTHONPATH")]))

from orchestrator.local_head import prepare_environ  # noqa: E402 - only importable from here on

prepare_environ()


@pytest.fixture(autouse=True)
def _garbage_is_collected() -> Iterator[None]:
    """`plan` turns the collector off, since its process ends with it; here other tests follow."""
    yield
    gc.enable()


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file without which no fake trainer ends: `touch` it once what a test does to running ones is done."""
    path = tmp_path / "gate"
    monkeypatch.setenv("FAKE_TRAINER_GATE", str(path))
    return path
