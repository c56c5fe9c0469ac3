"""The endings of the official trainer, as measured: one case per kind, with the text that it prints."""

import signal

import pytest

from orchestrator.outcomes import Outcome, Verdict
from orchestrator.trainers.signatures import RULES, classify, normalise

TRACEBACK = "Traceback (most recent call last):\n"


def failed(text: str, *, exit_code: int = 1, started: bool = False) -> Verdict:
    return classify(exit_code, None, text, started)


def in_function(function: str, error: str, *, source: str = "...") -> str:
    return f'{TRACEBACK}  File "/home/me/dreamerv3/main.py", line 175, in {function}\n    {source}\n{error}\n'


# What it is, its text, whether training had begun, the outcome, and a part of the cause.
ENDINGS: list[tuple[str, str, bool, Outcome, str]] = [
    ("unknown suite", in_function("make_env", "KeyError: 'foo'"), False, "misconfigured", "no suite 'foo'"),
    (
        "task without suite",
        in_function("make_env", "ValueError: not enough values to unpack (expected 2, got 1)"),
        False,
        "misconfigured",
        "suite_task",
    ),
    (
        "unknown gym id",
        in_function("make", "gymnasium.error.NameNotFound: Environment `Nope` doesn't exist."),
        False,
        "misconfigured",
        "Environment `Nope` doesn't exist.",
    ),
    (
        "unknown gym version",
        in_function("make", "gymnasium.error.VersionNotFound: Environment version `v9` for environment `CartPole`"),
        False,
        "misconfigured",
        "version `v9`",
    ),
    (
        "unknown dmc task",
        in_function("load", "ValueError: Level 'nope' does not exist in domain 'walker'."),
        False,
        "misconfigured",
        "Level 'nope' does not exist in domain 'walker'.",
    ),
    (
        "published name of a dmc task",
        in_function("load", "ValueError: Domain 'ball' does not exist."),
        False,
        "misconfigured",
        "dmc_cup_catch",
    ),
    (
        "unknown crafter task",
        in_function("__init__", "AssertionError", source="assert task in ('reward', 'noreward')"),
        False,
        "misconfigured",
        "crafter_reward",
    ),
    (
        "unknown game",
        in_function("_rom", "ValueError: Unknown Atari game 'nope'; allowed: adventure, alien."),
        False,
        "misconfigured",
        "Unknown Atari game 'nope'",
    ),
    (
        "missing package",
        in_function("<module>", "ModuleNotFoundError: No module named 'ale_py'"),
        False,
        "misconfigured",
        "The package 'ale_py' is missing in the trainer's environment: pip install 'dreamsweep[atari]'.",
    ),
    (
        "missing package of ours",
        in_function(
            "require",
            "ModuleNotFoundError: dm_control is not installed; install the extra: pip install 'dreamsweep[dmc]'",
        ),
        False,
        "misconfigured",
        "The package dm_control is missing in the trainer's environment: pip install 'dreamsweep[dmc]'.",
    ),
    (
        "any other missing package",
        in_function("<module>", "ModuleNotFoundError: No module named 'my_envs.maze'"),
        False,
        "misconfigured",
        "'my_envs.maze' is missing",
    ),
    (
        "suite without environment",
        in_function("import_module", "ModuleNotFoundError: No module named 'embodied.envs.dmlab'"),
        False,
        "misconfigured",
        "no environment for the suite 'dmlab'",
    ),
    (
        "package that gymnasium wants",
        in_function("<module>", "gymnasium.error.DependencyNotInstalled: Box2D is not installed, you can install it"),
        False,
        "misconfigured",
        "The package Box2D is missing",
    ),
    (
        "newer mujoco",
        in_function("<module>", "AttributeError: 'MjModel' object has no attribute 'flex_vertedge'"),
        False,
        "misconfigured",
        "mujoco<4",
    ),
    (
        "newer ale-py",
        in_function("__init__", "TypeError: setInt(): incompatible function arguments."),
        False,
        "misconfigured",
        "ale-py<0.12",
    ),
    (
        "newer jax",
        in_function("init", "TypeError: jit() takes from 0 to 1 positional arguments but 5 were given"),
        False,
        "misconfigured",
        "JAX is too new",
    ),
    (
        "unknown flag",
        in_function("parse", "KeyError: \"Flag '--x' did not match any config keys.\""),
        False,
        "misconfigured",
        "no option --x",
    ),
    (
        "unknown config block",
        in_function("main", "KeyError: 'nope'", source="config = config.update(configs[name])"),
        False,
        "misconfigured",
        "no block 'nope'",
    ),
    (
        "value of the wrong type",
        in_function("_parse", "TypeError: Expected int but got '1.5' for key 'run.envs'."),
        False,
        "misconfigured",
        "Expected int but got '1.5' for key 'run.envs'.",
    ),
    (
        "flag without value",
        in_function("parse", "ValueError: Could not parse all arguments. Remaining: ['--run.envs']"),
        False,
        "misconfigured",
        "['--run.envs']",
    ),
    (
        "report longer than a batch",
        "Error in '_worker' (AssertionError: (32, 1, 1, 17))\n",
        True,
        "misconfigured",
        "report_length",
    ),
    (
        "replay smaller than a batch",
        in_function("make_replay", "AssertionError", source="assert config.batch_size * length <= capacity"),
        False,
        "misconfigured",
        "replay.size",
    ),
    (
        "no gpu",
        in_function("default_backend", "AssertionError", source="assert _default_backend is not None"),
        False,
        "misconfigured",
        "JAX finds no GPU",
    ),
    (
        "unknown platform",
        in_function("backends", "RuntimeError: Unable to initialize backend 'rocm': not in the list"),
        False,
        "misconfigured",
        "platform 'rocm'",
    ),
    (
        "checkpoint of another width",
        "Error loading 'agent' from checkpoint.\n"
        + in_function(
            "load",
            "AssertionError: [Chex] Assertion assert_trees_all_equal_shapes failed: ... shapes: (16, 2) != (8, 2)",
        ),
        False,
        "misconfigured",
        "another network",
    ),
    (
        "latest names a folder without done",
        in_function("load", "AssertionError: /data/runs/1/ckpt/20260501T101010F000001"),
        False,
        "crashed",
        "The checkpoint cannot be read",
    ),
    ("latest is empty", in_function("load", "AssertionError: /data/1/checkpoint.pkl"), False, "crashed", "cannot be"),
    (
        "truncated pickle",
        in_function("load", "_pickle.UnpicklingError: pickle data was truncated"),
        False,
        "crashed",
        "The checkpoint cannot be read",
    ),
    (
        "poisoned by the profiler",
        in_function("train", "RuntimeError: No profile started"),
        True,
        "crashed",
        "profiler: False",
    ),
    (
        "two trainers in one folder",
        in_function("write", "FileNotFoundError: [Errno 2] No such file or directory: '/r/1/ckpt/2026/replay.pkl'"),
        True,
        "crashed",
        "two trainers",
    ),
    (
        "environment process died",
        "Terminating workers due to an exception.\n" + in_function("_receive", "EOFError"),
        True,
        "crashed",
        "The process of an environment died.",
    ),
    (
        "environment process killed",
        "Terminating workers due to an exception.\n"
        + in_function("_receive", "ConnectionResetError: [Errno 104] Connection reset by peer"),
        True,
        "crashed",
        "The process of an environment died.",
    ),
    (
        "environment raised in its process",
        "Error in '_env_server' (ValueError: bad level)\n" + in_function("_receive", "RuntimeError: bad level"),
        True,
        "crashed",
        "ValueError: bad level",
    ),
    (
        "environment raised",
        in_function("step", "my_envs.errors.LevelError: level 3 is broken"),
        True,
        "crashed",
        "LevelError: level 3 is broken",
    ),
    (
        "NaN from the environment",
        in_function("policy", "AssertionError: (array([nan, 0.1], dtype=float32), 'vector', Space(float32))"),
        True,
        "diverged",
        "The environment returned",
    ),
    (
        "NaN in the world model",
        in_function(
            "policy",
            "AssertionError: {'act/action': array([ True]), 'feat/deter': array([False]), 'obs/x': array([ True])}",
        ),
        True,
        "diverged",
        "The networks' activations",
    ),
    ("no memory", in_function("step", "MemoryError"), True, "out_of_memory", "The host's memory"),
    (
        "no memory for an array",
        in_function("add", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2.0 GiB"),
        True,
        "out_of_memory",
        "The host's memory",
    ),
    (
        "no memory for a thread",
        "LLVM ERROR: pthread_create failed: Resource temporarily unavailable\n",
        False,
        "out_of_memory",
        "threads",
    ),
    ("native allocation", "terminate called\n  what():  std::bad_alloc\n", False, "out_of_memory", "The host's memory"),
    (
        "gpu memory",
        in_function(
            "train",
            "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.",
        ),
        True,
        "out_of_memory",
        "The GPU's memory",
    ),
    (
        "gpu memory, newer jax",
        in_function("train", "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 3.0GiB"),
        True,
        "out_of_memory",
        "The GPU's memory",
    ),
    (
        "cudnn without memory",
        "E1121 cuda_dnn.cc:535] Could not create cudnn handle: CUDNN_STATUS_INTERNAL_ERROR\n",
        False,
        "out_of_memory",
        "cuDNN",
    ),
    (
        "gpu gone",
        in_function("train", "XlaRuntimeError: INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error"),
        True,
        "crashed",
        "The GPU failed",
    ),
    (
        "gpu fault",
        in_function("train", "XlaRuntimeError: INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"),
        True,
        "crashed",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
    ),
    (
        "gpus out of contact",
        in_function("train", "XlaRuntimeError: INTERNAL: NCCL operation ncclAllReduce failed: unhandled system error"),
        True,
        "crashed",
        "NCCL",
    ),
    (
        "old driver",
        in_function("backends", "RuntimeError: CUDA driver version is insufficient for CUDA runtime version"),
        False,
        "misconfigured",
        "driver",
    ),
    (
        "any failure of jax",
        in_function("train", "jaxlib.xla_extension.XlaRuntimeError: UNAVAILABLE: heartbeat timeout"),
        True,
        "crashed",
        "JAX's runtime failed with UNAVAILABLE.",
    ),
    (
        "disk full",
        "Error save 'agent' to checkpoint.\n"
        + in_function("_write", "OSError: [Errno 28] No space left on device: '/data/ckpt/x'"),
        True,
        "disk_full",
        "The disk is full",
    ),
    (
        "disk full while profiling",
        in_function("stop_trace", "XlaRuntimeError: RESOURCE_EXHAUSTED: /r/plugins/profile/vm.xplane.pb; Disk"),
        True,
        "disk_full",
        "The disk is full",
    ),
    (
        "quota",
        in_function("_write", "OSError: [Errno 122] Disk quota exceeded"),
        True,
        "disk_full",
        "quota",
    ),
    (
        "port in use",
        in_function("bind", "OSError: [Errno 98] Address already in use"),
        False,
        "crashed",
        "port",
    ),
    (
        "no such script",
        "python: can't open file '/home/me/repo/dreamerv3/main.py': [Errno 2] No such file or directory\n",
        False,
        "misconfigured",
        "trainer.repo",
    ),
    (
        "no such interpreter",
        "cannot start '/home/me/.venv/bin/python' in '/root/runs/gym/task/label/0': No such file or directory\n",
        False,
        "misconfigured",
        "The program 'python' cannot be started: No such file or directory.",
    ),
    (
        "no such program",
        "python: can't open file '/root/runs/gym/task/label/0/train.py': [Errno 2] No such file or directory\n",
        False,
        "misconfigured",
        "train.py is not there, seen from the folder of its run",
    ),
    (
        "no graphics",
        in_function("__init__", "ImportError: Cannot initialize a EGL device display."),
        False,
        "misconfigured",
        "MuJoCo cannot draw",
    ),
]


@pytest.mark.parametrize(
    ("text", "started", "outcome", "cause"), [case[1:] for case in ENDINGS], ids=[case[0] for case in ENDINGS]
)
def test_known_ending_is_recognised(text: str, started: bool, outcome: Outcome, cause: str) -> None:
    """Each signature gives its outcome and a cause that a person can act on, with the line as evidence."""
    verdict = failed(text, started=started)

    assert verdict.outcome == outcome
    assert cause in verdict.cause
    assert "/home/me" not in verdict.cause
    assert verdict.evidence
    assert all(line in text for line in verdict.evidence)


def test_every_case_prints_colours_and_carriage_returns_too() -> None:
    """Coloured output, as of the trainer's traceback hook, is read like plain one."""
    for name, text, started, outcome, _ in ENDINGS:
        coloured = "\x1b[31m" + text.replace("\n", "\x1b[0m\r\n")

        assert failed(coloured, started=started).outcome == outcome, name


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (signal.SIGTERM, "preempted"),
        (signal.SIGINT, "crashed"),
        (signal.SIGHUP, "worker_lost"),
        (signal.SIGKILL, "out_of_memory"),
        (signal.SIGUSR1, "preempted"),
        (signal.SIGXCPU, "preempted"),
        (signal.SIGSEGV, "crashed"),
        (signal.SIGABRT, "crashed"),
        (signal.SIGBUS, "crashed"),
        (signal.SIGRTMIN, "crashed"),
    ],
)
def test_signal_decides_without_output(number: int, outcome: Outcome) -> None:
    """A trainer that a signal ended is judged by it, in whichever of three ways the signal is reported."""
    expected = classify(None, number, "", True)

    assert expected.outcome == outcome
    assert classify(128 + number, None, "", True) == expected
    assert classify(-number, None, "", True) == expected


def test_abort_is_explained_by_what_was_printed() -> None:
    """SIGABRT says nothing by itself; the library's last words do."""
    text = "LLVM ERROR: pthread_create failed: Resource temporarily unavailable"

    assert classify(134, None, text, False).outcome == "out_of_memory"


def test_exit_code_zero_is_success_unless_the_losses_were_nan() -> None:
    """The trainer may end with code 0 although NaN losses made its scores garbage."""
    assert classify(0, None, "whatever it printed\nMemoryError\n", True) == Verdict("succeeded")
    assert classify(0, None, "", True, nan_seen=True).outcome == "diverged"


def test_nan_losses_explain_an_unknown_failure() -> None:
    """A crash after NaN losses is a divergence, unless the output names another cause."""
    unknown = in_function("train", "RuntimeError: something")
    full = in_function("_write", "OSError: [Errno 28] No space left on device")

    assert classify(1, None, unknown, True, nan_seen=True).outcome == "diverged"
    assert classify(1, None, full, True, nan_seen=True).outcome == "disk_full"


def test_unseen_ending_is_a_lost_worker() -> None:
    """Without exit code and signal, whoever watched the trainer is gone."""
    assert classify(None, None, "", True).outcome == "worker_lost"


def test_unknown_error_is_permanent_only_before_training() -> None:
    """An error of Python's own kinds during the start repeats itself; the same while training may not."""
    text = in_function("build", "ValueError: layers must be 3 (got 5000)")

    assert failed(text) == Verdict(
        "misconfigured",
        "The trainer could not start: ValueError: layers must be 3 (got #)",
        ("ValueError: layers must be 3 (got 5000)",),
    )
    assert failed(text, started=True).outcome == "crashed"


def test_silent_failure_quotes_the_last_line() -> None:
    """An exit code without any traceback still shows what was printed last."""
    verdict = failed("Compiling train...\nsomething odd\n\n", exit_code=7)

    cause = "The trainer ended with exit code 7 and no error message; see stdout.log."
    assert verdict == Verdict("crashed", cause, ("something odd",))


def test_an_error_without_a_traceback_is_named() -> None:
    """A program may catch its error and print only what it is."""
    verdict = failed("step 1000\nValueError: boom\n", exit_code=3, started=True)

    assert verdict == Verdict("crashed", "The trainer failed: ValueError: boom", ("ValueError: boom",))


def test_last_traceback_beats_earlier_warnings() -> None:
    """Libraries print errors that they survive, such as a GPU allocation that is then made smaller."""
    text = "E cuda: failed to allocate 12GiB: CUDA_ERROR_OUT_OF_MEMORY: out of memory\n" + in_function(
        "_write", "OSError: [Errno 28] No space left on device"
    )

    assert failed(text, started=True).outcome == "disk_full"


@pytest.mark.parametrize(
    "warning",
    [
        "matplotlib: mkdir -p failed for path /root/.config: [Errno 13] Permission denied",
        "W cuda_diagnostics.cc: failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
        "INFO: Unable to initialize backend 'tpu': UNIMPLEMENTED",
        "gpu7:4012 [0] NCCL INFO Bootstrap : Using eth0",
    ],
)
@pytest.mark.parametrize("started", [False, True])
def test_a_warning_that_was_survived_is_no_reason(warning: str, started: bool) -> None:
    """Such a run is worth a retry, and neither its group nor its node is held back for it."""
    text = f"{warning}\n" + in_function("step", "RuntimeError: solver lost its state")

    verdict = failed(text, started=started)

    assert verdict.outcome == "crashed"
    assert verdict.cause == "The trainer failed: RuntimeError: solver lost its state"
    assert not verdict.is_node_suspect


def test_what_the_machine_said_before_the_traceback_counts() -> None:
    """The main thread often raises something else than the thread that met the full disk."""
    text = in_function("_write", "OSError: [Errno 28] No space left on device") + in_function(
        "run", "RuntimeError: a worker died"
    )

    assert failed(text, started=True).outcome == "disk_full"


@pytest.mark.parametrize(("exit_code", "outcome"), [(137, "out_of_memory"), (255, "crashed"), (193, "crashed")])
def test_only_the_numbers_of_signals_are_signals(exit_code: int, outcome: Outcome) -> None:
    """255 is what `sys.exit(-1)` makes; its message is the cause."""
    verdict = failed(in_function("step", "RuntimeError: boom"), exit_code=exit_code, started=True)

    assert verdict.outcome == outcome
    assert ("RuntimeError: boom" in verdict.cause) == (outcome == "crashed")


def test_equal_failures_have_equal_causes() -> None:
    """What differs between two runs (paths, addresses, sizes) is not part of the cause."""
    texts = [
        in_function("f", f"OSError: cannot map {size} bytes of /data/{seed}/x.bin at {address}")
        for size, seed, address in ((1_048_576, 0, "0x7f01"), (2_097_152, 1, "0x7f99"))
    ]

    first, second = (failed(text, started=True) for text in texts)

    assert first.cause == second.cause == "The trainer failed: OSError: cannot map # bytes of <path> at 0x…"
    assert first.evidence != second.evidence


def test_long_messages_are_cut() -> None:
    """A message of several kilobytes, such as a dump of parameters, stays readable."""
    verdict = failed(in_function("f", "RuntimeError: " + "x " * 5000), started=True)

    assert len(verdict.cause) < 400
    assert all(len(line) <= 300 for line in verdict.evidence)


def test_normalise_keeps_short_numbers_and_names() -> None:
    """Small counts, versions and task names carry meaning and stay."""
    assert normalise("expected 2, got 1 for gym_CartPole-v1 (1.5)") == "expected 2, got 1 for gym_CartPole-v1 (1.5)"


def test_causes_only_use_groups_of_their_pattern() -> None:
    """Every cause can be filled from its own pattern."""
    for known in RULES:
        known.cause.format(**dict.fromkeys(known.pattern.groupindex, ""))
