"""What a comparison found, and how it is told: as text, as a picture, as JSON; each aim next to its figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from statistics import median
from typing import Any

from _charts import Bar, Panel, draw
from _deltas import DEPENDENCY, LINE, Deltas
from _observe import Failed
from _peers import ALL

BASELINE = "uv"
"""What the others are compared with: the same lock in a byte-compiled virtual environment."""

REBUILD_AIM, START_AIM, ARCHIVE_AIM = 1.5, 0.85, 22e6
DELTA_AIMS = {LINE: 60e3, DEPENDENCY: 500e3}


@dataclass(frozen=True)
class Measure:
    """One kind of figure."""

    title: str
    unit: str
    per: float = 1.0
    """How many of what is kept are one of what is shown."""
    digits: int = 2
    aside: str = ""
    """What the second number of each figure is, where it has one."""

    def show(self, value: float) -> str:
        return f"{value / self.per:.{self.digits}f} {self.unit}".rstrip()


MEASURES = {
    "cold": Measure("build, caches empty, network included", "s", digits=1, aside="cpu s"),
    "rebuild": Measure("rebuild after one changed line, caches warm", "s", aside="cpu s"),
    "archive": Measure("what is shipped: the one file, or the tree as tar.zst at level 3", "MB", 1e6, 1),
    "tree": Measure("on the disk when it runs", "MB", 1e6, 1),
    "first": Measure("first start to the first 200, unpacking included", "s", aside="cpu s"),
    "start": Measure("start to the first 200, warm", "s", digits=3, aside="cpu s"),
    "rss": Measure("VmRSS after the first request", "MB", 1e6, 1),
    "opened": Measure("files opened until the first 200", "", digits=0, aside="tried"),
}

Figure = tuple[float, float | None]
"""What was found, and the second number where the measure has one."""


@dataclass
class Report:
    """What was found of one service."""

    app: str
    figures: dict[str, dict[str, list[Figure]]] = field(default_factory=lambda: {name: {} for name in MEASURES})
    """By measure and tool, one for each round."""
    failed: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in MEASURES})
    """By measure and tool, why there is no figure."""
    deltas: Deltas = field(default_factory=dict)

    @contextmanager
    def attempt(self, measure: str, tool: str) -> Iterator[list[Figure]]:
        """Takes the figures that the block finds. What makes the block fail is kept as the reason why there are none."""
        found: list[Figure] = []
        try:
            yield found
        except (Failed, OSError, HTTPException) as error:
            self.failed[measure][tool] = str(error) or type(error).__name__
            self.figures[measure].pop(tool, None)
        else:
            if found:
                self.figures[measure].setdefault(tool, []).extend(found)

    def has(self, measure: str, tool: str) -> bool:
        return bool(self.figures[measure].get(tool))

    def typical(self, measure: str, tool: str, part: int = 0) -> float | None:
        """The median of the rounds; of the first or the second numbers."""
        values = [value for figure in self.figures[measure].get(tool, []) if (value := figure[part]) is not None]
        return median(values) if values else None

    def ratio(self, measure: str, tool: str, part: int = 0, to: str = BASELINE) -> float | None:
        """The median of the rounds' own ratios to another tool, so that what slows a whole round down cancels out."""
        pairs = zip(self.figures[measure].get(tool, []), self.figures[measure].get(to, []), strict=False)
        values = [(mine[part], base[part]) for mine, base in pairs]
        ratios = [mine / base for mine, base in values if mine is not None and base]
        return median(ratios) if ratios else None


def text(report: Report) -> str:
    """Everything, a table for each measure, then the deltas and the aims."""
    lines = []
    for name, measure in MEASURES.items():
        lines += [f"{report.app}: {measure.title}", *_rows(report, name, measure), ""]
    lines.append(f"{report.app}: delta")
    lines += [f"  {what:<34} {_bytes(size)}" for what, (_, size) in report.deltas.items()] or ["  not measured"]
    return "\n".join([*lines, "", f"{report.app}: aims", *(f"  {line}" for line in aims(report)), ""])


def aims(report: Report) -> Iterator[str]:
    """Each aim with what was found, and whether it is met."""
    for base, where in ((BASELINE, "the same environment"), ("uv-again", "an empty one")):
        what = f"rebuild without archive at most {REBUILD_AIM} of `uv pip install` into {where}"
        yield _ratio_aim(report, what, REBUILD_AIM, "rebuild", "underway-bare", base)
    what = f"start at most {START_AIM} of the virtual environment"
    yield _ratio_aim(report, what, START_AIM, "start", "underway", BASELINE)
    if report.app == "chat":
        size = report.typical("archive", "underway")
        yield _aim(
            f"archive under {ARCHIVE_AIM / 1e6:.0f} MB", size, ARCHIVE_AIM, f"{size / 1e6:.2f} MB" if size else ""
        )
    for what, (kind, found) in report.deltas.items():
        aim = DELTA_AIMS[kind]
        size = found if isinstance(found, float) else None
        yield _aim(f"delta of {kind} under {aim / 1e3:.0f} kB ({what})", size, aim, _bytes(found))


def picture(report: Report, foot: str) -> str:
    """The same as bars, in SVG."""
    panels = []
    for name, measure in MEASURES.items():
        found = report.figures[name]
        bars = [
            Bar(
                label=ALL[tool].label,
                values=[figure[0] / measure.per for figure in found.get(tool, [])],
                text=_in_words(report, name, measure, tool)[:100],
                ours=tool.startswith("underway"),
            )
            for tool in _tools(report, name)
        ]
        panels.append(Panel(measure.title, bars, _line(report, name, measure)))
    deltas = [
        Bar(what, [size / 1e3] if isinstance(size, float) else [], _bytes(size), ours=True)
        for what, (_, size) in report.deltas.items()
    ]
    if deltas:
        panels.append(Panel("delta, instead of the archive", deltas))
    return draw(report.app, foot, panels)


def markdown(report: Report) -> str:
    """The same as a table for docs/reference/measurements.md: a row for each tool, wall time or size with its ratio."""
    heads = [f"{name}, {measure.unit}".rstrip(", ") for name, measure in MEASURES.items()]
    rows = [[report.app, *heads], ["---", *["---:"] * len(heads)]]
    shown = (tool for tool in ALL if any(report.has(name, tool) for name in MEASURES))
    rows += [[ALL[tool].label, *(_cell(report, name, tool) for name in MEASURES)] for tool in shown]
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([*lines, "", *(f"- {line}" for line in aims(report)), ""])


def document(report: Report) -> dict[str, Any]:
    """The same as plain data: seconds, bytes, counts."""
    return {
        "figures": {
            name: {
                tool: {"rounds": [figure[0] for figure in found], "aside": [figure[1] for figure in found]}
                for tool, found in tools.items()
            }
            for name, tools in report.figures.items()
        },
        "asides": {name: measure.aside for name, measure in MEASURES.items() if measure.aside},
        "ratios": {name: {tool: report.ratio(name, tool) for tool in report.figures[name]} for name in MEASURES},
        "failed": {name: tools for name, tools in report.failed.items() if tools},
        "deltas": {what: {"kind": kind, "found": size} for what, (kind, size) in report.deltas.items()},
        "aims": list(aims(report)),
    }


def _cell(report: Report, name: str, tool: str) -> str:
    measure, value = MEASURES[name], report.typical(name, tool)
    if value is None:
        return "failed" if tool in report.failed[name] else ""
    ratio, cpu = report.ratio(name, tool), report.ratio(name, tool, 1)
    ratios = f"{ratio:.2f}" if ratio is not None else ""
    if ratio is not None and cpu is not None and measure.aside.startswith("cpu"):
        ratios += f", cpu {cpu:.2f}"
    return f"{measure.show(value).removesuffix(measure.unit).strip()}{f' ({ratios})' if ratios else ''}"


def _tools(report: Report, measure: str) -> list[str]:
    return [tool for tool in ALL if tool in report.figures[measure] or tool in report.failed[measure]]


def _rows(report: Report, name: str, measure: Measure) -> Iterator[str]:
    width = max(len(tool.label) for tool in ALL.values())
    for tool in _tools(report, name):
        count = len(report.figures[name].get(tool, []))
        rounds = f"  n={count}" if count else ""
        yield f"  {ALL[tool].label:{width}}  {_in_words(report, name, measure, tool)}{rounds}"


def _in_words(report: Report, name: str, measure: Measure, tool: str) -> str:
    """A figure in words: its median, the ratio to the baseline, and the second number with its own ratio."""
    value, ratio = report.typical(name, tool), report.ratio(name, tool)
    if value is None:
        return f"failed: {report.failed[name].get(tool, 'not measured')}"
    said = measure.show(value)
    if ratio is not None:
        said += f" ({ratio:.2f})"
    if name in ("archive", "tree"):
        said += ", with the interpreter" if ALL[tool].whole else ", no interpreter"
    second, ratio = report.typical(name, tool, 1), report.ratio(name, tool, 1)
    if second is not None:
        said += f", {measure.aside.removesuffix(' s')} {second:.{measure.digits}f}"
        said += f"{' s' if measure.aside.endswith(' s') else ''}{f' ({ratio:.2f})' if ratio is not None else ''}"
    return said


def _line(report: Report, name: str, measure: Measure) -> float | None:
    """Where the aim is among the bars."""
    factor = {"rebuild": REBUILD_AIM, "start": START_AIM}.get(name)
    base = report.typical(name, BASELINE)
    if factor is not None and base is not None:
        return factor * base / measure.per
    return ARCHIVE_AIM / measure.per if (name, report.app) == ("archive", "chat") else None


def _ratio_aim(report: Report, what: str, aim: float, measure: str, tool: str, base: str) -> str:
    wall, cpu = (report.ratio(measure, tool, part, base) for part in (0, 1))
    said = f"{wall:.2f} (cpu {cpu:.2f})" if wall is not None and cpu is not None else ""
    return _aim(what, wall, aim, said)


def _aim(what: str, found: float | None, aim: float, said: str) -> str:
    if found is None:
        return f"{what}: {said or 'not available'}"
    return f"{what}: {said}, {'met' if found <= aim else 'FALLS SHORT'}"


def _bytes(size: float | str) -> str:
    return size if isinstance(size, str) else f"{size / 1e3:.1f} kB"
