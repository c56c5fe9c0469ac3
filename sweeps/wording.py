"""Amounts as people say them."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 seed`, `1,200 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def p_value_text(value: float | None) -> str:
    """A p-value to two figures, or to its power of ten; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}"


def size_text(size: int) -> str:
    """A size to two or three figures: `12.5 GiB`."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, (max(1, size).bit_length() - 1) // 10)
    value = size / 1024**power
    return f"{value:,.0f} {units[power]}" if value >= 100 or power == 0 else f"{value:.1f} {units[power]}"
