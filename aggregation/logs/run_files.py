"""What lies beside a log in its folder: who the run is (run.json, config.yaml) and how it went (attempts.jsonl, done).

Both kinds of folder give the same card: one that dreamsweep launched, and one of DreamerV3's own log folders, whose
name, parents or config.yaml say the task, the method and the seed.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aggregation.logs.log_format import LogFormat
from aggregation.logs.seams import Seam, known_seams
from sweeps.contracts import Attempt, RunKey, RunSpec, check_name, check_task
from sweeps.errors import DreamsweepError, LogError

#: How folders of a dataset spell null.
_NO_NAME = "__HIVE_DEFAULT_PARTITION__"
#: Bytes that file systems allow for one name.
_LONGEST_NAME = 255
_STAMPED = re.compile(r"(?P<time>\d{8}T\d{4,}[0-9F]*)-(?P<task>.+)-(?P<label>[^-]+)-(?P<seed>[^-]+)")
_SEED = re.compile(r"(?:seed[_=]?)?0*(\d{1,9})", re.IGNORECASE)
_RATIO_SUFFIX = re.compile(r"(?P<method>.+)_tr(?P<ratio>\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_CONFIG_TASK = re.compile(r"^task:\s*['\"]?([\w./:-]+)", re.MULTILINE)
_CONFIG_SEED = re.compile(r"^seed:\s*(\d{1,9})\s*$", re.MULTILINE)
_CONFIG_RATIO = re.compile(r"\btrain_ratio:\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)")
_CONFIG_DMC = re.compile(r"\bdmc:\s*(\{[^}]*\}|(?:\n\s{4,}[^\n]*)+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCard:
    """Who a run is, and how its log is to be read."""

    key: RunKey
    method: str
    train_ratio: float | None
    form: LogFormat
    #: Whether dreamsweep launched it, so that attempts.jsonl tells its seams.
    is_launched: bool
    #: Whether attempts.jsonl tells from which step each attempt resumed.
    has_checkpoints: bool = True
    action_repeat: int = 1
    gpus: float = 0.0
    #: The key as a text.
    run: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", str(self.key))


def launched_card(spec_path: Path, key: RunKey | None = None) -> RunCard:
    """The card of a run directory, from its run.json.

    Raises:
        LogError: run.json cannot be read, or belongs to another folder than `key` says.
    """
    try:
        spec = RunSpec.from_json(json.loads(spec_path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, DreamsweepError) as error:
        raise LogError(f"{spec_path} cannot be read as a run's specification: {error!r}.") from None
    check_fits(spec.key)
    if key is not None and spec.key != key:
        raise LogError(
            f"{spec_path} says that it is the run {str(spec.key)!r}; expected {str(key)!r} from its folder. "
            f"Move the folder back, or remove the copy."
        )
    return RunCard(
        key=spec.key,
        method=spec.method,
        train_ratio=spec.train_ratio,
        form=LogFormat.from_trainer(spec.trainer),
        is_launched=True,
        has_checkpoints=spec.source.adapter != "command",  # any program's checkpoints are its own affair
        action_repeat=spec.schedule.action_repeat,
        gpus=spec.resources.gpus,
    )


def foreign_card(folder: Path, *, suite: str | None = None) -> RunCard:
    """The card of one of DreamerV3's log folders: in either layout that its plot.py knows, or with its config.yaml.

    `{time}-{task}-{method}-{seed}` is one folder name; in the other layout the folder and its two parents are
    `task/method/seed`. Of any other folder, such as the trainer's own `logdir/{timestamp}`, config.yaml tells task and
    seed, and the folder around it names the method. The suite is `suite`, or what config.yaml tells, or the task's
    prefix.

    Raises:
        LogError: the names do not make a run.
    """
    folder = folder.absolute()
    config = _text(folder / "config.yaml")
    task, label, seed = _named(folder, config)
    try:
        key = RunKey(
            suite=check_name("suite", suite or _suite(task, config)),
            task=check_task(task.replace(":", "/")),
            label=check_name("label", label),
            seed=seed,
        )
        check_fits(key)
    except DreamsweepError as error:
        raise LogError(f"{folder} names no run: {error}") from None
    method, ratio = method_and_ratio(label)
    stated = _CONFIG_RATIO.search(config)
    return RunCard(
        key=key,
        method=method,
        train_ratio=float(stated[1]) if ratio is None and stated else ratio,
        form=LogFormat(),
        is_launched=False,
    )


def check_fits(key: RunKey) -> None:
    """See that a file system can have folders of a run's task and label, as a dataset names them.

    Raises:
        LogError: they are no text, or too long.
    """
    for name, text in (("task", key.task), ("label", key.label)):
        if text == _NO_NAME:
            raise LogError(f"the {name} {text!r} means that there is none, to readers of Parquet folders. Rename it.")
        try:
            size = len(f"{name}={quote(text, safe='')}")
        except UnicodeEncodeError:
            raise LogError(f"the {name} {text!r} is no UTF-8. Rename the folder.") from None
        if size > _LONGEST_NAME:
            raise LogError(
                f"the {name} {text!r} takes {size} bytes in the name of a folder; expected at most {_LONGEST_NAME}. "
                f"Give it a shorter name."
            )


def _named(folder: Path, config: str) -> tuple[str, str, int]:
    """Task, label and seed of one of DreamerV3's log folders.

    Raises:
        LogError: neither its path nor its config.yaml tells them.
    """
    match = _STAMPED.fullmatch(folder.name)
    if match:
        task, label, seed_text = match["task"], match["label"], match["seed"]
    else:
        task, label, seed_text = (["", "", "", *folder.parts])[-3:]
    seed = _SEED.fullmatch(seed_text)
    stated_task, stated_seed = _CONFIG_TASK.search(config), _CONFIG_SEED.search(config)
    if seed is not None:
        is_swapped = stated_task is not None and stated_task[1] == label != task  # method/task/seed
        return (label, task, int(seed[1])) if is_swapped else (task, label, int(seed[1]))
    if stated_task is not None and stated_seed is not None:
        return stated_task[1], folder.parent.name, int(stated_seed[1])
    raise LogError(
        f"{folder} names no run: {seed_text!r} is no seed, and no config.yaml tells task and seed. Expected "
        f".../task/method/seed/ or .../time-task-method-seed/ with a whole number as seed. Rename the folder."
    )


def method_and_ratio(label: str) -> tuple[str, float | None]:
    """What a label says: the method and its train_ratio, None where it names none."""
    match = _RATIO_SUFFIX.fullmatch(label)
    return (match["method"], float(match["ratio"])) if match else (label, None)


def read_attempts(path: Path) -> list[Attempt]:
    """The attempts of a run as far as their lines can be read; the last line of each number counts."""
    by_number = {}
    for line in _text(path).splitlines():
        try:
            attempt = Attempt.from_json(json.loads(line))
            by_number[int(attempt.attempt)] = attempt
        except (ValueError, TypeError, AttributeError):
            continue  # a torn line; the worker writes it again with the next change
    return [by_number[number] for number in sorted(by_number)]


def run_seams(card: RunCard, attempts: Sequence[Attempt]) -> list[Seam]:
    """The seams of a launched run's log."""
    return known_seams(
        attempts, file=card.form.file, action_repeat=card.action_repeat, has_checkpoints=card.has_checkpoints
    )


def _suite(task: str, config: str) -> str:
    prefix = task.partition("_")[0]
    if prefix == "dmc":  # two suites share its tasks; one has images switched off
        block = _CONFIG_DMC.search(config)
        if block and re.search(r"\bimage:\s*[Ff]alse", block[1]):
            return "dmc_proprio"
        if block and re.search(r"\bproprio:\s*[Ff]alse", block[1]):
            return "dmc_vision"
    return prefix


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
