"""Starting a run from nothing, because somebody asked for it: what earlier attempts left is put aside, not removed."""

from sweeps.files import read_records
from sweeps.layout import RunDir


def start_afresh(run_dir: RunDir, fresh_from: int) -> str:
    """Put logs and checkpoints aside where that was asked for and has not been done; returns where, or nothing.

    Safe to repeat: what an attempt that was lost on the way has moved lies where the next one moves the rest. Until an
    attempt that did so is on record, no trainer has written anything since.

    Args:
        fresh_from: the first attempt that was to begin from nothing; 0 for none.

    Raises:
        OSError: something cannot be moved.
    """
    if not fresh_from or any(
        line.get("set_aside") and int(line["attempt"]) >= fresh_from for line in read_records(run_dir.attempts)
    ):
        return ""
    target = run_dir.set_aside(fresh_from)
    # The trainer may have written anything; ours is what tells of attempts.
    kept = {run_dir.spec, run_dir.attempts, run_dir.stdout, run_dir.shipped.parent, target.parent}
    for path in sorted(run_dir.path.iterdir()):
        if path not in kept:
            target.mkdir(parents=True, exist_ok=True)
            path.rename(target / path.name)
    return target.relative_to(run_dir.path).as_posix()
