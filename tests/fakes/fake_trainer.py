"""A trainer in miniature, for `trainer=command`: logs scores, saves its step, resumes, and fails as it is told.

scores.jsonl   a line for every step
saved_step     its checkpoint
starts         a line for every start

Where FAKE_TRAINER_GATE names a file, a run does not end before that is there: it saves the step before its last one
again and again. From then on steps take no time.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_STRAY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
with open(sys.argv[1], "a") as file: file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run_dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", default="")
    parser.add_argument("--ratio", default="")
    parser.add_argument("--step_s", type=float, default=0.0)
    parser.add_argument("--mode", default="train")
    #: The mode applies to this seed only.
    parser.add_argument("--mode_seed", type=int)
    arguments, _ = parser.parse_known_args()  # what suites and methods set for the real one means nothing here
    with (arguments.run_dir / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    mode = arguments.mode if arguments.mode_seed in (None, arguments.seed) else "train"
    if mode == "fail":
        print("step 1: all is well")
        raise RuntimeError("the reward is a teapot")
    if mode == "full":
        raise OSError(28, "No space left on device")
    if mode == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    if mode == "environ":
        (arguments.run_dir / "environ.json").write_text(json.dumps(dict(os.environ)))
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "stray":
        subprocess.run([sys.executable, "-c", _STRAY, str(arguments.run_dir / "strays")], check=True)
    if mode in ("deaf", "hang", "stray"):
        print("here I stay", flush=True)
        time.sleep(600)
    train(arguments.run_dir, steps=arguments.steps, step_s=arguments.step_s)
    print("done")


def train(run_dir: Path, *, steps: int, step_s: float) -> None:
    """Go on from the saved step."""
    saved = run_dir / "saved_step"
    first = int(saved.read_text()) if saved.exists() else 0
    gate = Path(os.environ.get("FAKE_TRAINER_GATE", "/"))
    for step in range(first + 1, steps + 1):
        while step == steps and not gate.exists():
            save(saved, step - 1)
            time.sleep(0.1)
        time.sleep(0.0 if gate.is_file() else step_s)
        with (run_dir / "scores.jsonl").open("a") as scores:
            scores.write(json.dumps({"step": step, "episode/score": float(step)}) + "\n")
        save(saved, step)


def save(path: Path, step: int) -> None:
    """Write a checkpoint, whole or not at all."""
    path.with_name("saving").write_text(str(step))
    path.with_name("saving").replace(path)


if __name__ == "__main__":
    main()
