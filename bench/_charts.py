"""Bar charts, in SVG: a panel for each thing that was measured, a bar for each tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import median
from textwrap import wrap

_LABEL, _BARS, _TEXT, _ROW, _HEAD = 190, 430, 330, 24, 34
_STYLE = (
    "text { font: 13px sans-serif; fill: #222 } .head { font-weight: bold } .title { font-size: 17px }"
    " .said { fill: #a33 } .small { font-size: 11px; fill: #777 }"
)


@dataclass(frozen=True)
class Bar:
    """One tool: its name, what each round found (nothing where it failed), and what to write next to it."""

    label: str
    values: Sequence[float]
    text: str
    ours: bool = False


@dataclass(frozen=True)
class Panel:
    """One thing that was measured. `aim` is the longest bar that we want of ours."""

    title: str
    bars: Sequence[Bar]
    aim: float | None = None


def draw(title: str, foot: str, panels: Sequence[Panel]) -> str:
    """The whole picture: panels below one another, a bar to each median, a dot for each round, a line at the aim."""
    y, parts = 44, [f'<text class="title" x="12" y="26">{escape(title)}</text>']
    for panel in panels:
        parts += _panel(panel, y)
        y += _HEAD + _ROW * len(panel.bars) + 18
    for line in wrap(foot, 150):
        parts.append(f'<text class="small" x="12" y="{y + 6}">{escape(line)}</text>')
        y += 16
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _BARS + _TEXT}" height="{y + 20}">'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", background, *parts, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    highest = max([*(value for bar in panel.bars for value in bar.values), panel.aim or 0.0]) or 1.0
    scale = _BARS / highest
    parts = [f'<text class="head" x="12" y="{top + 20}">{escape(panel.title)}</text>']
    for number, bar in enumerate(panel.bars):
        y = top + _HEAD + _ROW * number
        parts.append(f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>')
        end = _LABEL
        if bar.values:
            length = median(bar.values) * scale
            end += int(max(bar.values) * scale)
            colour = "#2a7a5a" if bar.ours else "#8ab"
            parts.append(f'<rect x="{_LABEL}" y="{y + 1}" width="{length:.1f}" height="16" fill="{colour}"/>')
            dots = bar.values if len(bar.values) > 1 else []
            parts += [f'<circle cx="{_LABEL + v * scale:.1f}" cy="{y + 9}" r="2.5" fill="#123"/>' for v in dots]
        said = "" if bar.values else ' class="said"'
        parts.append(f'<text{said} x="{end + 8}" y="{y + 13}">{escape(bar.text)}</text>')
    if panel.aim is not None:
        x, bottom = _LABEL + panel.aim * scale, top + _HEAD + _ROW * len(panel.bars)
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top + _HEAD - 4}" y2="{bottom}"'
        parts.append(f'<line {line} stroke="#c33" stroke-dasharray="4 3"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 9}" text-anchor="middle">our aim</text>')
    return parts
