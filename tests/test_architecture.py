"""What holds the packages together, read from their source: who imports whom, and who alone may know what."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregation.dataset.collect import collect
from sweeps import errors

CHECKOUT = Path(__file__).parent.parent
PACKAGES = ("sweeps", "aggregation", "orchestrator")
# Runs inside the trainer's own process, next to the trainer's own libraries; it is data to us.
EMBEDDED = CHECKOUT / "orchestrator/trainers/embedded"


def sources(package: str) -> list[Path]:
    """The modules of a package, without what runs inside the trainer."""
    return [path for path in sorted((CHECKOUT / package).rglob("*.py")) if not path.is_relative_to(EMBEDDED)]


SOURCES = [path for package in PACKAGES for path in sources(package)]


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


def imported(path: Path) -> set[str]:
    """Full names of every module that a file imports, inside functions too."""
    modules: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno} imports relatively"
            modules.update({node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)})
    return modules


def packages_imported(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imported(path)}


def importers(package: str) -> list[str]:
    return [name(path) for path in SOURCES if package in packages_imported(path)]


def strings(path: Path) -> Iterator[str]:
    """The string constants of a file that are not docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("sweeps", {"aggregation", "orchestrator"}), ("aggregation", {"orchestrator"})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_imports_go_one_way(package: str, forbidden: set[str]) -> None:
    """sweeps <- aggregation <- orchestrator, and never back."""
    backwards = {name(path): packages_imported(path) & forbidden for path in sources(package)}

    assert {path: found for path, found in backwards.items() if found} == {}


def test_the_rooms_of_aggregation_import_one_way() -> None:
    """From logs to what is drawn of them; the modules beside the rooms import none of them."""
    rooms = ["logs", "dataset", "sources", "evaluation", "curves", "ratio_study", "verdicts", "pictures", "report"]
    top = CHECKOUT / "aggregation"
    assert sorted(path.parent.name for path in top.glob("*/__init__.py")) == sorted(rooms)
    later = {"aggregation": rooms} | {room: rooms[place + 1 :] for place, room in enumerate(rooms)}
    backwards = [
        f"{name(path)} imports {module}"
        for path in sources("aggregation")
        for module in sorted(imported(path))
        if module.startswith(tuple(f"aggregation.{room}" for room in later[path.parent.name]))
    ]

    assert backwards == []


def test_no_package_imports_its_tests_or_benchmarks() -> None:
    """What is installed does not need what is not."""
    assert importers("tests") == importers("benchmarks") == importers("fakes") == []


def test_one_room_knows_ray() -> None:
    """A change of Ray is a change of one room."""
    assert {str(Path(name).parent) for name in importers("ray")} == {"orchestrator/on_ray"}


def test_one_file_knows_hydra() -> None:
    """A change of Hydra is a change of one file; only that and the reader of single files know its OmegaConf."""
    assert importers("hydra") == ["sweeps/config.py"]
    assert importers("omegaconf") == ["sweeps/config.py", "sweeps/config_tree.py"]


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("pyarrow", ["orchestrator/attempts/checkpoint_store.py"]),  # for its file systems
        ("duckdb", []),
        ("matplotlib", []),
        ("pandas", []),
    ],
)
def test_libraries_for_results_stay_in_aggregation(package: str, others: list[str]) -> None:
    """Neither the grid nor the orchestrator handles tables and pictures itself."""
    assert [path for path in importers(package) if not path.startswith("aggregation/")] == others


def test_the_heart_is_pure() -> None:
    """The machine and what it decides with import no clock, no files, no processes and no chance."""
    impure = {"time", "datetime", "os", "pathlib", "random", "socket", "subprocess", "threading", "uuid", "tempfile"}
    heart = [f"orchestrator/{part}.py" for part in ("machine", "policy", "states", "events", "commands", "outcomes")]
    found = {path: packages_imported(CHECKOUT / path) & impure for path in heart}

    assert found == {path: set() for path in heart}
    assert [path for path in heart if "orchestrator.clock" in imported(CHECKOUT / path)] == []


def test_sweeps_reads_no_clock_and_starts_nothing() -> None:
    """What to run is decided without a clock, a process or a thread."""
    impure = {"time", "datetime", "random", "socket", "subprocess", "threading", "tempfile"}

    assert {name(path): found for path in sources("sweeps") if (found := packages_imported(path) & impure)} == {}


def test_the_clock_is_read_in_one_file() -> None:
    """Decisions take time as data. The guard, which imports nothing of ours, reads the clock for itself."""
    readers = {"time.time", "time.monotonic", "time.sleep", "time.time_ns", "datetime.now", "datetime.utcnow"}
    found = [
        name(path)
        for path in SOURCES
        if any(ast.unparse(node) in readers for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute))
        or imported(path) & {"time.time", "time.monotonic", "time.sleep"}
    ]

    assert found == ["orchestrator/attempts/guard.py", "orchestrator/clock.py"]


def test_the_guard_needs_nothing_but_the_standard_library() -> None:
    """It is started by its path under `python -I -S`, where no package can be found."""
    assert packages_imported(CHECKOUT / "orchestrator/attempts/guard.py") <= set(sys.stdlib_module_names)


def test_the_orchestrator_asks_the_layout_for_paths() -> None:
    """The names of our own files in a sweep root stand in sweeps/layout.py."""
    of_root = {"sweep.yaml", "journal.jsonl", "launches.jsonl", "orchestrator.lock", "orchestrator.exit.json"}
    of_root |= {"runs.parquet", "faults.parquet", ".collected", ".adopting", "night.json", "history.parquet"}
    of_run = {"run.json", "attempts.jsonl", "stdout.log"}
    found = {name(path) for path in SOURCES for text in strings(path) if text in of_root}
    paths = [*sources("sweeps"), *sources("orchestrator")]
    found |= {name(path) for path in paths for text in strings(path) if text in of_run}

    assert found == {"sweeps/layout.py"}


def test_no_shell_is_involved() -> None:
    """Programs are started from lists of words."""
    calls = [node for path in SOURCES for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    shells = [ast.unparse(call) for call in calls if any(keyword.arg == "shell" for keyword in call.keywords)]

    assert shells == []
    assert [call for call in map(ast.unparse, calls) if call.startswith(("os.system(", "os.popen("))] == []


def test_every_error_is_drawn_in_the_tree() -> None:
    """The docstring of sweeps/errors.py shows each error class, wherever it is defined, under its parent."""
    bases = {
        node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    parents = {"DreamsweepError": "Exception"}
    while found := {
        name: base for name, known in bases.items() if name not in parents for base in known if base in parents
    }:
        parents |= found
    assert errors.__doc__ is not None
    drawn = {"DreamsweepError": "Exception"}
    open_at = [(-1, "DreamsweepError")]
    for line in errors.__doc__.splitlines():
        if branch := re.match(r"(.*[├└]── )(\w+)", line):
            depth = len(branch[1])
            open_at = [(other, parent) for other, parent in open_at if other < depth]
            drawn[branch[2]] = open_at[-1][1]
            open_at.append((depth, branch[2]))

    assert drawn == parents


def test_files_are_named_by_what_they_hold() -> None:
    """No file is a drawer for everything."""
    drawers = {"utils", "util", "helpers", "common", "manager", "base", "misc", "data", "info"}
    paths = [path for top in (*PACKAGES, "tests", "benchmarks") for path in (CHECKOUT / top).rglob("*.py")]

    assert [name(path) for path in paths if drawers & set(path.stem.split("_"))] == []


def test_conf_is_data_only() -> None:
    """The config tree holds YAML and nothing that runs."""
    files = [path for path in (CHECKOUT / "conf").rglob("*") if path.is_file() and "__pycache__" not in path.parts]

    assert [name(path) for path in files if path.suffix != ".yaml"] == []


def test_every_module_says_what_it_is() -> None:
    """Each module starts with a docstring."""
    assert [name(path) for path in SOURCES if not ast.get_docstring(tree(path))] == []


@pytest.mark.parametrize(
    ("words", "slow"),
    [
        (["plan"], {"ray", "pandas", "pyarrow", "duckdb", "matplotlib", "jax"}),
        (["aggregate", "logs", "--store", "store"], {"ray", "pandas", "duckdb", "matplotlib", "jax", "hydra"}),
        (["export", "store"], {"ray", "pandas", "duckdb", "matplotlib", "jax", "hydra"}),
        (["table", "store"], {"ray", "pandas", "duckdb", "matplotlib", "jax", "hydra"}),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_a_command_imports_only_what_it_needs(words: list[str], slow: set[str], tmp_path: Path) -> None:
    """Commands that are called every minute, or for a quick look, answer at once."""
    log = tmp_path / "logs" / "dmc_walker_walk" / "dreamerv3" / "0" / "scores.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 1000, "episode/score": 12.5}\n')
    collect([tmp_path / "logs"], tmp_path / "store")
    words = [str(tmp_path / word) if word in ("logs", "store") else word for word in words]
    program = (
        "import contextlib, io, sys; from orchestrator.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): code = main({words!r})\n"
        f"print(code, sorted({slow!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "0 []\n"
