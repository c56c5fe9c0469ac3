"""The rules of the plan's warnings: each looks at the runs of one suite and label. Pure.

A rule's name is the code of its warning. Every rule names where its knowledge comes from.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from sweeps import ratio
from sweeps.capacity import Capacity
from sweeps.contracts import RunSpec, ratio_text
from sweeps.footprint import Footprint, footprint, held_resources
from sweeps.plan import Group, figures
from sweeps.power import power, seeds_needed
from sweeps.settings import Suite, SweepSettings
from sweeps.wording import counted, size_text

#: From this factor on, a ratio is far from the suite's own.
_FAR = 4
#: A comparison that misses a real difference more often than it shows it is not worth its runs.
_LEAST_POWER = 0.5
#: From this size on, a CPU needs days where a GPU needs hours.
_LARGE_PARAMETERS = 12_000_000
#: What the official configs give for a budget without an end.
_NO_END = 10**10
_GIB = 2**30
_ARITHMETIC = "arithmetic of the trainer's options"


@dataclass(frozen=True, slots=True)
class Advice:
    """What a rule has to say, in whole sentences."""

    reason: str
    source: str
    advice: str


@dataclass(frozen=True, slots=True)
class Case:
    """The runs of one suite and label, with what rules look at beside them."""

    group: Group
    capacity: Capacity
    labels_of_suite: int
    #: Every ratio at which the sweep runs this method on this suite.
    ratios_of_method: Set[float]

    @property
    def settings(self) -> SweepSettings:
        return self.group.first.base.settings

    @property
    def suite(self) -> Suite:
        return self.settings.suite

    @property
    def spec(self) -> RunSpec:
        return self.group.spec

    @property
    def options(self) -> Mapping[str, Any]:
        """Every option of the trainer; empty for a program that we know nothing about."""
        return self.group.first.base.program.options

    @property
    def footprint(self) -> Footprint | None:
        return footprint(self.group.first)

    @property
    def learns(self) -> bool:
        return self.spec.flags.get("random_agent") is not True

    @property
    def is_on_cpu(self) -> bool:
        platform = self.settings.trainer.get("platform", "auto")
        return platform == "cpu" or (platform == "auto" and self.spec.resources.gpus == 0)

    @property
    def runs_at_once(self) -> int | None:
        held = held_resources(self.group.first)
        return self.capacity.runs_at_once(held, self.group.runs, self.settings.max_concurrent)


def far_ratio(case: Case) -> Advice | None:
    """A ratio far from the suite's own, which nothing shows to be meant."""
    own, value = case.suite.train_ratio, case.spec.train_ratio
    if own is None or value is None or value <= 0 or not case.learns or case.group.first.ratio.is_relative:
        return None
    factor = max(own / value, value / own)
    if factor < _FAR or own in case.ratios_of_method:
        return None
    text, own_text, times = ratio_text(value), ratio_text(own), f"{factor:,.4g}"
    if value < own:
        reason = f"train_ratio {text} is 1/{times} of this suite's {own_text}: {times} times fewer gradient updates."
    else:
        reason = f"train_ratio {text} is {times} times this suite's {own_text}, and so are the gradient updates."
    return Advice(
        reason,
        case.suite.ratio_source or "the suite's block in the official configs.yaml",
        f"Leave train_ratio out for {own_text}; write train_ratio=default,{text} to compare the two, or "
        f"train_ratio=x{value / own:g} if it is meant.",
    )


def short_budget(case: Case) -> Advice | None:
    """A budget that ends before the published evaluation does."""
    evaluation = case.suite.evaluation
    if evaluation is None or evaluation.frames is None:
        return None
    start, end = evaluation.window or (evaluation.frames, evaluation.frames)
    frames = figures(case.spec).frames
    if frames >= end:
        return None
    lacks = "no score in it" if frames <= start else "scores in a part of it only"
    window = f"window of {start:,} to {end:,}" if evaluation.window else f"published budget of {end:,}"
    steps = -(-end // case.spec.schedule.action_repeat)
    return Advice(
        f"the runs end at {frames:,} environment frames, before the {window}"
        + (f": {lacks}." if evaluation.window else "."),
        "the protocol of the published tables",
        f"Set steps={max(steps, case.suite.steps)} (policy steps of {counted(case.suite.action_repeat, 'frame')}), or "
        f"do not compare the final scores with published ones.",
    )


def no_update(case: Case) -> Advice | None:
    """A budget that ends before the first gradient update."""
    if not case.learns or not case.spec.train_ratio or figures(case.spec).updates:
        return None
    first = ratio.first_update_step(case.spec.schedule)
    return Advice(
        f"no gradient update ever happens: the first comes at policy step {first:,}, and the runs end at "
        f"{ratio.final_step(case.spec.schedule):,}.",
        _ARITHMETIC,
        "Raise steps=, or lower batch_size or batch_length.",
    )


def batch_beyond_replay(case: Case) -> Advice | None:
    """Batches that the trainer itself refuses."""
    options = case.options
    if not {"batch_length", "batch_size", "report_length", "replay.size"} <= options.keys():
        return None  # a command, or a fork with other options
    length = options["batch_length"]
    needed = options["batch_size"] * (length + options.get("replay_context", 0))
    if needed > options["replay.size"]:
        return Advice(
            f"replay.size {int(options['replay.size']):,} is below one batch of {needed:,} steps: the trainer stops "
            f"with an AssertionError.",
            "make_replay in the official main.py",
            "Raise replay.size, or lower batch_size or batch_length.",
        )
    if options["report_length"] > length:
        return Advice(
            f"report_length {options['report_length']} is above batch_length {length}: the trainer stops with an "
            f"AssertionError, reports or not.",
            "seen with the official trainer",
            f"Set flags.report_length={length} as well.",
        )
    return None


def memory(case: Case) -> Advice | None:
    """Replay that the host's memory cannot hold."""
    need, asked = case.footprint, case.spec.resources.memory_bytes
    if need is None:
        return None
    what = f"replay of up to {size_text(need.memory_bytes)} ({need.replay_step_bytes:,} bytes a step) with the trainer"
    if asked and need.memory_bytes > asked:
        return Advice(
            f"{what} does not fit resources.memory_gb={asked / _GIB:g}.",
            _ARITHMETIC,
            "Lower flags.replay.size, take a smaller model, or leave resources.memory_gb out for what it takes.",
        )
    there = case.capacity.memory_bytes
    if there is not None and need.memory_bytes > there:
        return Advice(
            f"{what} does not fit this machine's {size_text(there)}.",
            _ARITHMETIC,
            "Lower flags.replay.size, take a smaller model, or a machine with more memory.",
        )
    return None


def disk(case: Case) -> Advice | None:
    """Replay and checkpoints that the root's disk may not hold."""
    need, free = case.footprint, case.capacity.disk_bytes
    if need is None or free is None:
        return None
    together = case.runs_at_once or 1
    keeps = case.settings.trainer.get("keep_replay") is True
    running = (case.group.runs if keeps else together) * need.replay_disk_bytes
    total = running + case.group.runs * need.checkpoint_bytes
    if total <= free:
        return None
    return Advice(
        f"replay and checkpoints may take up to {size_text(total)} before compression, with {counted(together, 'run')} "
        f"at once, and the root's disk has {size_text(free)} free.",
        _ARITHMETIC,
        "Put the root on a larger disk, or run fewer at once with max_concurrent=.",
    )


def gpu_memory(case: Case) -> Advice | None:
    """A model whose weights and moments alone fill the share of a GPU."""
    need, one = case.footprint, case.capacity.gpu_memory_bytes
    least = need.gpu_bytes if need is not None else None
    gpus = case.spec.resources.gpus
    if least is None or one is None or not gpus or case.is_on_cpu or not case.learns:
        return None
    share = int(one * min(1.0, gpus))
    if least <= share:
        return None
    return Advice(
        f"weights, moments and gradients alone take {size_text(least)}, and resources.gpus={gpus:g} of a GPU with "
        f"{size_text(one)} is {size_text(share)}.",
        "16 bytes a parameter, activations not counted",
        "Take a smaller model, a larger share, or a larger GPU.",
    )


def slow_on_cpu(case: Case) -> Advice | None:
    """A large model, or a float type that the device lacks, on a CPU."""
    if not case.options or not case.is_on_cpu or not case.learns:
        return None
    need = case.footprint
    if need is not None and (need.parameters or 0) >= _LARGE_PARAMETERS:
        return Advice(
            f"a model of {need.parameters // 10**6 if need.parameters else 0} million parameters would train on a CPU, "
            f"where even size1m makes about 2 gradient updates a second.",
            "measured on two CPU cores with the official trainer, float32",
            "Give each run a GPU with resources.gpus=1, or take a small method.",
        )
    if case.options.get("jax.compute_dtype") == "bfloat16":
        return Advice(
            "bfloat16 on a CPU, which computes it 1.5 to 2 times slower than float32.",
            "measured with the official trainer",
            "Set flags.jax.compute_dtype=float32, or give each run a GPU with resources.gpus=1.",
        )
    return None


def float_type_of_gpu(case: Case) -> Advice | None:
    """A float type that the GPU's generation does not have."""
    there = case.capacity.gpu_compute_capability
    if there is None or there >= 8.0 or not case.spec.resources.gpus:
        return None
    if case.options.get("jax.compute_dtype") != "bfloat16":
        return None
    return Advice(
        f"bfloat16 on a GPU of compute capability {there:g}: GPUs before 8.0 (Ampere) do not compute it.",
        "NVIDIA's table of compute capabilities",
        "Set flags.jax.compute_dtype=float32 (float16 lacks the range), or take a newer GPU.",
    )


def no_gpu_held(case: Case) -> Advice | None:
    """A trainer told to use a GPU that its attempts do not hold."""
    if case.settings.trainer.get("platform") != "cuda" or case.spec.resources.gpus:
        return None
    return Advice(
        "trainer.platform=cuda, but an attempt holds no GPU: Ray hides GPUs that were not asked for.",
        "Ray's CUDA_VISIBLE_DEVICES",
        "Set resources.gpus=1, or a fraction to share one.",
    )


def environments(case: Case) -> Advice | None:
    """More environment processes than CPUs, or environments in processes where the trainer hangs with them."""
    if not case.options or case.options.get("run.debug") is not False:
        return None  # the environments take turns in the trainer's own process
    if case.spec.source.adapter == "dreamer_pypi":
        return Advice(
            "run.debug=False hangs for ever in the embedded trainer, whose environment processes cannot start.",
            "dreamer 3.3.0 with today's portal",
            "Leave run.debug alone, or use a checkout: trainer=dreamerv3.",
        )
    envs, cpus = case.spec.schedule.envs, case.spec.resources.cpus
    if envs < cpus:
        return None
    return Advice(
        f"{envs} environment processes and the trainer share {cpus:g} CPUs.",
        "run.debug=False starts one process for each environment",
        f"Set resources.cpus={envs + 1}, fewer flags.run.envs, or leave run.debug alone.",
    )


def few_seeds(case: Case) -> Advice | None:
    """A comparison that its seeds cannot decide."""
    seeds, tasks = case.group.fewest_seeds, len(case.group.tasks)
    chance = power(seeds, tasks)
    evaluation = case.suite.evaluation
    is_published = evaluation is not None and evaluation.frames is not None
    is_compared = is_published and case.labels_of_suite > 1 and case.learns
    if not is_compared or chance >= _LEAST_POWER:
        return None
    needed = seeds_needed(tasks)
    return Advice(
        f"with {counted(seeds, 'seed')} on {counted(tasks, 'task')}, a difference of one standard deviation between "
        f"seeds shows in {chance:.0%} of comparisons.",
        "two-sided test at 5 %, normal approximation",
        f"Take {needed} seeds for 80 %, or read the result as a first look.",
    )


def repeated_random(case: Case) -> Advice | None:
    """A random agent at several ratios, which are one and the same."""
    if case.learns or len(case.ratios_of_method) < 2:
        return None
    return Advice(
        f"a random agent never trains, and it would run at {len(case.ratios_of_method)} train ratios.",
        "random_agent in the official main.py",
        f"Take it out of the product and add it once: extra=[{{method:{case.spec.method},train_ratio:default}}].",
    )


def unused_by_command(case: Case) -> Advice | None:
    """Settings that a command's template does not pass on."""
    command = case.settings.trainer.get("command")
    if not isinstance(command, str):
        return None
    lost = []
    if case.spec.flags and "{flags}" not in command:
        lost.append(("{flags}", "the options " + ", ".join(case.spec.flags)))
    if case.group.first.ratio.is_set and "{train_ratio}" not in command:
        lost.append(("{train_ratio}", "train_ratio"))
    if len(case.group.seeds) > 1 and "{seed}" not in command:
        lost.append(("{seed}", "the seed"))
    if not lost:
        return None
    return Advice(
        f"the program never hears of {', nor of '.join(what for _, what in lost)}: its cells would be the same run.",
        "trainer.command",
        f"Put {' and '.join(name for name, _ in lost)} into trainer.command.",
    )


def caveat(case: Case) -> Advice | None:
    """What the suite's file says one should know."""
    if not case.suite.caveat:
        return None
    return Advice(case.suite.caveat, f"conf/suite/{case.suite.name}.yaml", "")


def no_end(case: Case) -> Advice | None:
    """A budget that stands for none."""
    if case.spec.schedule.steps < _NO_END:
        return None
    return Advice(
        f"a budget of {case.spec.schedule.steps:,} policy steps has no end: the official config sets none.",
        "the suite's block in the official configs.yaml",
        "Set steps= to what you can afford.",
    )


#: In the order in which warnings are shown.
RULES: tuple[Callable[[Case], Advice | None], ...] = (
    far_ratio,
    no_end,
    short_budget,
    no_update,
    batch_beyond_replay,
    caveat,
    environments,
    float_type_of_gpu,
    no_gpu_held,
    gpu_memory,
    slow_on_cpu,
    memory,
    disk,
    few_seeds,
    repeated_random,
    unused_by_command,
)
