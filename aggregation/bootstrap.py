"""Stratified bootstrap: runs are drawn anew with replacement within each task, and a statistic is taken of every draw.

A draw is held as how often it took each run, which makes most statistics a product of two matrices. Draws come in
chunks, so that memory does not grow with their number.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: How often each draw took each run of a task, shape [runs, draws].
Counts = NDArray[np.float32]

_CHUNK = 1 << 21  # numbers held of a chunk of draws


def draws(sizes: Sequence[int], reps: int, generator: np.random.Generator) -> Iterator[list[Counts]]:
    """Chunks of draws, `reps` in all: per task the counts of its runs, shape [runs, draws of the chunk].

    Args:
        sizes: The runs of each task.
        reps: Draws in all.
        generator: The same state gives the same draws.
    """
    chunk = max(_CHUNK // sum(sizes), 1)
    for first in range(0, reps, chunk):
        yield [_counts(size, min(chunk, reps - first), generator) for size in sizes]


def _counts(size: int, reps: int, generator: np.random.Generator) -> Counts:
    taken = generator.integers(0, size, (size, reps), dtype=np.uint8 if size <= 256 else np.int64)
    places = taken.astype(np.int64)
    places *= reps
    places += np.arange(reps)
    return np.bincount(places.ravel(), minlength=size * reps).astype(np.float32).reshape(size, reps)


def task_means(tasks: Sequence[Floats], counts: Sequence[Counts]) -> Floats:
    """The mean of each task in each draw, shape [tasks, draws].

    Single precision sees the distances from the mean only, so that large scores keep their small differences.
    """
    means = np.empty((len(tasks), counts[0].shape[1]))
    for row, scores, taken in zip(means, tasks, counts, strict=True):
        centre = scores.mean()
        row[:] = ((scores - centre) / len(scores)).astype(np.float32) @ taken
        row += centre
    return means


def curve_means(curves: Sequence[Floats], counts: Sequence[Counts]) -> Floats:
    """The same at each point of curves, shape [tasks, points, draws].

    Args:
        curves: Per task an array of shape [runs, points], all of it finite.
        counts: Of each task's runs.
    """
    means = np.empty((len(curves), curves[0].shape[1], counts[0].shape[1]))
    for row, curve, taken in zip(means, curves, counts, strict=True):
        centre = curve.mean(axis=0)
        row[:] = ((curve - centre) / len(curve)).astype(np.float32).T @ taken
        row += centre[:, None]
    return means


def trimmed_means(tasks: Sequence[Floats], counts: Sequence[Counts], cut: float) -> Floats:
    """The mean without the lowest and the highest scores in each draw, shape [draws].

    Args:
        tasks: Per task the scores of its runs, shape [runs].
        counts: Of the same shape, by draws.
        cut: How much of the whole weight is cut off at either end, below 0.5.
    """
    scores = np.concatenate(tasks)
    weight = np.concatenate([np.full(len(task), 1 / (len(tasks) * len(task))) for task in tasks])
    taken = [row for count in counts for row in count]
    order = np.argsort(scores, kind="stable")
    below = np.zeros(len(taken[0]), np.float32)
    share, total = np.empty_like(below), np.zeros_like(below)
    # With F the share of the kept weight at or below a score, the mean is the middle score, plus (1 - F) over each
    # step above it, less F over each step below it. In the tails that are cut off both are exactly 0.
    equal = len({len(task) for task in tasks}) == 1
    scale = len(scores) if equal else 1.0  # whole numbers of runs are exact in single precision
    low, high = cut * scale, (1 - cut) * scale
    middle = len(scores) // 2
    for place, (this, following) in enumerate(pairwise(order)):
        if equal:
            below += taken[this]
        else:
            below += taken[this] * np.float32(weight[this])
        step = scores[following] - scores[this]
        if step:
            np.clip(below, low, high, out=share)
            share -= np.float32(high if place >= middle else low)
            share *= np.float32(step / (high - low))
            total -= share
    return total + np.float64(scores[order[middle]])


def shares_above(tasks: Sequence[Floats], counts: Sequence[Counts], thresholds: Floats) -> Iterator[tuple[int, Floats]]:
    """For each threshold its place and the share of runs above it in each draw, shape [draws]; tasks weigh the same.

    Args:
        tasks: Per task the scores of its runs, shape [runs].
        counts: Of the same shape, by draws.
        thresholds: Ascending, shape [thresholds].
    """
    scores = np.concatenate(tasks)
    weight = np.concatenate([np.full(len(task), 1 / (len(tasks) * len(task))) for task in tasks])
    taken = [row for count in counts for row in count]
    order = iter(np.argsort(-scores, kind="stable").tolist())
    above = np.zeros(len(taken[0]))
    upcoming = next(order, None)
    for place in range(len(thresholds) - 1, -1, -1):
        while upcoming is not None and scores[upcoming] > thresholds[place]:
            above += taken[upcoming] * weight[upcoming]
            upcoming = next(order, None)
        yield place, above


def win_shares(wins: NDArray[np.float32], first: Counts, second: Counts) -> NDArray[np.float32]:
    """The share of pairs that the first wins in each draw of either side, shape [draws].

    Args:
        wins: 1 where a run of the first is better, 0.5 where equal, 0 where worse, shape [first runs, second runs].
        first: Counts of the first's runs, shape [first runs, draws].
        second: Counts of the second's runs, shape [second runs, draws].
    """
    pairs: NDArray[np.float32] = np.einsum("rd,rd->d", first, wins @ second)
    return pairs / np.float32(wins.size)
