"""The command `adopt`: takes folders of the official trainer into a root, where they are runs of the given grid."""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from aggregation.logs.foreign_log import log_of, read_foreign_log
from aggregation.logs.log_format import METRICS_FILE, LogFormat
from orchestrator import clock
from orchestrator.command_line.adopted_run import newest_checkpoint, take_in
from orchestrator.command_line.adoption import Cell, Cells
from orchestrator.command_line.composed_sweep import composed
from orchestrator.command_line.run_command import launched_specs
from orchestrator.consoles import console_for
from orchestrator.journal import Journal
from orchestrator.lock import RootLock
from orchestrator.root import freeze_config, make_writable, planning_events
from orchestrator.status import replayed
from orchestrator.trainers.trainer_configs import read_options
from sweeps.contracts import RunKey, RunSpec
from sweeps.errors import ConfigError, DreamsweepError, LogError
from sweeps.layout import RunDir, SweepRoot
from sweeps.wording import counted

_OVERRIDE = re.compile(r"[+~]{0,2}[\w./@:-]+=.*", re.DOTALL)
#: Folders of a trainer that hold thousands of files and never a log.
_NOT_SEARCHED = frozenset({"ckpt", "checkpoint.pkl", "checkpoint.ckpt", "replay", "eval_replay", "plugins"})
_SHOWN_DIFFERENCES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one folder."""

    folder: Path
    #: The run that it is, or comes nearest to.
    key: RunKey | None = None
    #: `done`, `unfinished`, `kept` (it was adopted before), or `refused`.
    state: str = "refused"
    reason: str = ""
    #: By option, its value in the folder and in the grid.
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        differences = {name: {"there": there, "grid": grid} for name, (there, grid) in self.differences.items()}
        return {
            "folder": str(self.folder),
            "run": None if self.key is None else str(self.key),
            "state": self.state,
            "reason": self.reason,
            "differences": differences,
        }


def adopt(arguments: argparse.Namespace) -> int:
    """Take in what is a run of the grid, and say of everything else why it is none."""
    paths, arguments.overrides = split_words(arguments.overrides)
    sweep = composed(arguments, is_for_launch=True)
    options = [block.base.program.options for block in sweep.grid.blocks for _ in block.seeds]
    if not all(options):
        raise ConfigError(
            "adopt compares the options of the official trainer, and trainer=command has none that are known. Use "
            "trainer=dreamerv3 or trainer=dreamer_pypi, or collect the folders with `dreamsweep aggregate`."
        )
    specs = launched_specs(sweep)
    cells = Cells(map(Cell, specs, options))
    folders = list(log_folders(paths))
    root = SweepRoot(Path(sweep.config.first.root).expanduser().resolve())
    make_writable(root)
    with RootLock(root.lock):
        findings = [_finding(folder, cells, root, takes_unfinished=arguments.unfinished) for folder in folders]
        adopted = {finding.key for finding in findings if finding.state in ("done", "unfinished")}
        if adopted:
            freeze_config(root, sweep.config.text)
            priorities = {block.first.method: block.base.settings.method.priority for block in sweep.grid.blocks}
            _record(root, [spec for spec in specs if spec.key in adopted], priorities)
    if arguments.json:
        json.dump({"root": str(root.path), "folders": [finding.to_json() for finding in findings]}, sys.stdout)
        print()
    else:
        _print(console_for(sys.stdout), findings, root)
    return 1 if not findings or any(finding.state == "refused" for finding in findings) else 0


def split_words(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders and the overrides among what was typed: a word with `=` is an override, unless it names a folder.

    Raises:
        ConfigError: there is no folder.
    """
    overrides = [word for word in words if _OVERRIDE.fullmatch(word) and not Path(word).is_dir()]
    paths = [Path(word).expanduser() for word in words if word not in overrides]
    if not paths:
        raise ConfigError("adopt needs a folder of logs; expected dreamsweep adopt LOGDIR… suite=… root=….")
    return paths, overrides


def log_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """Every folder with a log at or below `paths`.

    Raises:
        LogError: a path is no folder.
    """
    seen: set[Path] = set()
    for top in paths:
        if not top.is_dir():
            raise LogError(f"{top} is no folder; expected a folder of the trainer's logs. Check the path.")
        for where, below, _ in os.walk(top.resolve()):
            below[:] = sorted(name for name in below if name not in _NOT_SEARCHED and not name.startswith("."))
            folder = Path(where)
            if folder not in seen and (log_of(folder, LogFormat().file) or log_of(folder, METRICS_FILE)):
                seen.add(folder)
                yield folder


def _finding(folder: Path, cells: Cells, root: SweepRoot, *, takes_unfinished: bool) -> Finding:
    if RunDir(folder).spec.exists():
        return Finding(folder, reason="dreamsweep launched it: its own root is collected as it is")
    if not (folder / "config.yaml").is_file():
        return Finding(folder, reason="it has no config.yaml, so that nothing tells its options")
    if log_of(folder, LogFormat().file) is None:
        return Finding(folder, reason="it has no scores.jsonl")
    try:
        match = cells.match(folder, read_options(folder / "config.yaml"))
    except DreamsweepError as error:
        return Finding(folder, reason=str(error))
    spec = match.spec
    if spec is None or match.reason:
        return Finding(folder, spec.key if spec else None, "refused", match.reason, dict(match.differences or {}))
    if root.run_dir(spec.key).path.exists():
        if _came_from(root, spec) == str(folder):
            return Finding(folder, spec.key, "kept", "it was adopted before")
        return Finding(folder, spec.key, reason="the root holds this run already, and nothing in it is overwritten")
    try:
        return _adopted(folder, spec, root, takes_unfinished=takes_unfinished)
    except OSError as error:
        return Finding(folder, spec.key, reason=f"it cannot be copied: {error}")


def _adopted(folder: Path, spec: RunSpec, root: SweepRoot, *, takes_unfinished: bool) -> Finding:
    log, budget = read_foreign_log(folder), spec.schedule.frames
    saved, saved_step = newest_checkpoint(folder)
    if log.reaches(budget) or saved_step >= spec.schedule.steps:
        take_in(root, folder, spec, log, None)
        return Finding(folder, spec.key, "done")
    ends = f"its log ends at frame {log.frames:,} of {budget:,}"
    if not takes_unfinished:
        return Finding(folder, spec.key, reason=f"{ends}; adopted with --unfinished, `run` would continue it")
    if saved is None:
        return Finding(folder, spec.key, reason=f"{ends}, and it has no whole checkpoint to continue from")
    take_in(root, folder, spec, log, saved)
    return Finding(folder, spec.key, "unfinished")


def _record(root: SweepRoot, specs: Sequence[RunSpec], priorities: Mapping[str, int]) -> None:
    """Let the journal know of the runs, so that `status` shows them before the first launch."""
    state = replayed(root)
    with Journal(root.journal) as journal:
        journal.append(planning_events(root, specs, state, clock.now(), priorities))


def _came_from(root: SweepRoot, spec: RunSpec) -> str | None:
    try:
        record = json.loads(root.run_dir(spec.key).spec.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    source = record.get("adopted_from") if isinstance(record, dict) else None
    return str(source) if source else None


def _print(console: Console, findings: Sequence[Finding], root: SweepRoot) -> None:
    console.print(f"root: {root.path}", highlight=False, soft_wrap=True)
    for state, what in (
        ("done", "adopted as done"),
        ("unfinished", "adopted unfinished: `run` continues from the checkpoint"),
        ("kept", "adopted before: kept as they are"),
        ("refused", "not adopted"),
    ):
        those = [finding for finding in findings if finding.state == state]
        if those:
            console.print(f"[bold]{counted(len(those), 'folder')} {what}[/]", highlight=False)
        for finding in those:
            sign = "[red]![/]" if state == "refused" else "="
            line = f"{finding.folder}"
            if finding.key is not None:
                line += f" {'is nearest to' if finding.differences else 'is'} {finding.key}"
            if state == "refused":
                line += f": {finding.reason}"
            console.print(f"  {sign} {escape(line)}", highlight=False, soft_wrap=True)
            for name, (there, grid) in list(finding.differences.items())[:_SHOWN_DIFFERENCES]:
                shown = f"{name}: {there!r} there, {grid!r} in the grid"
                console.print(f"      {escape(shown)}", highlight=False, soft_wrap=True)
            if len(finding.differences) > _SHOWN_DIFFERENCES:
                console.print(f"      and {len(finding.differences) - _SHOWN_DIFFERENCES} more", highlight=False)
    if not findings:
        console.print("No folder with a log of the trainer lies there.")
