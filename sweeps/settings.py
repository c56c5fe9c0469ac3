"""The composed configuration as typed records: what each key may hold, and what it means.

Every model refuses keys it does not know; `checked` turns the refusal into words.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from sweeps.contracts import Option, Scalar
from sweeps.errors import ConfigError, UnknownNameError


def _whole(value: object) -> object:
    """Let `1.1e5` stand for a whole number, as YAML reads it as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _spelled_out(names: object) -> object:
    """Let `bsuite_catch/{0..19}` stand for twenty names."""
    if not isinstance(names, list):
        return names
    spelled: list[object] = []
    for name in names:
        span = re.search(r"\{(\d+)\.\.(\d+)\}", name) if isinstance(name, str) else None
        if span is None:
            spelled.append(name)
        else:
            numbers = range(int(span[1]), int(span[2]) + 1)
            spelled.extend(f"{name[: span.start()]}{number}{name[span.end() :]}" for number in numbers)
    return spelled


Steps = Annotated[PositiveInt, BeforeValidator(_whole)]
Tasks = Annotated[list[str], Field(min_length=1), BeforeValidator(_spelled_out)]
Axis = Scalar | list[Scalar]
#: What can be reported over the tasks of a table.
Aggregate = Literal["mean", "median", "iqm", "optimality_gap", "capped_mean"]


class Settings(BaseModel):
    """Base of every group of keys: values are fixed, numbers are finite, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Protocol(Settings):
    """How a curve becomes the number of a table: a file of conf/protocol/, or a suite's own `evaluation`."""

    #: That of its file; a suite's own has none.
    name: str = ""
    #: The published budget in environment frames; null where nothing is published.
    frames: Steps | None = None
    #: Environment frames over which a run's scores are averaged, first and last.
    window: tuple[Annotated[int, BeforeValidator(_whole)], Steps] | None = None
    #: In place of a window: the last share of the budget, or of what the furthest run reached where there is none.
    last: Annotated[float, Field(gt=0, le=1)] | None = None
    #: Names the scores that stand for 0 and 1 on each task; null where scores are reported as they are.
    normaliser: str | None = None
    #: Without a normaliser, the lowest and the highest score that any task can give; null where tasks differ.
    scores: tuple[float, float] | None = None
    #: What is reported over the tasks, the headline first.
    aggregate: list[Aggregate] = Field(default_factory=list)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"the window must end after it begins, not be {list(self.window)}")
        if self.window is not None and self.last is not None:
            raise ValueError("a window and a last share exclude each other; keep one of the two")
        if self.scores is not None and self.scores[0] >= self.scores[1]:
            raise ValueError(f"the highest score must lie above the lowest, not be {list(self.scores)}")
        if self.scores is not None and self.normaliser is not None:
            raise ValueError("a normaliser and a span of scores exclude each other; keep one of the two")
        return self


class Suite(Settings):
    """A suite: its tasks and the official settings that go with it."""

    name: str
    #: Task names as published; `{0..19}` in a name stands for the numbers from 0 to 19.
    tasks: Tasks
    #: Published task name -> the trainer's `--task` flag, where the two differ.
    trainer_tasks: dict[str, str] = Field(default_factory=dict)
    #: Blocks of the trainer's config file.
    configs: list[str] = Field(default_factory=list)
    #: Further trainer options, by flag name without dashes; those of the method and of the sweep override them.
    flags: dict[str, Any] = Field(default_factory=dict)
    #: Budget in policy steps.
    steps: Steps
    #: Environment frames per policy step.
    action_repeat: PositiveInt = 1
    envs: PositiveInt = 16
    train_ratio: PositiveFloat | None = None
    #: What is known of this suite's ratio, and where from; stands beside the warning about one far from it.
    ratio_source: str = ""
    batch_size: PositiveInt = 16
    batch_length: PositiveInt = 64
    replay_context: NonNegativeInt = 1
    #: The model that the official config takes, as a method names it.
    size: str = ""
    #: Height, width and channels of the image in an observation; null where there is none.
    image: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    #: How its results are reported, in the files the name of a protocol; null for a suite that nobody publishes.
    evaluation: Protocol | None = None
    #: What a user should know before launching it; shown as a warning.
    caveat: str = ""


class Method(Settings):
    """A named set of trainer options."""

    name: str
    #: One line on what it is, or what it removes.
    about: str = ""
    #: Lower goes first; runs of one priority take turns by seed.
    priority: int = 0
    #: Blocks of the trainer's config file, applied after the suite's.
    configs: list[str] = Field(default_factory=list)
    #: Further trainer options, by flag name without dashes.
    flags: dict[str, Any] = Field(default_factory=dict)
    #: Trainer options of its own, over those of the sweep; with another `adapter`, over that one's defaults.
    trainer: dict[str, Any] = Field(default_factory=dict)
    #: What an attempt of it holds, over what the sweep says.
    resources: dict[str, Any] = Field(default_factory=dict)
    #: Environment variables, over those of the trainer.
    environ: dict[str, Any] = Field(default_factory=dict)


class ResourceSettings(Settings):
    """What one attempt holds while it runs."""

    cpus: PositiveFloat = 1.0
    #: A fraction below 1 shares a GPU; above 1 only whole GPUs.
    gpus: NonNegativeFloat = 0.0
    memory_gb: NonNegativeFloat = 0.0
    custom: dict[str, NonNegativeFloat] = Field(default_factory=dict)


class ClusterSettings(Settings):
    """Where attempts execute."""

    #: `local` starts Ray on this machine, `ray` joins a running cluster, `process` does without Ray.
    backend: Literal["local", "ray", "process"]
    #: For `ray`: `auto`, or host:port of the head.
    address: str = "auto"
    #: For `local` and `process`: how much of this machine to use; null for all of it.
    cpus: PositiveFloat | None = None
    gpus: NonNegativeFloat | None = None
    #: Memory of one GPU, for the plan's warnings; null where it is not known.
    gpu_memory_gb: PositiveFloat | None = None
    #: NVIDIA's compute capability of the oldest GPU, for the same; null where it is not known.
    gpu_compute_capability: PositiveFloat | None = None
    #: Ray namespace in which attempts are named.
    namespace: str = "dreamsweep"
    #: Seconds between two looks at a running attempt.
    poll_every_s: PositiveFloat = 2.0
    #: How long a trainer may go on without word from the head, and how long a retry waits after a node was lost.
    lease_s: PositiveFloat = 60.0
    #: Whether Ray must be guarded by a token, or an open cluster is joined on purpose.
    auth: Literal["token", "open"] = "token"
    #: Seconds between checkpoints; null for the trainer's own setting. Short where nodes are preempted.
    save_every_s: PositiveInt | None = None
    #: A program that ends with 0 on a node that is about to be taken away; null for none. No shell runs it.
    preemption_command: str | None = None


class StorageSettings(Settings):
    """Where attempts write, and how what they write reaches the root."""

    #: `shared`: every node sees the root. `ship`: none does; logs travel to the root, checkpoints to a store.
    kind: Literal["shared", "ship"] = "shared"
    #: The store, as a URL that every node reaches; null for a folder of the root, where all nodes are this machine.
    checkpoints: str | None = None
    #: Seconds between two shipments of an attempt: what is lost at most with a node that vanishes.
    interval_s: PositiveFloat = 5.0
    #: Where a node keeps runs while they run; `$NAMES` are filled in there. Null for its temporary folder.
    local_dir: str | None = None
    #: How many checkpoints of a run the store keeps.
    keep: PositiveInt = 2
    #: Whether the replay buffer is shipped with the checkpoints; without it a retry begins with an empty one.
    replay: bool = True


class RetrySettings(Settings):
    """How many further attempts a run gets for each way to fail. Losses of a worker are never counted."""

    out_of_memory: NonNegativeInt = 2
    crashed: NonNegativeInt = 2
    stalled: NonNegativeInt = 2
    diverged: NonNegativeInt = 0
    #: Wait before the first retry; doubles with each further one.
    delay_s: NonNegativeFloat = 10.0
    max_delay_s: NonNegativeFloat = 600.0


class ExportSettings(Settings):
    """How score files are written at the end of a sweep: raw points unless bins are asked for."""

    bins: PositiveInt | None = None
    binsize: Steps | None = None
    budget: Steps | None = None
    fill: Literal["null", "last"] = "null"


class NightlySettings(Settings):
    """How `dreamsweep nightly` judges a night beside the last ones."""

    #: A run's score is the mean of its episodes in this last part of its budget.
    last: Annotated[float, Field(gt=0, le=1)] = 0.1
    #: How many nights are looked back on.
    history: PositiveInt = 20
    #: Nights to have before any is judged.
    least_nights: Annotated[int, Field(ge=3)] = 5
    #: False alarms in a night, at most.
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    #: How often a night is looked at again by chance; that costs runs and no false alarms.
    suspicion: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    #: Fresh seeds that each suspicious cell is run with; 0 to decide on tonight's runs alone.
    confirm: NonNegativeInt = 3
    #: Whether each night has seeds of its own. With the same ones a deterministic trainer shows no spread at all.
    own_seeds: bool = True


class SweepSettings(Settings):
    """One composed configuration: a suite and a method, with the axes still to be expanded."""

    #: Names the sweep; part of the default root.
    name: str
    #: The sweep root. `root=$UNSET` is not the current folder.
    root: Annotated[str, Field(min_length=1)]
    suite: Suite
    method: Method
    task: Axis
    train_ratio: Axis
    #: Another name of train_ratio: the paper's.
    replay_ratio: Axis | None = None
    seed: Axis
    #: Further axes: values by trainer option, which become part of the label.
    axes: dict[str, Any] = Field(default_factory=dict)
    #: Groups of axes that advance together instead of forming a product.
    zip: list[list[str]] = Field(default_factory=list)
    #: The cells of the product to keep, each rule as values by axis; empty for all.
    only: list[dict[str, Any]] = Field(default_factory=list)
    #: The cells of the product to leave out, as rules of the same form.
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    #: Further cells: values by axis; what an entry does not name is as in the rest of the sweep.
    extra: list[dict[str, Any]] = Field(default_factory=list)
    #: Seeds of single methods, by method, in place of `seed`.
    method_seeds: dict[str, Axis] = Field(default_factory=dict)
    #: Whether the plan's warnings are errors.
    strict: bool = False
    #: Further roots whose runs tell the plan how long one takes, beside its own.
    measured_in: list[str] = Field(default_factory=list)
    #: Budget in policy steps; null for the suite's.
    steps: Steps | None = None
    #: Further trainer options for every run, applied last.
    flags: dict[str, Any] = Field(default_factory=dict)
    #: The adapter's own options; the adapter checks them.
    trainer: dict[str, Any]
    cluster: ClusterSettings
    storage: StorageSettings = Field(default_factory=StorageSettings)
    resources: ResourceSettings = Field(default_factory=ResourceSettings)
    #: Attempts in flight at most; null for as many as fit.
    max_concurrent: PositiveInt | None = None
    #: GPU hours after which nothing more starts; null for no limit.
    max_gpu_hours: PositiveFloat | None = None
    #: Whether one run of each method × suite must get as far as training before the others start.
    canary: bool = True
    #: Failures of one cause within ten starts that hold back their method × suite; null for no such rule.
    hold_after: Annotated[int, Field(ge=1, le=10)] | None = 5
    retry: RetrySettings = Field(default_factory=RetrySettings)
    #: Seconds between two collections while the sweep runs; 0 for one at the end only.
    collect_every_s: NonNegativeFloat = 60.0
    export: ExportSettings = Field(default_factory=ExportSettings)
    #: Read by `dreamsweep nightly` alone.
    nightly: NightlySettings = Field(default_factory=NightlySettings)


def flat_options(options: dict[str, Any], prefix: str = "") -> dict[str, Option]:
    """Options by dotted flag name, whether they were written nested or dotted."""
    flat: dict[str, Option] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat.update(flat_options(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


_Checked = TypeVar("_Checked", bound=Settings)


def checked(model: type[_Checked], values: Mapping[str, Any], *, where: str = "") -> _Checked:
    """Read plain values as a settings record.

    Args:
        where: the dotted key under which the values stand, for messages.

    Raises:
        UnknownNameError: a key that the record does not have.
        ConfigError: a key that is missing, or a value that it cannot have.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling is what helps.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = [str(part) for part in first["loc"]]
        place = ".".join([where, *path] if where else path)
        if first["type"] == "extra_forbidden":
            parent = ".".join([where, *path[:-1]] if where else path[:-1])
            raise UnknownNameError("key", path[-1], _fields(model, path[:-1]), where=parent) from None
        if first["type"] == "missing":
            raise ConfigError(f"The key {place!r} is missing from the configuration.") from None
        raise ConfigError(f"{place} is {first['input']!r}. {first['msg']}.") from None


def _fields(model: Any, path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        # An optional record is a union with None.
        model = next((kind for kind in get_args(annotation) if hasattr(kind, "model_fields")), annotation)
    return list(model.model_fields)
