"""Runs the benchmarks by name; without a name, all of them with their defaults."""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run what was asked for."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    wanted = sys.argv[1:2] or names
    for name in wanted:
        if name not in names:
            sys.exit(f"There is no benchmark {name!r}; there are: {', '.join(names)}.")
        print(f"== {name}", flush=True)
        sys.argv = [name, *sys.argv[2:]]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
