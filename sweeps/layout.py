"""The only place that knows the paths of a sweep root.

<root>/sweep.yaml             the composed configuration, frozen at the first launch
<root>/sweep.<n>.yaml         that of a later launch, where it is another one
<root>/launches.jsonl         the words of each launch
<root>/journal.jsonl          append-only: every event of every attempt
<root>/requests/              what was asked of the orchestrator from elsewhere: cancel, pause, resume, retry
<root>/orchestrator.log       what a detached orchestrator says
<root>/orchestrator.exit.json its exit status, where it ran on the head of a cluster
<root>/orchestrator.lock      held by the one orchestrator of this root
<root>/runs/<suite>/<task>/<label>/<seed>/     one run directory
    run.json  attempts.jsonl  stdout.log  done             ours
    scores.jsonl  metrics.jsonl  ckpt/  replay/  config.yaml    the trainer's
    attempts/<n>.exit.json    exit status, written by the guard of attempt n
    attempts/shipped.json     with storage=ship: how far the latest attempt's logs and checkpoints have come
    set_aside/<n>/            logs and checkpoints of before attempt n, which was asked to start afresh
<root>/checkpoints/           with storage=ship on this machine alone: the store of checkpoints
<root>/scores/  metrics/      the Parquet datasets
<root>/runs.parquet  faults.parquet
<root>/score_files/<suite>-<label>.json.gz
<root>/plots/  report/index.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.contracts import RunKey
from sweeps.errors import GridError


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths inside one run directory."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "run.json"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts.jsonl"

    @property
    def scores(self) -> Path:
        return self.path / "scores.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def stdout(self) -> Path:
        return self.path / "stdout.log"

    @property
    def done(self) -> Path:
        return self.path / "done"

    @property
    def replay(self) -> Path:
        return self.path / "replay"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Where the trainer keeps its checkpoints: today's name, and that of the packaged 3.3.0."""
        return self.path / "ckpt", self.path / "checkpoint.pkl"

    def exit_status(self, attempt: int) -> Path:
        return self.path / "attempts" / f"{attempt}.exit.json"

    @property
    def shipped(self) -> Path:
        return self.path / "attempts" / "shipped.json"

    def set_aside(self, attempt: int) -> Path:
        return self.path / "set_aside" / str(attempt)


@dataclass(frozen=True, slots=True)
class SweepRoot:
    """The paths of one sweep root."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "sweep.yaml"

    def later_config(self, number: int) -> Path:
        """Where the `number`-th different configuration is frozen, counted from 2."""
        return self.path / f"sweep.{number}.yaml"

    @property
    def configs(self) -> list[Path]:
        """Every configuration that was frozen, oldest first."""
        return sorted(self.path.glob("sweep*.yaml"), key=lambda path: (len(path.name), path.name))

    @property
    def launches(self) -> Path:
        return self.path / "launches.jsonl"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lock(self) -> Path:
        return self.path / "orchestrator.lock"

    @property
    def requests(self) -> Path:
        return self.path / "requests"

    @property
    def orchestrator_log(self) -> Path:
        return self.path / "orchestrator.log"

    @property
    def orchestrator_exit_status(self) -> Path:
        return self.path / "orchestrator.exit.json"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def checkpoints(self) -> Path:
        """The store of checkpoints where none was named."""
        return self.path / "checkpoints"

    @property
    def adopting(self) -> Path:
        """Where runs of others are copied before they appear under `runs`, whole."""
        return self.path / ".adopting"

    @property
    def collected(self) -> Path:
        """Everything that collections keep; the datasets and tables below are links into it."""
        return self.path / ".collected"

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def runs_table(self) -> Path:
        return self.path / "runs.parquet"

    @property
    def faults_table(self) -> Path:
        return self.path / "faults.parquet"

    @property
    def score_files(self) -> Path:
        return self.path / "score_files"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def report(self) -> Path:
        return self.path / "report" / "index.html"

    def run_dir(self, key: RunKey) -> RunDir:
        return RunDir(self.runs / str(key))

    def run_dirs(self) -> Iterator[tuple[RunKey, RunDir]]:
        """Every run directory with a run.json, by name; a folder whose name is no run's, such as a copy, is none."""
        for spec in sorted(self.runs.glob("*/*/*/*/run.json")):
            try:
                key = RunKey.parse(spec.parent.relative_to(self.runs).as_posix())
            except GridError:
                continue
            yield key, RunDir(spec.parent)


_NIGHT_RECORD = "night.json"


@dataclass(frozen=True, slots=True)
class NightlyRoot:
    """The paths of a folder of nights.

    <root>/nights/<number>-<revision>/     a sweep root for each night, with
        night.json                         what was run and what is said of it
    <root>/history.parquet                 one row per night and run
    <root>/history.png                     the nights as a picture
    <root>/report/index.html               tonight beside the nights before
    """

    path: Path

    @property
    def nights(self) -> Path:
        return self.path / "nights"

    @property
    def history(self) -> Path:
        return self.path / "history.parquet"

    @property
    def picture(self) -> Path:
        return self.path / "history.png"

    @property
    def lock(self) -> Path:
        return self.path / "nightly.lock"

    @property
    def report(self) -> Path:
        return self.path / "report" / "index.html"

    def night(self, name: str) -> SweepRoot:
        return SweepRoot(self.nights / name)

    def record(self, name: str) -> Path:
        """The night.json of a night."""
        return self.nights / name / _NIGHT_RECORD

    def records(self) -> list[Path]:
        """The night.json of every night, by number."""
        return sorted(self.nights.glob(f"*/{_NIGHT_RECORD}"))
