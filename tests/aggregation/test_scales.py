"""What makes tasks comparable."""

import numpy as np
import pytest

from aggregation.evaluation.scales import RAW, scales
from sweeps.errors import UnknownNameError


def test_the_scale_is_that_of_the_suites_protocol() -> None:
    """Atari: 0 for a random policy and 1 for a human; unknown suites stay as they are."""
    atari = scales()("atari100k")

    np.testing.assert_allclose(atari.of("atari_alien", np.array([227.8, 7127.7, np.nan])), [0.0, 1.0, np.nan])
    assert (atari.knows("atari_alien"), atari.knows("atari_tetris")) == (True, False)
    assert "atari57_gamer" in atari.name
    assert scales()("ponds") == scales()("dmc_vision") == RAW


def test_a_protocol_can_be_named() -> None:
    """For a suite of one's own; a slip of the pen is answered with the nearest name."""
    assert scales("atari100k")("mine").knows("atari_alien")
    with pytest.raises(UnknownNameError, match="Did you mean 'atari100k'"):
        scales("atari100")
