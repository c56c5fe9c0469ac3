"""A night in a few lines that fit a chat message, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aggregation.verdicts.regression import Cell, Judgement, Rule
from orchestrator.command_line.night import Night
from sweeps.wording import counted, p_value_text

_MOST_CELLS = 3
_MOST_CAUSES = 3
_HEADS = {
    "too little history": "not judged yet",
    "fine": "fine",
    "better": "BETTER than the last nights",
    "suspicious": "suspicious, and not looked at again",
    "not confirmed": "fine: a suspicion that fresh seeds did not confirm",
    "regression": "REGRESSION confirmed",
    "accepted": "accepted as the new level",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSummary:
    """What is told of a night."""

    night: Night
    judgement: Judgement
    rule: Rule
    #: Numbers of the nights that it was compared with.
    compared: tuple[int, ...]
    cells: Sequence[Cell]
    done: int
    #: Of the runs done, those without a score that counts.
    unscored: int
    #: How many failed, by cause.
    failed: Mapping[str, int]
    #: Why groups of runs were held back.
    held: tuple[str, ...]
    #: Of the runs done, those with fresh seeds.
    fresh: int
    #: Revision of the last night that it was compared with; empty for none.
    before: str
    #: Path of the report; empty for none.
    report: str

    @property
    def is_blind(self) -> bool:
        """Whether not one run has a score, so that a night could not be told from a broken one."""
        return 0 < self.done == self.unscored

    def lines(self) -> list[str]:
        """Plain text, the verdict first."""
        told = self.judgement
        lines = [f"night {self.night.number}, revision {self.night.revision}: {_HEADS[told.verdict]}"]
        if told.verdict == "too little history":
            lines.append(
                f"{counted(len(self.compared), 'night')} of history; judged from {self.rule.least_nights} on. "
                f"--again runs this revision once more."
            )
        elif told.change is not None and told.error is not None:
            margin = 1.96 * told.error
            lines.append(
                f"scores {told.change:+.1%} (± {margin:.1%}) beside the last {counted(len(self.compared), 'night')}, "
                f"{counted(told.judged, 'cell')}; p = {p_value_text(told.p)} for a drop"
            )
        for name, p in told.cells:
            lines.append(f"by itself: {name}, p = {p_value_text(p)}")
        if told.verdict in ("regression", "suspicious", "not confirmed"):
            lines += self._lowest()
        runs = f"{counted(self.done, 'run')} done"
        runs += f", {self.fresh:,} of them with fresh seeds" if self.fresh else ""
        failed = sum(self.failed.values())
        lines.append(runs + (f", {failed:,} FAILED" if failed else ""))
        if self.unscored:
            lines.append(f"{counted(self.unscored, 'run')} WITHOUT A SCORE in the last part of the budget")
        causes = sorted(self.failed.items(), key=lambda item: -item[1])[:_MOST_CAUSES]
        lines += [f"{count:,} failed: {cause}" for cause, count in causes]
        lines += [f"held back: {reason}" for reason in self.held[:_MOST_CAUSES]]
        if told.verdict != "too little history":
            lines.append(
                "this grid is too small to confirm any drop"
                if told.smallest is None
                else f"this grid sees a drop of all scores from {told.smallest:.1%} (in eight of ten nights)"
            )
        if told.verdict == "regression":
            since = f" since {self.before}" if self.before else ""
            lines.append(f"what changed{since} made it worse; if that is meant, `dreamsweep nightly … --accept`")
        if self.report:
            lines.append(f"report: {self.report}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "night": self.night.number,
            "name": self.night.name,
            "revision": self.night.revision,
            "before": self.before,
            **asdict(self.judgement),
            "compared_nights": list(self.compared),
            "done": self.done,
            "unscored": self.unscored,
            "is_blind": self.is_blind,
            "failed": sum(self.failed.values()),
            "causes": dict(self.failed),
            "held": list(self.held),
            "fresh": self.fresh,
            "cells_tonight": [
                {
                    "cell": cell.name,
                    "history": cell.history.tolist(),
                    "tonight": cell.tonight.tolist(),
                    "fresh": cell.fresh.tolist(),
                }
                for cell in self.cells
            ],
            "report": self.report or None,
            "summary": "\n".join(self.lines()),
        }

    def _lowest(self) -> list[str]:
        """The cells that lie lowest beside their history, as a change from the score that stands for nothing."""
        changes = []
        for cell in self.cells:
            runs = [*cell.tonight.tolist(), *cell.fresh.tolist()]
            if runs and len(cell.history):
                now, then = sum(runs) / len(runs), float(cell.history.mean())
                level = abs(then - cell.low)
                changes.append(((now - then) / level if level else 0.0, cell.name, then, now))
        return [
            f"{name}: {then:,.4g} before, {now:,.4g} tonight ({change:+.0%})"
            for change, name, then, now in sorted(changes)[:_MOST_CELLS]
            if change < 0
        ]
