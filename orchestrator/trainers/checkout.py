"""The code of a checkout of DreamerV3 or of a fork: as it lies there, or exactly one revision of it.

A revision's files are written once, under the commit's name, where they do not dirty the checkout:

    <repo>/.git/dreamsweep/<commit>/        else, where that cannot be written,
    ~/.cache/dreamsweep/<commit>/
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Protocol

from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.contracts import TrainerSource
from sweeps.errors import TrainerError

_CONFIGS = "dreamerv3/configs.yaml"
_FILES = ("dreamerv3/main.py", _CONFIGS)
_SHOWN_NAMES = 10


class TrainerCode(Protocol):
    """Where the trainer's code lies."""

    def source(self) -> TrainerSource:
        """Which code it is."""
        ...

    def configs(self) -> TrainerConfigs:
        """Its own configs.yaml."""
        ...

    def folder(self, revision: str) -> Path:
        """The folder with its files, for a run of this revision; made where it is not there yet."""
        ...


class Checkout:
    """The checkout as it is."""

    def __init__(self, repo: Path, name: str) -> None:
        """Look for the code.

        Args:
            name: the repo as the user wrote it.

        Raises:
            TrainerError: it is not there.
        """
        self._repo = repo
        for file in _FILES:
            if not (repo / file).is_file():
                raise TrainerError(
                    f"trainer.repo={name!r} is no checkout of DreamerV3: {repo / file} is missing. Expected the "
                    f"folder that holds dreamerv3/main.py."
                )

    def source(self) -> TrainerSource:
        """The commit, and whether the checkout holds changes; a folder without git has neither."""
        revision, dirty = "", False
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            revision = _git(self._repo, "rev-parse", "HEAD").strip()
            # Untracked files do not count: users keep logs and environments in their checkout.
            dirty = bool(_git(self._repo, "status", "--porcelain", "--untracked-files=no").strip())
        return TrainerSource(adapter="dreamerv3", location=str(self._repo), revision=revision, dirty=dirty)

    def configs(self) -> TrainerConfigs:
        return TrainerConfigs.read(self._repo / _CONFIGS)

    def folder(self, revision: str) -> Path:  # noqa: ARG002 - whatever it holds now
        return self._repo


class PinnedCheckout:
    """One revision of a repository, whatever is checked out there."""

    def __init__(self, repo: Path, revision: str) -> None:
        self._repo = repo
        self._revision = revision

    @cached_property
    def _commit(self) -> str:
        try:
            top = _git(self._repo, "rev-parse", "--git-dir")
        except (OSError, subprocess.CalledProcessError):
            top = ""
        if not top:
            raise TrainerError(
                f"trainer.revision={self._revision!r} needs git, and a git repository as trainer.repo; "
                f"{self._repo} is none. Leave trainer.revision out for the folder as it is."
            )
        for name in (self._revision, f"origin/{self._revision}"):
            with contextlib.suppress(subprocess.CalledProcessError):
                return _git(
                    self._repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
                ).strip()
        names = _git(self._repo, "for-each-ref", "--format=%(refname:short)", "--sort=-creatordate").split()
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        raise TrainerError(
            f"trainer.revision={self._revision!r} is no commit, tag or branch of {self._repo}. There are "
            f"{', '.join(names[:_SHOWN_NAMES])}{more}; what lies elsewhere must be fetched first."
        )

    @cached_property
    def _prefix(self) -> str:
        """Where in its repository the folder lies: empty at the top."""
        return _git(self._repo, "rev-parse", "--show-prefix").strip()

    def source(self) -> TrainerSource:
        for file in _FILES:
            try:
                _git(self._repo, "cat-file", "-e", f"{self._commit}:{self._prefix}{file}")
            except subprocess.CalledProcessError:
                raise TrainerError(
                    f"trainer.revision={self._revision!r} of {self._repo} is no DreamerV3: it has no "
                    f"{self._prefix}{file}."
                ) from None
        return TrainerSource(adapter="dreamerv3", location=str(self._repo), revision=self._commit)

    def configs(self) -> TrainerConfigs:
        return self._configs

    @cached_property
    def _configs(self) -> TrainerConfigs:
        self.source()
        text = _git(self._repo, "show", f"{self._commit}:{self._prefix}{_CONFIGS}")
        return TrainerConfigs.parse(text, Path(f"{self._repo}@{self._commit[:12]}") / _CONFIGS)

    def folder(self, revision: str) -> Path:
        # A branch may have moved on since the run was planned: the run's own commit counts.
        commit = revision or self._commit
        last: OSError | None = None
        for place in self._places():
            target = place / commit
            try:
                if not target.is_dir():
                    _write_files(self._repo, commit, target)
            except OSError as error:
                last = error
                continue
            except subprocess.CalledProcessError as error:
                raise TrainerError(
                    f"The revision {commit} of {self._repo} cannot be checked out: {error.stderr.strip()}."
                ) from None
            return target / self._prefix
        raise TrainerError(f"The revision {commit} of {self._repo} can be written nowhere: {last}.")

    def _places(self) -> list[Path]:
        git_dir = self._repo / _git(self._repo, "rev-parse", "--git-common-dir").strip()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return [git_dir / "dreamsweep", cache / "dreamsweep"]


def _write_files(repo: Path, commit: str, target: Path) -> None:
    """Write the files of a commit beside their place and move them there; who is second takes what the first made.

    Raises:
        OSError: the place cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made:
        files = Path(made) / "files"
        # An index of its own: neither the checkout nor its index is touched, nor are worktrees registered.
        environ = {**os.environ, "GIT_INDEX_FILE": str(Path(made) / "index")}
        _git(repo, "read-tree", commit, environ=environ)
        _git(repo, "--work-tree", made, "checkout-index", "--all", f"--prefix={files}/", environ=environ)
        try:
            files.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(files, ignore_errors=True)


def _git(folder: Path, *words: str, environ: dict[str, str] | None = None) -> str:
    # A shared checkout is often owned by somebody else, which git would refuse to read.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout
