"""What the end of a DreamerV3 process means: a table of signatures, read from its exit and the tail of its output.

Pure. Whoever stopped the trainer on purpose (a watchdog, a cancellation) knows better and does not ask here.
"""

import re
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.outcomes import Outcome, Verdict

#: Longest piece of output quoted in a cause or as evidence.
QUOTE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Rule:
    """One signature: what to look for, and what it means."""

    pattern: re.Pattern[str]
    outcome: Outcome
    #: A sentence for people; `{name}` stands for the group of that name.
    cause: str
    #: Whether the node or its GPU is suspected, rather than the run.
    is_node_suspect: bool = False


def rule(pattern: str, outcome: Outcome, cause: str, *, is_node_suspect: bool = False) -> Rule:
    """A rule whose `^` and `$` match at every line."""
    return Rule(re.compile(pattern, re.MULTILINE), outcome, cause, is_node_suspect)


# Signals that nobody answers: the output up to then says nothing about why.
SENT: Mapping[int, tuple[Outcome, str]] = {
    signals.SIGTERM: ("preempted", "The trainer was told to stop (SIGTERM), as when its machine is taken away."),
    signals.SIGINT: ("crashed", "The trainer was interrupted (SIGINT), and not by dreamsweep."),
    signals.SIGHUP: ("worker_lost", "The trainer lost the process that started it (SIGHUP)."),
    signals.SIGUSR1: ("preempted", "The batch system announced the end of the allocation (SIGUSR1)."),
    signals.SIGUSR2: ("preempted", "The batch system announced the end of the allocation (SIGUSR2)."),
    signals.SIGXCPU: ("preempted", "The batch system's limit of processor time is reached (SIGXCPU)."),
    signals.SIGKILL: (
        "out_of_memory",
        "The trainer was killed (SIGKILL) and left no message, which most often means that the host ran out of "
        "memory: ask for more memory per run (resources.memory_gb), or run fewer at once.",
    ),
}

# Signals that a process brings upon itself: the output may say why; otherwise this does.
SELF_INFLICTED: Mapping[int, str] = {
    signals.SIGABRT: "A native library gave up (SIGABRT).",
    signals.SIGSEGV: "A native library accessed memory that is not its own (SIGSEGV).",
    signals.SIGBUS: "Memory backed by a file went away (SIGBUS), as when /dev/shm or a disk is full.",
    signals.SIGILL: "The processor lacks an instruction that a library was built for (SIGILL): use another host.",
    signals.SIGFPE: "A native library made an arithmetic error (SIGFPE).",
}

_CHECKPOINT = "The checkpoint cannot be read; it is repaired before the next start."

# In order: the first rule that matches decides. The last traceback is asked first, then the whole tail.
RULES: tuple[Rule, ...] = (
    # --- the disk
    rule(r"\[Errno 28\]|No space left on device", "disk_full", "The disk is full: free space where the sweep writes."),
    rule(r"\[Errno 122\]|Disk quota exceeded", "disk_full", "The disk quota is used up: free space or raise it."),
    rule(
        r"RESOURCE_EXHAUSTED[^\n]*\.xplane\.pb",
        "disk_full",
        "The disk is full: JAX's profiler could not write its trace.",
    ),
    # --- memory
    rule(
        r"(?:Xla|Jax)RuntimeError: RESOURCE_EXHAUSTED|RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate)"
        r"|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED",
        "out_of_memory",
        "The GPU's memory is full: give the run a larger share of a GPU, turn off jax.prealloc where runs share one, "
        "or use a smaller network or batch.",
    ),
    rule(
        r"CUDNN_STATUS_(?:INTERNAL_ERROR|ALLOC_FAILED|NOT_INITIALIZED)|[Cc]ould not create cudnn handle",
        "out_of_memory",
        "cuDNN could not start, most often because the GPU's memory is full: give the run a larger share of a GPU.",
    ),
    rule(
        r"^(?:\S*\.)?_?(?:Array)?MemoryError\b|std::bad_alloc|\[Errno 12\]|Cannot allocate memory",
        "out_of_memory",
        "The host's memory is full: ask for more memory per run (resources.memory_gb), or run fewer at once.",
    ),
    rule(
        r"pthread_create failed|can't start new thread",
        "out_of_memory",
        "The host has no memory or no threads left for the trainer: ask for more memory per run, or run fewer at once.",
    ),
    # --- numbers that are not finite
    rule(
        r"^AssertionError: \{[^\n]*'obs/\w+': array\(\[[^\]]*False",
        "diverged",
        "The environment returned an observation or a reward that is not finite.",
    ),
    rule(
        r"^AssertionError: \{[^\n]*'(?:feat|carry|act)/[^\n]*array\(\[[^\]]*False",
        "diverged",
        "The networks' activations are not finite (NaN): the training diverged.",
    ),
    rule(
        r"^AssertionError: \((?:'\w+', )?array\((?s:.){0,2000}?\b(?:nan|inf)\b",
        "diverged",
        "The environment returned an observation or a reward that is not finite.",
    ),
    rule(
        r"^FloatingPointError: The observation '(?P<name>[^']*)' is not finite",
        "diverged",
        "The environment's observation {name!r} is not finite.",
    ),
    rule(
        r"^FloatingPointError: (?:The agent's action is not finite|invalid value)",
        "diverged",
        "The networks' outputs are not finite (NaN): the training diverged.",
    ),
    # --- packages
    rule(
        r"^ModuleNotFoundError: (?P<package>[\w-]+) is not installed; install the extra: (?P<command>[^\n]+)$",
        "misconfigured",
        "The package {package} is missing in the trainer's environment: {command}.",
    ),
    rule(
        r"^ModuleNotFoundError: No module named 'embodied\.envs\.(?P<suite>\w+)'",
        "misconfigured",
        "The packaged trainer has no environment for the suite {suite!r}: use a checkout of the official repository "
        "(trainer=dreamerv3 trainer.repo=...).",
    ),
    rule(
        r"^ModuleNotFoundError: No module named '(?P<package>ale_py)",
        "misconfigured",
        "The package {package!r} is missing in the trainer's environment: pip install 'dreamsweep[atari]'.",
    ),
    rule(
        r"^ModuleNotFoundError: No module named '(?P<package>dm_control|mujoco)",
        "misconfigured",
        "The package {package!r} is missing in the trainer's environment: pip install 'dreamsweep[dmc]'.",
    ),
    rule(
        r"^ModuleNotFoundError: No module named '(?P<package>crafter)",
        "misconfigured",
        "The package {package!r} is missing in the trainer's environment: pip install 'dreamsweep[crafter]'.",
    ),
    rule(
        r"^ModuleNotFoundError: No module named "
        r"'(?P<package>jax|elements|portal|ninjax|granular|scope|einops|jaxtyping|optax|chex|ruamel|gymnasium)\b",
        "misconfigured",
        "The package {package!r} is missing in the trainer's environment: pip install 'dreamsweep[trainer]'.",
    ),
    rule(
        r"^ModuleNotFoundError: No module named '(?P<package>[\w.]+)'",
        "misconfigured",
        "The package {package!r} is missing in the trainer's environment: install it there.",
    ),
    rule(
        r"DependencyNotInstalled: (?P<reason>\w+) is not installed",
        "misconfigured",
        "The package {reason} is missing in the trainer's environment: Gymnasium needs it for this task.",
    ),
    rule(
        r"jit\(\) takes from 0 to 1 positional arguments",
        "misconfigured",
        "This JAX is too new for the trainer's way of calling it: use the packaged trainer, or jax<0.10.",
    ),
    rule(
        r"^TypeError: setInt\(\)",
        "misconfigured",
        "The trainer's Atari environment is older than the installed ale-py: pip install 'ale-py<0.12'.",
    ),
    rule(
        r"'MjModel' object has no attribute",
        "misconfigured",
        "dm_control does not know the installed MuJoCo yet: pip install 'mujoco<4'.",
    ),
    rule(
        r"OpenGL platform library has not been loaded|Cannot initialize a (?:EGL|headless EGL)"
        r"|'NoneType' object has no attribute 'eglQueryString'|Failed to initialize OpenGL|OSMesa",
        "misconfigured",
        "MuJoCo cannot draw images on this host: install EGL (libegl1) or set MUJOCO_GL for the trainer.",
    ),
    # --- devices
    rule(
        r"assert _default_backend is not None|CUDA_ERROR_NO_DEVICE|no CUDA-capable device"
        r"|Unable to initialize backend '(?:cuda|gpu)'",
        "misconfigured",
        "JAX finds no GPU: ask for one (resources.gpus), install the extra `cuda`, or train with --jax.platform cpu.",
    ),
    rule(
        r"Unable to initialize backend '(?P<platform>\w+)'",
        "misconfigured",
        "JAX does not know or find the platform {platform!r}: use cpu or cuda.",
    ),
    rule(
        r"CUDA driver version is insufficient|CUDA_ERROR_(?:SYSTEM_DRIVER_MISMATCH|UNSUPPORTED_PTX_VERSION)",
        "misconfigured",
        "The GPU's driver is older than JAX's CUDA: update the driver, or install an older jax.",
    ),
    rule(
        r"CUDA_ERROR_(?:ECC_UNCORRECTABLE|DEVICE_UNAVAILABLE|SYSTEM_NOT_READY|HARDWARE_STACK_ERROR)"
        r"|fallen off the bus|uncorrectable ECC",
        "crashed",
        "The GPU failed: check it on its host (nvidia-smi -q).",
        is_node_suspect=True,
    ),
    rule(
        r"(?P<code>CUDA_ERROR_(?!NO_DEVICE)[A-Z_]+)",
        "crashed",
        "The GPU's driver reported {code}.",
        is_node_suspect=True,
    ),
    rule(
        r"\bNCCL\b(?! INFO| version)", "crashed", "The GPUs lost contact with each other (NCCL).", is_node_suspect=True
    ),
    # --- the checkpoint
    rule(
        r"^RuntimeError: No profile started",
        "crashed",
        "The checkpoint was saved while JAX's profiler ran and cannot be resumed with the profiler on: "
        "add `profiler: False` to the jax block of the trainer's configs.yaml.",
    ),
    rule(
        r"\[Chex\] Assertion assert_trees_all_equal_\w+ failed",
        "misconfigured",
        "The checkpoint was made with another network or other observations: use a new root for changed options.",
    ),
    rule(r"^(?:_?pickle\.)?UnpicklingError|^EOFError: Ran out of input", "crashed", _CHECKPOINT),
    rule(r"^AssertionError: \S*/(?:ckpt|checkpoint\.pkl)(?:/\S*)?$", "crashed", _CHECKPOINT),
    rule(
        r"^FileNotFoundError: [^\n]*/(?:step|agent|replay)\.pkl",
        "crashed",
        "The checkpoint vanished while the trainer used it: two trainers seem to share a run directory.",
    ),
    # --- options
    rule(
        r"Flag '(?P<flag>[^']*)' did not match any config keys",
        "misconfigured",
        "The trainer has no option {flag}: correct the flags of the method.",
    ),
    rule(
        r"^TypeError: (?P<reason>(?:Expected|Cannot convert|Cannot append)[^\n]*)",
        "misconfigured",
        "An option has a value of the wrong kind: {reason}",
    ),
    rule(
        r"^ValueError: Could not parse all arguments\. Remaining: (?P<rest>[^\n]*)",
        "misconfigured",
        "The trainer cannot parse its arguments {rest}: a flag lacks its value, or a value its flag.",
    ),
    rule(
        r"configs\[name\](?s:.){0,400}?^KeyError: '(?P<block>[^']*)'",
        "misconfigured",
        "The trainer's configs.yaml has no block {block!r}.",
    ),
    rule(
        r"^(?:ERROR: )?AssertionError: \(\d+, \d+, \d+, \d+\)|\(AssertionError: \(\d+, \d+, \d+, \d+\)\)",
        "misconfigured",
        "report_length must not exceed batch_length.",
    ),
    rule(
        r"assert config\.batch_size \* length <= capacity|in make_replay\n(?s:.){0,400}?^AssertionError$",
        "misconfigured",
        "replay.size must hold at least one batch (batch_size times batch_length).",
    ),
    rule(
        r"^KeyError: \('avg', 'max', 'sum'\)",
        "misconfigured",
        "The environment logs values of its own (log/...), which this version of the trainer cannot count.",
    ),
    rule(
        r"missing 1 required positional argument: 'ctor'",
        "misconfigured",
        "This version of the trainer cannot run environments in processes of their own: leave run.debug True.",
    ),
    # --- tasks
    rule(
        r"in make_env\n(?s:.){0,2000}?^KeyError: '(?P<suite>[^']*)'",
        "misconfigured",
        "The trainer knows no suite {suite!r}: the task's name must start with a suite's.",
    ),
    rule(
        r"config\.task\.split(?s:.){0,400}?not enough values to unpack"
        r"|^ValueError: not enough values to unpack \(expected 2, got 1\)",
        "misconfigured",
        "The task's name must be of the form suite_task.",
    ),
    rule(
        r"(?:NameNotFound|VersionNotFound|NamespaceNotFound|UnregisteredEnv): (?P<reason>[^\n]*)",
        "misconfigured",
        "Gymnasium does not have this task: {reason}",
    ),
    rule(
        r"^ValueError: Domain 'ball' does not exist",
        "misconfigured",
        "The trainer knows ball_in_cup as cup: the task is called dmc_cup_catch there.",
    ),
    rule(
        r"^ValueError: (?P<reason>(?:Level|Domain) '[^']*' does not exist[^\n]*?)\.?$",
        "misconfigured",
        "DeepMind Control does not have this task: {reason}.",
    ),
    rule(
        r"^ValueError: (?P<reason>Unknown Atari game '[^']*')",
        "misconfigured",
        "{reason}: the Arcade Learning Environment does not have it.",
    ),
    rule(
        r"assert task in \('reward', 'noreward'\)|^ValueError: The Crafter task must be",
        "misconfigured",
        "Crafter's tasks are crafter_reward and crafter_noreward.",
    ),
    # --- files
    rule(
        # The guard's own words.
        r"^cannot start '[^\n]*?(?P<program>[^/'\n]+)' in '[^\n]*': "
        r"(?P<reason>No such file or directory|Permission denied|Exec format error)$",
        "misconfigured",
        "The program {program!r} cannot be started: {reason}",
    ),
    rule(
        r"can't open file [^\n]*dreamerv3/main\.py[^\n]*\[Errno 2\]",
        "misconfigured",
        "The trainer's main.py is not there: check trainer.repo.",
    ),
    rule(
        r"can't open file '[^\n]*?(?P<script>[^/\n]+)': \[Errno 2\]",
        "misconfigured",
        "The program {script} is not there, seen from the folder of its run: its path must be a whole one.",
    ),
    rule(
        r"\[Errno 13\]|\[Errno 30\]",
        "misconfigured",
        "The trainer may not write where the sweep's root lies.",
    ),
    rule(r"\[Errno (?:5|107|116)\]", "crashed", "The file system failed (an I/O error or a stale handle)."),
    rule(r"\[Errno 24\]", "crashed", "The trainer may not open more files: raise the limit (ulimit -n)."),
    rule(r"\[Errno 98\]", "crashed", "A port that the trainer wants is in use: run only the script `train`."),
    # --- environments
    rule(
        r"Terminating workers due to an exception(?s:.)*^(?:EOFError|ConnectionResetError|BrokenPipeError)",
        "crashed",
        "The process of an environment died.",
    ),
    rule(
        r"Error in '_env_server'(?: \((?P<reason>[^\n]*)\))?",
        "crashed",
        "An environment raised an error: {reason}",
    ),
    rule(r"^(?:EOFError|ConnectionResetError|BrokenPipeError)\b", "crashed", "The process of an environment died."),
    # --- JAX, where nothing above says it better
    rule(
        r"(?:Xla|Jax)RuntimeError: (?P<code>[A-Z_]+)",
        "crashed",
        "JAX's runtime failed with {code}.",
    ),
)

# Errors of a program that is told to do something impossible; the same start fails the same way.
PERMANENT = frozenset(
    {
        "AssertionError",
        "AttributeError",
        "ImportError",
        "IndexError",
        "KeyError",
        "ModuleNotFoundError",
        "NameError",
        "NotImplementedError",
        "SyntaxError",
        "TypeError",
        "ValueError",
    }
)

_SIGNALS = frozenset(signals.Signals)
_TRACEBACK = "Traceback (most recent call last):"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_NAMED_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception): ")
_ERROR_LINE = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.MULTILINE)


def classify(
    exit_code: int | None,
    signal: int | None,
    text: str,
    started_training: bool,
    nan_seen: bool = False,
) -> Verdict:
    """Say how a trainer ended.

    Args:
        exit_code: None if it was ended by a signal, or if nobody saw it end.
        signal: the number of the signal that ended it, if one did.
        text: the tail of its standard output and error.
        started_training: whether it announced its training loop.
        nan_seen: whether its losses were NaN; the trainer itself may end well with them.
    """
    if signal is None and exit_code is not None and exit_code - 128 in _SIGNALS:
        signal = exit_code - 128  # what a shell makes of a signal; sys.exit(-1) is none
    if signal is None and exit_code is not None and exit_code < 0:
        signal = -exit_code  # what Python's subprocess makes of one
    if signal is None and exit_code == 0:
        if nan_seen:
            return Verdict("diverged", "The trainer ended normally, but its losses are NaN: the training diverged.")
        return Verdict("succeeded")
    if signal is None and exit_code is None:
        return Verdict("worker_lost", "Nobody saw the trainer end.")
    if signal is not None and signal in SENT:
        return Verdict(*SENT[signal])
    text = _COLOR.sub("", text).replace("\r\n", "\n")
    found = _match(text)
    if found is not None:
        return found
    if nan_seen:
        return Verdict("diverged", "The losses are NaN: the training diverged.", _evidence(_last_error(text)))
    if signal is not None:
        cause = SELF_INFLICTED.get(signal, f"The trainer was ended by {_signal_name(signal)}.")
        return Verdict("crashed", cause, _evidence(_last_line(text)))
    return _unknown(exit_code, text, started_training=started_training)


def normalise(text: str) -> str:
    """`text` without what differs between two equal failures: paths, addresses, long numbers."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x…", text)
    text = re.sub(r"(?<![\w.])/[^\s'\",:;()\[\]]+", "<path>", text)
    text = re.sub(r"\d+\.\d{3,}(?:[eE][+-]?\d+)?|\d{4,}", "#", text)
    text = " ".join(text.split())
    return text if len(text) <= QUOTE_CHARS else text[: QUOTE_CHARS - 1] + "…"


def _match(text: str) -> Verdict | None:
    # Libraries warn about what they then survive; the last traceback is what ended the process.
    start = text.rfind(_TRACEBACK)
    regions = [(text, RULES)]
    if start > 0:
        # Above it, the machine may say what the traceback does not. What the trainer was told to do wrong is in it.
        is_named = bool(_last_error(text))
        above = tuple(known for known in RULES if known.outcome != "misconfigured") if is_named else RULES
        regions = [(text[start:], RULES), (text, above)]
    for region, rules in regions:
        for known in rules:
            matches = list(known.pattern.finditer(region))
            if matches:
                groups = {name: normalise(value or "") for name, value in matches[-1].groupdict().items()}
                cause = normalise(_fill(known.cause, groups))
                evidence = _evidence(_lines_of(region, matches[-1]), _last_error(region))
                return Verdict(known.outcome, cause, evidence, known.is_node_suspect)
    return None


def _fill(template: str, groups: Mapping[str, str]) -> str:
    filled = template.format(**groups).strip()
    return filled if filled.endswith((".", "?")) else f"{filled.rstrip(':')}."


def _unknown(exit_code: int | None, text: str, *, started_training: bool) -> Verdict:
    error = _last_error(text)
    if not error:
        cause = f"The trainer ended with exit code {exit_code} and no error message; see stdout.log."
        return Verdict("crashed", cause, _evidence(_last_line(text)))
    kind = error.partition(":")[0].rpartition(".")[2]
    if kind in PERMANENT and not started_training:
        return Verdict("misconfigured", f"The trainer could not start: {normalise(error)}", _evidence(error))
    return Verdict("crashed", f"The trainer failed: {normalise(error)}", _evidence(error))


def _last_error(text: str) -> str:
    """The line that names the exception of the last traceback, or the last line of all where that is such a line."""
    start = text.rfind(_TRACEBACK)
    if start < 0:
        last = _last_line(text)
        return last if _NAMED_ERROR.match(last) else ""
    match = _ERROR_LINE.search(text, start + len(_TRACEBACK))
    return match.group(0) if match else ""


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _lines_of(text: str, match: re.Match[str]) -> str:
    """The last line that a match touches, whole."""
    start = text.rfind("\n", 0, max(match.end() - 1, 0)) + 1
    end = text.find("\n", match.end())
    return text[start : end if end >= 0 else None]


def _evidence(*lines: str) -> tuple[str, ...]:
    cut = (line.strip()[:QUOTE_CHARS] for line in lines)
    return tuple(dict.fromkeys(line for line in cut if line))


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
