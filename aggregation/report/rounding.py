"""Numbers for JSON, with as many digits as a picture shows. Pure arrays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIGITS = 4


def rounded(values: Floats, digits: int = _DIGITS) -> list[float | int | None]:
    """So many significant digits of each value, shape [n]; None for NaN and infinities, whole numbers as such."""
    good = np.isfinite(values)
    held = np.where(good, values, 0.0)
    size = np.floor(np.log10(np.abs(held), out=np.zeros_like(held), where=held != 0))
    places = np.clip(digits - 1 - size, -300, 300)
    # Only powers of ten above 1 are exact, so one side multiplies and the other divides.
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
    short = np.rint(held * up / down) / up * down
    whole = short == np.rint(short)
    return [
        None if not is_good else int(value) if is_whole else value
        for value, is_good, is_whole in zip(short.tolist(), good.tolist(), whole.tolist(), strict=True)
    ]


def rounded_number(value: float | None, digits: int = 6) -> float | int | None:
    """One value, as `rounded` has it."""
    return None if value is None else rounded(np.array([value], np.float64), digits)[0]
