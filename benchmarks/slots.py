"""How busy the slots are: many one-second runs through dreamsweep on Ray, and the same through Ray Tune.

The ideal is the number of runs, times their second, over the number of slots. Starting and stopping Ray counts.

    python -m benchmarks slots --runs 40 --slots 2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """\
import json, pathlib, sys, time
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
time.sleep(seconds)
with open(folder / "scores.jsonl", "a") as log:
    log.write(json.dumps({"step": 100, "episode/score": 1.0}) + "\\n")
"""

TUNE = """\
import pathlib, subprocess, sys, tempfile
import ray
from ray import tune
program, runs, slots, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def trial(config):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, program, folder, seconds], check=True)
    tune.report({"score": 1.0})

ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False)
with tempfile.TemporaryDirectory() as storage:
    tuner = tune.Tuner(
        trial,
        param_space={"seed": tune.grid_search(list(range(runs)))},
        run_config=tune.RunConfig(storage_path=storage, verbose=0),
    )
    results = tuner.fit()
assert len(results) == runs and not results.errors, results.errors
"""


def main() -> None:
    """Print the seconds of both, beside the ideal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--without-tune", action="store_true", help="needs no tensorboardX and fsspec")
    arguments = parser.parse_args()
    ideal_s = arguments.runs * arguments.seconds / arguments.slots
    print(f"{arguments.runs} runs of {arguments.seconds:g} s on {arguments.slots} slots: ideal {ideal_s:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(PROGRAM, encoding="utf-8")
        total_s, busy_s = _dreamsweep(Path(folder) / "root", program, arguments)
        print(
            f"dreamsweep   {total_s:5.1f} s, {total_s / ideal_s:.2f} × ideal; from the first start to the last end "
            f"{busy_s:.1f} s, {busy_s / ideal_s:.2f} × ideal"
        )
        if not arguments.without_tune:
            tune_s = _tune(Path(folder), program, arguments)
            print(f"Ray Tune     {tune_s:5.1f} s, {tune_s / ideal_s:.2f} × ideal; {tune_s / total_s:.2f} × dreamsweep")


def _dreamsweep(root: Path, program: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    command = f"{sys.executable} {program} {{run_dir}} {arguments.seconds}"
    overrides = ["trainer=command", f"trainer.command='{command}'", "suite=gym", "task=gym_CartPole-v1"]
    overrides += [f"seed=range(0,{arguments.runs})", f"root={root}", f"cluster.cpus={arguments.slots}"]
    overrides += ["collect_every_s=0", "canary=false"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "orchestrator.cli", "run", *overrides], check=True, stdout=subprocess.DEVNULL)
    total_s = time.perf_counter() - started
    events = [json.loads(line) for line in (root / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    starts = [event["at"] for event in events if event["event"] == "AttemptStarted"]
    ends = [event["at"] for event in events if event["event"] == "AttemptEnded"]
    return total_s, max(ends) - min(starts)


def _tune(folder: Path, program: Path, arguments: argparse.Namespace) -> float:
    script = folder / "tune.py"
    script.write_text(TUNE, encoding="utf-8")
    words = [sys.executable, str(script), str(program), str(arguments.runs), str(arguments.slots)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    started = time.perf_counter()
    subprocess.run(
        [*words, str(arguments.seconds)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**environ, "RAY_AUTH_MODE": "disabled", "RAY_AIR_NEW_OUTPUT": "0"},
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
