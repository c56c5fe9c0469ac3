"""Installs the embedded trainer: the published package, completed so that it behaves like a checkout.

The package on the registry holds the algorithm and lacks the hyperparameters and the environments. Installed:

    <into>/dreamerv3/       main.py, agent.py, rssm.py  from the package
                            configs.yaml, start.py      ours, from embedded/
    <into>/embodied/        the package's library, and envs/ from embedded/
    <into>/dreamsweep.json  what was installed and its digest; written last

The parent of `<into>` stays free of Python packages, because main.py puts it on the import path.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sweeps.errors import TrainerError
from sweeps.files import make_durable

VERSION = "3.3.0"
#: Of the published source archive; there is no wheel of this version.
SHA256 = "35cfeecc6c06c5fa251a0a70667b23be49132124d162dba6eee608c662f687c2"

EMBEDDED = Path(__file__).parent / "embedded"
MARKER = "dreamsweep.json"
#: What a run executes: the folders whose content makes the digest.
PACKAGES = ("dreamerv3", "embodied")
#: Where each of our files goes.
PLACES = {"configs.yaml": "dreamerv3", "start.py": "dreamerv3", "envs": "embodied"}

log = logging.getLogger(__name__)


def default_location() -> Path:
    """Where the embedded trainer of this interpreter lives."""
    return Path(sys.prefix) / "share" / "dreamsweep" / "trainers" / f"dreamer-{VERSION}"


def is_installed(path: Path) -> bool:
    """Whether `path` holds a whole, unchanged trainer made of this version's files."""
    marker = _marker(path)
    return marker is not None and marker == _expected(path)


def revision(path: Path) -> str:
    """The version and the digest of the code at `path`, for the identity of runs: `dreamer-3.3.0+1a2b3c4d`.

    Raises:
        TrainerError: no trainer was installed there.
    """
    marker = _marker(path)
    if marker is None:
        raise TrainerError(f"There is no trainer in {path}. Install it: dreamsweep trainer install.")
    return f"dreamer-{marker.get('version')}+{_digest(path, PACKAGES)[:8]}"


def install(into: Path | None = None, *, python: str = sys.executable, timeout_s: float = 300.0) -> Path:
    """Put the trainer into `into` (default: `default_location()`) and return that folder.

    A whole installation of the same content is left alone; anything else that dreamsweep installed there is replaced,
    in one step, so that a run never sees half of it. `python` is the interpreter whose pip fetches the package.

    Raises:
        TrainerError: pip failed, or the folder cannot be written, or holds something that dreamsweep did not put there.
    """
    into = (into or default_location()).absolute()
    if is_installed(into):
        log.debug("The trainer in %s is up to date.", into)
        return into
    if not _is_ours(into):
        raise TrainerError(
            f"{into} holds something that dreamsweep did not install; name an empty folder or one that does not exist."
        )
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename; the name cannot be imported.
        with tempfile.TemporaryDirectory(prefix=f".{into.name}-", dir=into.parent) as scratch:
            built = Path(scratch) / "new"
            _build(built, python=python, timeout_s=timeout_s)
            _swap(built, into, Path(scratch) / "old")
    except OSError as error:
        raise TrainerError(f"The trainer cannot be installed into {into}: {error}. Name another folder.") from error
    log.info("Installed the trainer %s in %s.", revision(into), into)
    return into


def _is_ours(into: Path) -> bool:
    """Whether `into` may be replaced: a checkout that someone works in must never be."""
    if into == default_location() or (into / MARKER).exists() or not into.exists():
        return True
    return into.is_dir() and not any(into.iterdir())


def _build(folder: Path, *, python: str, timeout_s: float) -> None:
    log.info("Fetching dreamer %s with pip.", VERSION)
    _pip_install(folder, python=python, timeout_s=timeout_s)
    for name, place in PLACES.items():
        source, target = EMBEDDED / name, folder / place / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
    (folder / MARKER).write_text(json.dumps(_expected(folder)) + "\n", encoding="utf-8")
    for path in folder.rglob("*"):
        make_durable(path)
    make_durable(folder)


def _pip_install(target: Path, *, python: str, timeout_s: float) -> None:
    requirements = target.parent / "requirements.txt"
    requirements.write_text(f"dreamer=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    # fmt: off
    command = [
        python, "-m", "pip", "--no-input", "--disable-pip-version-check", "install", "--quiet",
        "--require-hashes", "--no-deps", "--no-compile", "--use-pep517",
        "--target", str(target), "--requirement", str(requirements),
    ]
    # fmt: on
    # A user's settings for where packages go (PIP_USER, PIP_PREFIX) would contradict --target.
    environ = {
        name: value for name, value in os.environ.items() if name not in ("PIP_USER", "PIP_PREFIX", "PIP_TARGET")
    }
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TrainerError(
            f"pip did not fetch dreamer {VERSION} within {timeout_s:g} s. Check the connection to the package index."
        ) from None
    if done.returncode != 0:
        raise TrainerError(_pip_failure(done.stdout, python))


def _pip_failure(output: str, python: str) -> str:
    last = "\n".join(f"  {line}" for line in output.strip().splitlines()[-8:])
    if "No module named pip" in output:
        advice = f"Give that interpreter pip ({python} -m ensurepip), or name another one."
    elif "DO NOT MATCH" in output:
        advice = "The package index served another file than the published one. Use the official index."
    else:
        advice = "Check the connection to the package index and pip's configuration (pip config list)."
    return f"pip could not install dreamer {VERSION} with {python}:\n{last}\n{advice}"


def _swap(built: Path, into: Path, old: Path) -> None:
    """Put `built` in the place of `into`; whoever else just did the same first is left alone."""
    if into.exists():
        into.rename(old)
    try:
        built.rename(into)
    except OSError:
        if not is_installed(into):
            raise
    make_durable(into.parent)


def _marker(path: Path) -> dict[str, str] | None:
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _expected(path: Path) -> dict[str, str]:
    """The marker of a trainer made of this version's files, were it the one at `path`."""
    return {"version": VERSION, "embedded": _digest(EMBEDDED, PLACES), "digest": _digest(path, PACKAGES)}


def _digest(folder: Path, names: Iterable[str]) -> str:
    """A fingerprint of the files under the named parts of `folder`; compiled Python does not count."""
    digest = hashlib.sha256()
    for name in names:
        part = folder / name
        paths = sorted(part.rglob("*")) if part.is_dir() else [part]
        for path in paths:
            if path.is_file() and path.suffix != ".pyc":
                content = path.read_bytes()
                digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()
