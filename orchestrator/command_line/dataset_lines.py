"""What is printed of a dataset: what a collection found, what became of a run, and the score files written from it."""

from rich.console import Console

from aggregation.dataset.collect import Summary
from aggregation.dataset.explanation import Explanation
from aggregation.dataset.score_files import ScoreFile
from sweeps.wording import counted


def print_summary(console: Console, summary: Summary) -> None:
    """A collection in a few lines; what was left out or dropped is always told."""
    console.print(
        f"dataset      {summary.store}/scores: {counted(summary.rows, 'episode')} of {counted(summary.runs, 'run')}",
        soft_wrap=True,
        highlight=False,
    )
    if summary.dropped:
        console.print(f"             {summary.dropped:,} rows were superseded after a resume", highlight=False)
    if summary.gap_frames:
        console.print(f"             {summary.gap_frames:,} frames were lost at a resume", highlight=False)
    if summary.non_finite:
        console.print(f"             {summary.non_finite:,} scores are not finite and stand as null", highlight=False)
    for run in summary.scoreless_runs[:3]:
        keys = f"{run.step_key!r} and {run.score_key!r}"
        told = f"no score     {run.run} ended without one; expected lines with {keys} in {run.path}"
        console.print(told, style="yellow", soft_wrap=True, highlight=False, markup=False)
    if summary.scoreless > 3:
        console.print(f"[yellow]no score     and {counted(summary.scoreless - 3, 'more run')}[/]", highlight=False)
    if summary.faults:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.faults.items()))
        console.print(f"[yellow]bad lines    {kinds}; each is listed in faults.parquet[/]", highlight=False)
        for file in summary.faulty_files[:5]:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(file.kinds.items()))
            console.print(f"             {file.path}: {kinds}", soft_wrap=True, highlight=False, markup=False)
    if summary.metrics is not None:
        console.print(
            f"metrics      {summary.store}/metrics: {summary.metric_rows:,} values of {summary.metrics}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    for repeat in summary.repeats[:5]:
        told = f"repeat       {repeat.folder} says seed {repeat.stated_seed} and counts as {repeat.run}"
        console.print(told, soft_wrap=True, highlight=False, markup=False)
    if len(summary.repeats) > 5:
        console.print(f"repeat       and {counted(len(summary.repeats) - 5, 'more folder')}", highlight=False)
    for reason in summary.unusable[:10]:
        console.print(f"left out     {reason}", soft_wrap=True, highlight=False, markup=False)
    if len(summary.unusable) > 10:
        console.print(f"left out     and {len(summary.unusable) - 10:,} more", highlight=False)


def print_score_files(console: Console, files: list[ScoreFile]) -> None:
    """Each score file with what it holds."""
    for file in files:
        console.print(
            f"score file   {file.path}: {counted(file.runs, 'run')}, {counted(file.points, 'point')}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


def print_explanation(console: Console, explanation: Explanation) -> None:
    """One run, attempt by attempt: what it logged, what stays, and why the rest does not."""
    lines = [f"\n{explanation.run}: {explanation.rows:,} rows kept, {explanation.dropped:,} dropped"]
    lines += [f"             {explanation.path}, {explanation.bytes:,} bytes"]
    if explanation.faults:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(explanation.faults.items()))
        lines.append(f"             bad lines: {kinds}")
    for each in explanation.stretches:
        span = "" if each.first_step is None else f", frames {each.first_step:,} to {each.last_step:,}"
        place = "" if each.offset is None else f", from byte {each.offset:,}"
        lines.append(f"attempt {each.attempt:<4} {each.logged:,} rows logged, {each.kept:,} kept{span}{place}")
        lines.append(f"             {each.why}")
        for loss in each.dropped:
            span = f"frames {loss.first_step:,} to {loss.last_step:,}"
            lines.append(f"             dropped: {loss.rows:,} of attempt {loss.attempt}, {span}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
