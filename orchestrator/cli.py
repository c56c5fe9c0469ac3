"""The command line: reads the words, hands them to the commands, and turns every known error into a sentence.

Exit codes: 0 all well, 1 a usage or configuration error, 2 finished with failed runs, 3 interrupted (safe to run
again), 4 a confirmed regression of `nightly`, or a worse side of `compare --check`.
"""

import argparse
import codecs
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sweeps.errors import DreamsweepError

_EPILOG = """\
examples:
  dreamsweep plan suite=dmc_proprio task=dmc_walker_walk,dmc_cheetah_run train_ratio=32,512 'seed=range(0,5)'
  dreamsweep run experiment=quickstart
  dreamsweep run suite=atari100k cluster=ray resources.gpus=1 root=/shared/results/atari100k
  dreamsweep run trainer=dreamerv3 trainer.repo=~/dreamerv3 suite=dmc_proprio task='dmc_walker_*'
"""


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from orchestrator.version import version

        print(f"dreamsweep {version()}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        # An abbreviation would change its meaning with the next option that begins alike.
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no ± gets a ?, and a folder's name that is no UTF-8 comes out as it went in.
        speaks_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if speaks_utf8 else "replace")
    parser = _build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if not hasattr(arguments, "overrides"):
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    else:
        # Overrides and options may come in any order.
        options = [word for word in rest if word.startswith("--")]
        if options:
            parser.error(f"unrecognized arguments: {' '.join(options)}")
        arguments.overrides += rest
    try:
        return int(arguments.handler(arguments))
    except DreamsweepError as error:
        print(f"dreamsweep: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dreamsweep: interrupted; the same command continues.", file=sys.stderr)
        return 3
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise  # none of the system's
        # A folder of somebody else, a full disk: whichever of a root's many files it was that told.
        where = "" if error.filename is None else f": {os.fspath(error.filename)!r}"
        print(f"dreamsweep: {error.strerror}{where}. Check the path, and your permissions there.", file=sys.stderr)
        return 1


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dreamsweep",
        description="DreamerV3 experiment sweeps on Ray: from a grid to benchmark score files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    for name, handler, about in (
        ("plan", _plan, "show what a sweep would do; writes nothing"),
        ("run", _run, "do it: train, collect, export and plot; run it again to continue"),
        ("probe", _probe, "measure with short runs how long a sweep will take"),
        ("nightly", _nightly, "run tonight's revision of the trainer, and judge it beside the last nights"),
        ("adopt", _adopt, "take folders of DreamerV3 logs into a root, where they are runs of a grid"),
    ):
        command = commands.add_parser(name, **_about(about))
        metavar, words = ("LOGDIR|KEY=VALUE", "log folders, and ") if name == "adopt" else ("KEY=VALUE", "")
        command.add_argument("overrides", nargs="*", metavar=metavar, help=f"{words}Hydra overrides; axes take a,b")
        command.add_argument("--config-dir", type=_path, help="your own config directory, searched beside ours")
        if name == "adopt":
            command.add_argument("--unfinished", action="store_true", help="also those that `run` is to continue")
        else:
            command.add_argument("--cfg", action="store_true", help="print the composed configuration and stop")
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(handler=handler)
        if name == "plan":
            command.add_argument("--diff", action="store_true", help="compare with the runs that the root holds")
        if name == "nightly":
            command.add_argument("--again", action="store_true", help="another night, though nothing has changed")
            command.add_argument(
                "--accept", action="store_true", help="take the latest level as the new one; runs nothing"
            )
        if name == "run":
            command.add_argument("--detach", action="store_true", help="return at once, leaving an orchestrator behind")

    for name, about in (
        ("status", "how a sweep stands, told from its root alone"),
        ("attach", "watch a sweep that another process drives"),
    ):
        command = commands.add_parser(name, **_about(about))
        command.add_argument("root", type=_path, help="the sweep root")
        command.add_argument("--all", action="store_true", help="list every run")
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(handler=_status if name == "status" else _attach)

    for name, about in (
        ("cancel", "give runs up; only a retry brings them back"),
        ("pause", "stop runs, to go on from their checkpoints later"),
        ("resume", "let paused runs go on"),
        ("retry", "try failed or cancelled runs again, and release groups that are held back"),
    ):
        command = commands.add_parser(name, **_about(about))
        command.add_argument("root", type=_path, help="the sweep root")
        for selector in ("run", "suite", "task", "method", "label", "group"):
            command.add_argument(f"--{selector}", metavar="NAME", help=f"runs of this {selector}; wild cards allowed")
        command.add_argument("--all", action="store_true", help="every run")
        if name == "retry":
            command.add_argument(
                "--fresh", action="store_true", help="begin from nothing: logs and checkpoints are put aside"
            )
        command.set_defaults(handler=_ask, action=name)

    aggregate = commands.add_parser("aggregate", **_about("collect scores.jsonl files into the Parquet dataset"))
    aggregate.add_argument("paths", nargs="+", type=_path, help="a sweep root, or DreamerV3 log folders")
    aggregate.add_argument("--store", type=_path, help="where the dataset goes; the root itself by default")
    aggregate.add_argument(
        "--suite", help="the suite of log folders that dreamsweep did not launch, '' to tell it from each again"
    )
    aggregate.add_argument(
        "--number-repeats",
        action=argparse.BooleanOptionalAction,
        help="log folders of one task, method and seed are further seeds",
    )
    aggregate.add_argument(
        "--metrics", metavar="REGEX", help="take these keys of metrics.jsonl too, '' for none any more"
    )
    aggregate.add_argument("--ray", metavar="ADDRESS", help="spread the reading over a running Ray cluster")
    aggregate.add_argument("--explain", metavar="RUN", help="then tell what of one run was kept and dropped, and why")
    aggregate.add_argument("--json", action="store_true", help="print one JSON object")
    aggregate.set_defaults(handler=_aggregate)

    imports = commands.add_parser(
        "import", **_about("put published score files into the dataset, as runs to compare with")
    )
    imports.add_argument("files", nargs="+", type=_path, metavar="FILE", help="{suite}-{label}.json.gz")
    imports.add_argument("--store", type=_path, required=True, help="a sweep root, or the --store of aggregate")
    imports.add_argument("--suite", help="the suite of all these runs; what each file's name begins with by default")
    imports.add_argument("--label", help="the label of all these runs; the method that each names by default")
    imports.add_argument("--json", action="store_true", help="print one JSON object")
    imports.set_defaults(handler=_import)

    export = commands.add_parser("export", **_about("write {suite}-{label}.json.gz score files from the dataset"))
    export.add_argument("store", type=_path, help="a sweep root, or the --store of aggregate")
    bins = export.add_mutually_exclusive_group()
    bins.add_argument("--bins", type=_whole, help="average into this many bins")
    bins.add_argument("--binsize", type=_whole, help="average into bins of this many environment frames")
    export.add_argument("--budget", type=_whole, help="leave out what lies beyond this many environment frames")
    export.add_argument("--fill", choices=("null", "last"), default="null", help="what stands in an empty bin")
    export.add_argument("--out", type=_path, help="the folder to write to; score_files/ beside the dataset by default")
    export.add_argument("--json", action="store_true", help="print one JSON list")
    export.set_defaults(handler=_export)

    plot = commands.add_parser("plot", **_about("draw score curves, distributions or the replay-ratio study"))
    plot.add_argument("paths", nargs="+", type=_path, help="sweep roots, stores, log folders, score files; any mix")
    _add_selectors(plot, "suite", "task", "label")
    plot.add_argument("--x", default="frames", help="frames, policy_steps, updates, gpu_hours or wall_hours")
    plot.add_argument("--centre", default="mean", help="mean, median or iqm over seeds")
    plot.add_argument("--band", default="std", help="std, sem, quantiles, range, bootstrap or none")
    plot.add_argument("--aggregate-band", default="bootstrap", metavar="BAND", help="the same for aggregates")
    plot.add_argument("--quantiles", nargs=2, type=float, metavar=("LOW", "HIGH"), help="of --band quantiles")
    plot.add_argument("--confidence", type=float, default=0.95, help="of bootstrap bands and studies: 0.95")
    plot.add_argument("--smooth", default="none", help="mean:N or ema:W, of each run; the picture says so")
    plot.add_argument("--points", "--bins", type=_whole, help="at most so many on a curve; else the data tell")
    plot.add_argument("--aggregate", nargs="?", const="with", choices=("with", "only"), help="a panel over all tasks")
    plot.add_argument("--protocol", metavar="NAME", help="whose normaliser aggregates use; the suite's own by default")
    plot.add_argument("--length", action="store_true", help="episode lengths on a second axis")
    plot.add_argument("--seeds", action="store_true", help="a thin line for each seed too")
    kind = plot.add_mutually_exclusive_group()
    kind.add_argument("--fan", action="store_true", help="quantiles of all episodes over time, in place of curves")
    kind.add_argument("--study", action="store_true", help="the replay-ratio study, in place of curves")
    plot.add_argument("--out", type=_path, help="the folder to write to; plots/ beside the dataset by default")
    plot.add_argument("--name", help="of the files, without suffix")
    plot.add_argument("--format", default="png,svg", help="png, svg, pdf, or several: png,svg")
    plot.add_argument("--log-suite", metavar="NAME", help="the suite of log folders that do not tell theirs")
    plot.add_argument("--config-dir", type=_path, help="your own config directory, beside ours")
    plot.add_argument("--json", action="store_true", help="print one JSON object")
    plot.set_defaults(handler=_plot)

    table = commands.add_parser(
        "table", **_about("task × label by a protocol: means, intervals, coverage and headlines")
    )
    table.add_argument("paths", nargs="+", type=_path, help="sweep roots, stores, DreamerV3 log folders, score files")
    table.add_argument("--protocol", metavar="NAME", help="how a curve becomes a number; the suite's own by default")
    table.add_argument("--window", metavar="FIRST:LAST", help="frames to average over, or a last share: 10%%")
    table.add_argument("--normaliser", metavar="NAME", help="the scores that stand for 0 and 1, or none")
    table.add_argument("--metric", action="append", metavar="NAME", help="mean, median, iqm, …; repeatable")
    _add_selectors(table, "suite", "task", "label")
    table.add_argument("--log-suite", metavar="NAME", help="the suite of log folders that do not tell theirs")
    table.add_argument("--format", choices=("text", "markdown", "latex", "csv", "json"), default="text")
    table.add_argument("--json", action="store_true", help="the same as --format json")
    table.add_argument("--out", type=_path, help="the file to write; standard output by default")
    table.add_argument("--plot", type=_path, metavar="FILE", help="draw the table too, as .png, .svg or .pdf")
    table.add_argument("--store", type=_path, help="keep what is collected from logs and score files here")
    table.add_argument(
        "--config-dir", type=_path, help="your own config directory, with suite/, protocol/, normaliser/"
    )
    table.set_defaults(handler=_table)

    report = commands.add_parser("report", **_about("write one HTML file: scores, curves, coverage, failures, origin"))
    report.add_argument("paths", nargs="+", type=_path, help="sweep roots, stores, DreamerV3 log folders, score files")
    _add_selectors(report, "suite", "task", "label")
    report.add_argument("--log-suite", metavar="NAME", help="the suite of log folders that do not tell theirs")
    report.add_argument("--protocol", metavar="NAME", help="how scores become the table's numbers; each suite's own")
    report.add_argument("--config-dir", type=_path, help="your own config directory, whose suites count beside ours")
    report.add_argument("--out", type=_path, help="the file to write; report/index.html in the root by default")
    report.add_argument("--json", action="store_true", help="print one JSON object")
    report.set_defaults(handler=_report)

    compare = commands.add_parser("compare", **_about("whether A is better than B, and what could have been seen"))
    compare.add_argument("a", type=_path, metavar="A", help="a sweep root, store, log folder or score file")
    compare.add_argument("b", type=_path, metavar="B", help="the same, to compare with; A again for two labels of one")
    compare.add_argument("--label-a", action="append", metavar="NAME", help="only this label of A; repeatable")
    compare.add_argument("--label-b", action="append", metavar="NAME", help="only this label of B; repeatable")
    _add_selectors(compare, "suite", "task")
    compare.add_argument("--protocol", metavar="NAME", help="how a curve becomes a number; the suite's own by default")
    compare.add_argument("--window", metavar="FIRST:LAST", help="frames to average over, or a last share: 10%%")
    compare.add_argument("--alpha", type=float, default=0.05, help="how often equals may be told apart: 0.05")
    compare.add_argument("--plot", type=_path, metavar="FILE", help="draw the differences too, as .png, .svg or .pdf")
    compare.add_argument("--check", action="store_true", help="exit with 4 where A is worse")
    compare.add_argument("--log-suite", metavar="NAME", help="the suite of log folders that do not tell theirs")
    compare.add_argument(
        "--config-dir", type=_path, help="your own config directory, with suite/, protocol/, normaliser/"
    )
    compare.add_argument("--json", action="store_true", help="print one JSON object")
    compare.set_defaults(handler=_compare)

    trainer = commands.add_parser("trainer", **_about("the embedded trainer"))
    actions = trainer.add_subparsers(metavar="ACTION", required=True)
    install = actions.add_parser("install", **_about("install the official algorithm from the package registry"))
    install.add_argument("--into", type=_path, help="the folder; beside this Python by default")
    install.set_defaults(handler=_trainer_install)
    return parser


def _add_selectors(command: argparse.ArgumentParser, *selectors: str) -> None:
    for selector in selectors:
        about = f"only this {selector} (wild cards allowed); repeatable"
        command.add_argument(f"--{selector}", action="append", metavar="NAME", help=about)


def _about(text: str) -> dict[str, Any]:
    """What a command does, for the list of commands and for its own help."""
    return {"help": text, "description": f"{text[0].upper()}{text[1:]}."}


def _path(text: str) -> Path:
    """A path. No shell expands the tilde of `--out=~/…`."""
    return Path(text).expanduser()


def _whole(text: str) -> int:
    """A whole number above 0, also written as 1e6."""
    value = float(text)
    if not value.is_integer() or value <= 0:
        raise ValueError
    return int(value)


_whole.__name__ = "whole number above 0"  # argparse names it in its message


# Each command is imported when it is used: `plan` shall not wait for Ray, nor for pandas.


def _plan(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.plan_command import plan

    return plan(arguments)


def _probe(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.probe_command import probe

    return probe(arguments)


def _nightly(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.nightly_command import nightly

    return nightly(arguments)


def _adopt(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.adopt_command import adopt

    return adopt(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.run_command import run

    return run(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.root_commands import status

    return status(arguments)


def _attach(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.root_commands import attach

    return attach(arguments)


def _ask(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.root_commands import ask

    return ask(arguments)


def _aggregate(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.dataset_commands import aggregate

    return aggregate(arguments)


def _import(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.dataset_commands import import_score_files

    return import_score_files(arguments)


def _export(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.dataset_commands import export

    return export(arguments)


def _plot(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.plot_command import plot

    return plot(arguments)


def _table(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.table_command import table

    return table(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.report_command import report

    return report(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    from orchestrator.command_line.compare_command import compare_sides

    return compare_sides(arguments)


def _trainer_install(arguments: argparse.Namespace) -> int:
    from orchestrator.trainers import dreamer_pypi

    logging.getLogger("orchestrator").setLevel(logging.INFO)
    print(dreamer_pypi.install(arguments.into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
