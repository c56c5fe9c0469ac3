"""Mutated lines by the million: no crash, no good line lost, and the fast reader agrees with the exact one.

python tests/aggregation/fuzz_reader.py 1000000
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from aggregation.logs.log_format import LogFormat
from aggregation.logs.reader import Place, read_log
from aggregation.logs.record import records_of

_BATCH = 2000
_FORM = LogFormat()
_PIECES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN", b"1e5", b'"', b"{", b"}", b",", b":", b"-", b".", b"0", b" ", b"\r"]


def mutated(line: bytes, rng: random.Random) -> bytes:
    """`line` with one to three changes: cut, joined, doubled, overwritten, spliced."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(line) + 1)
        change = rng.randrange(6)
        if change == 0:
            line = line[:at]
        elif change == 1:
            line = line[:at] + line
        elif change == 2:
            line = line[:at] + rng.choice(_PIECES) + line[at:]
        elif change == 3:
            line = line[:at] + rng.choice(_PIECES) + line[at + 1 :]
        elif change == 4:
            line = line[:at] + rng.randbytes(rng.randint(1, 8)) + line[at:]
        else:
            line = line[:at] + line[at + rng.randint(1, 5) :]
    return line.replace(b"\n", b"")


def renumbered(line: bytes, rng: random.Random) -> bytes:
    """`line` with a digit, point or sign put in or taken out anywhere: the text around the numbers stays as it was."""
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(line) + 1)
        if rng.random() < 0.7:
            line = line[:at] + rng.choice([b"0", b"7", b".", b"-"]) + line[at:]
        elif line[at : at + 1] in (b"0", b"1", b"5", b".", b"-"):
            line = line[:at] + line[at + 1 :]
    return line


def main(inputs: int) -> None:
    rng = random.Random(0)
    start = time.perf_counter()
    done = good = faults = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.jsonl"
        while done < inputs:
            lines, marks = [], []
            # In every other batch a block keeps the text of its template throughout.
            change = mutated if done // _BATCH % 2 else renumbered
            for number in range(_BATCH):
                step, score = rng.randrange(10**9), round(rng.gauss(0, 300), rng.randrange(12))
                whole = f'{{"step": {step}, "episode/score": {score}}}'.encode()
                lines += [change(whole, rng), whole]
                marks.append((2 * number + 1, step, score))
            content = b"".join(line + b"\n" for line in lines)
            path.write_bytes(content)
            blocks = list(read_log(path, _FORM, place=Place()))
            found = [
                (start, step, score)
                for block in blocks
                for start, step, score in zip(
                    block.starts.tolist(), block.steps.tolist(), block.scores.tolist(), strict=True
                )
            ]
            want, offset, bad = [], 0, 0
            for line in lines:
                records, kind = records_of(line, _FORM)
                want += [(offset + record.position, record.step, record.score) for record in records]
                bad += kind is not None
                offset += len(line) + 1
            assert repr(found) == repr(want), f"batch at {done}"
            assert sum(len(block.faults) for block in blocks) == bad, f"batch at {done}"
            kept = {(step, score) for _, step, score in found}
            assert all((step, score) in kept for _, step, score in marks), f"batch at {done}"
            done += _BATCH
            good += len(found)
            faults += bad
    seconds = time.perf_counter() - start
    print(f"{done:,} mutated lines among as many good ones: {good:,} records, {faults:,} bad lines, {seconds:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
