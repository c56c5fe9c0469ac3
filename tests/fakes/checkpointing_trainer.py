"""A fast deterministic trainer that checkpoints, for tests that kill things.

Episode `i` of a seed always has the same score, so that a disturbed run can be compared with an undisturbed one row for
row. A checkpoint is written every few episodes, and a resumed run logs the stretch behind it again, as DreamerV3 does.
A child process that has left for a session of its own stands for an environment worker. After SIGTERM it goes on for a
second, if it may, and notes in `graces` that it could.

Every process keeps a file of its own in the trace folder, `<run>.<pid>`, with the moments (CLOCK_MONOTONIC, seconds) in
which it was first and last seen alive.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

FRAMES_PER_EPISODE = 100
_GRACE_S = 0.8


def score(seed: int, episode: int) -> float:
    """The score of an episode, the same every time."""
    return float((seed * 7919 + episode * 104729) % 1000)


def _stay_alive(trace: Path, name: str, first: float) -> None:
    path = trace / f"{name}.{os.getpid()}"
    # One small write in place: a kill in the middle leaves the earlier moment.
    path.write_text(f"{first} {time.monotonic()}", encoding="utf-8")


def _environment_worker(trace: Path, name: str, parent: int) -> None:
    os.setsid()
    first = time.monotonic()
    while True:
        _stay_alive(trace, f"{name}.env{parent}", first)
        time.sleep(0.05)


def _use_grace(folder: Path) -> None:
    time.sleep(_GRACE_S)
    with (folder / "graces").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.05, help="per episode")
    parser.add_argument("--save-every", type=int, default=5, help="episodes between checkpoints")
    arguments = parser.parse_args()
    name = f"{arguments.task}.{arguments.seed}"
    first = time.monotonic()
    _stay_alive(arguments.trace, name, first)
    parent = os.getpid()
    if os.fork() == 0:
        _environment_worker(arguments.trace, name, parent)
    signal.signal(signal.SIGTERM, lambda *_: _use_grace(arguments.dir))
    checkpoint = arguments.dir / "checkpoint.json"
    episode = json.loads(checkpoint.read_text(encoding="utf-8"))["episode"] if checkpoint.exists() else 0
    while episode < arguments.episodes:
        time.sleep(arguments.seconds)
        episode += 1
        record = {"step": episode * FRAMES_PER_EPISODE, "episode/score": score(arguments.seed, episode)}
        with (arguments.dir / "scores.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        if episode % arguments.save_every == 0:
            fresh = checkpoint.with_suffix(".tmp")
            fresh.write_text(json.dumps({"episode": episode}), encoding="utf-8")
            fresh.replace(checkpoint)
        _stay_alive(arguments.trace, name, first)


if __name__ == "__main__":
    main()
