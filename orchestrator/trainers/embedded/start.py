"""Starts the trainer's main.py, which lies beside this file, with the command line unchanged.

The published code passes the options of `jax.jit` by position; JAX from 0.10 on takes them by name only. With such a
JAX, positions are mapped to names first. With an older one nothing is changed.
"""

import functools
import inspect
import runpy
import sys
from pathlib import Path

# The order in which `jax.jit` took its options behind the function.
OPTIONS = ("in_shardings", "out_shardings", "static_argnums", "static_argnames", "donate_argnums", "donate_argnames")


def takes_positions(jit):
    """Whether `jit` still takes its options by position."""
    kinds = [parameter.kind for parameter in inspect.signature(jit).parameters.values()]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in by_position for kind in kinds) > 1


def by_name(jit):
    """`jit` with its options taken by position as well; None by position means not given."""

    @functools.wraps(jit)
    def wrapped(*args, **named):
        function, options = args[:1], args[1:]
        if len(options) > len(OPTIONS):
            raise TypeError(f"jax.jit got {len(options)} options by position; only {len(OPTIONS)} have a known name.")
        given = {name: value for name, value in zip(OPTIONS, options, strict=False) if value is not None}
        return jit(*function, **given, **named)

    return wrapped


def main():
    import jax

    if not takes_positions(jax.jit):
        jax.jit = by_name(jax.jit)
    script = Path(__file__).with_name("main.py")
    sys.argv[0] = str(script)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
