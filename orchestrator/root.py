"""Opens a sweep root for a launch: is it writable, does the plan contradict what is in it, what is done already."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.attempts.attempt_log import latest_attempt
from orchestrator.events import Event, RunFoundDone, RunFoundUndone, RunPlanned
from orchestrator.states import IN_FLIGHT, SweepState
from sweeps.contracts import RunKey, RunSpec
from sweeps.errors import RootError, SpecChangedError
from sweeps.files import read_records, write_atomically
from sweeps.layout import RunDir, SweepRoot

_SHOWN_DIFFERENCES = 8


def make_writable(root: SweepRoot) -> None:
    """Create the root, and see that it takes files.

    Raises:
        RootError: it cannot be created or written.
    """
    try:
        root.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root.path) as probe:
            probe.write(b"x")
    except OSError as error:
        raise RootError(
            f"The root {str(root.path)!r} cannot be written: {error.strerror}. Give another one, as root=/path/to/it."
        ) from None


def freeze_config(root: SweepRoot, text: str) -> None:
    """Keep the composed configuration: sweep.yaml is that of the first launch, sweep.2.yaml of the next other one."""
    number = 1
    path = root.config
    while path.exists():
        if path.read_text(encoding="utf-8", errors="replace") == text:
            return
        number += 1
        path = root.later_config(number)
    write_atomically(path, text)


def read_spec(run_dir: RunDir) -> RunSpec | None:
    """The frozen spec of a run, or None where it never started.

    Raises:
        RootError: run.json is there and cannot be read.
    """
    try:
        return RunSpec.from_json(json.loads(run_dir.spec.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RootError(f"{run_dir.spec} cannot be read ({error}); restore it, or remove its folder.") from None


def record_launch(root: SweepRoot, at: float, words: Sequence[str]) -> None:
    """Keep the words of a launch, for those who want to repeat it."""
    with root.launches.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": at, "words": list(words)}) + "\n")


def launches(root: SweepRoot) -> list[list[str]]:
    """The words of every launch that differs from the others, oldest first."""
    words = [tuple(map(str, record.get("words", ()))) for record in read_records(root.launches)]
    return [list(each) for each in dict.fromkeys(words)]


def check_specs(root: SweepRoot, specs: Iterable[RunSpec], state: SweepState) -> list[RunDir]:
    """See that every run that was started before was started with the same options.

    Returns: the folders of runs that were started with others and came to nothing, such as a program's misspelt name.

    Raises:
        SpecChangedError: one was not; the message shows the differences.
    """
    fruitless = []
    for spec in specs:
        known = state.runs.get(spec.key)
        if known is not None and known.digest == spec.digest():
            continue
        frozen = read_spec(root.run_dir(spec.key))
        if frozen is None:
            continue
        changed = frozen.differences(spec)
        differences = [f"{name}: {then!r} then, {now!r} now" for name, (then, now) in changed.items()]
        if differences and _came_to_nothing(root.run_dir(spec.key)) and (known is None or known.state not in IN_FLIGHT):
            fruitless.append(root.run_dir(spec.key))
        elif differences:
            shown = "".join(f"\n    {line}" for line in differences[:_SHOWN_DIFFERENCES])
            more = len(differences) - _SHOWN_DIFFERENCES
            shown += f"\n    and {more} more" if more > 0 else ""
            raise SpecChangedError(
                f"The run {spec.key} in {root.path} was made with other options:{shown}\n"
                f"Runs with different options are never mixed. Give this sweep another root=, or remove the folder "
                f"{root.run_dir(spec.key).path} to make the run anew."
            )
    return fruitless


def _came_to_nothing(run_dir: RunDir) -> bool:
    """Whether nothing lies in a run's folder that its trainer made, but for the options that it read."""
    ours = {run_dir.spec, run_dir.attempts, run_dir.stdout, run_dir.exit_status(0).parent, run_dir.path / "config.yaml"}
    return all(path in ours for path in run_dir.path.iterdir())


def planning_events(
    root: SweepRoot, specs: Iterable[RunSpec], state: SweepState, at: float, priorities: Mapping[str, int]
) -> Iterator[Event]:
    """What a launch tells the machine about its runs: what is done on disk, and what is to be done."""
    for spec in specs:
        key = spec.key
        is_done = root.run_dir(key).done.exists()
        known = state.runs.get(key)
        if not is_done and known is not None and known.state == "done":
            yield RunFoundUndone(at=at, key=key)
        yield RunPlanned(
            at=at,
            key=key,
            group=f"{spec.method} × {key.suite}",
            resources=spec.resources,
            priority=priorities.get(spec.method, 0),
            digest=spec.digest(),
            attempts=0 if is_done else latest_attempt(root.run_dir(key)),
        )
        if is_done and (known is None or known.state != "done"):
            yield RunFoundDone(at=at, key=key)


class KnownSpecs(Mapping[RunKey, RunSpec]):
    """The specs of a launch; for runs of earlier launches, those on disk."""

    def __init__(self, root: SweepRoot, specs: Iterable[RunSpec]) -> None:
        self._root = root
        self._specs = {spec.key: spec for spec in specs}

    def __getitem__(self, key: RunKey) -> RunSpec:
        """The spec of a run.

        Raises:
            KeyError: this launch does not plan it, and its run.json is gone.
            RootError: its run.json cannot be read.
        """
        if key not in self._specs:
            spec = read_spec(self._root.run_dir(key))
            if spec is None:
                raise KeyError(key)
            self._specs[key] = spec
        return self._specs[key]

    def __iter__(self) -> Iterator[RunKey]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)
