"""A review as one page: definitions side by side, for a pull request. Without scripts, and with nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from ..planner.report import SAY
from .causes import Change
from .definitions import Part, Run, pair
from .review import Review
from .text import made_where, what, where

STYLE = Path(__file__).parents[1] / "templates/review/page.css"
MOST_OPEN = 40
"""Changes of which the source is unfolded; where there are more, those that are HOT are folded."""
MOST_SHOWN = 400
"""Definitions whose source is in the page: it is read in a browser."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def text(review: Review) -> str:
    """The page. The same review gives the same text."""
    title = f"{review.name} {review.old.version} → {review.new.version}"
    style = STYLE.read_text(encoding="utf-8")
    body = "\n".join(_body(review, title))
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}: {review.verdict}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(review: Review, title: str) -> Iterator[str]:
    yield f"<header>\n<h1>{escape(title)}</h1>"
    yield f"<p>{_verdict(review.verdict)} {escape(SAY[review.verdict])}</p>\n</header>\n<main>"
    yield "<dl>"
    yield from _facts(review)
    yield "</dl>"
    yield f"<h2>Changes ({len(review.up.changes)})</h2>"
    if not review.up.changes:
        yield "<p>Nothing changes.</p>"
    definitions: set[tuple[str, str]] = set()
    for change in review.up.changes:
        is_open = change.verdict != "HOT" or len(review.up.changes) <= MOST_OPEN
        definition = (change.row.module, change.row.definition)
        shown = definition not in definitions and len(definitions) < MOST_SHOWN
        definitions.add(definition)
        yield from _change(review, change, is_open=is_open, shown=shown)
    if review.stubs:
        yield "<h2>Instances are carried over by a code_change, to begin with</h2>"
        for stub in review.stubs:
            yield f"<p>{escape(stub.what)}, {escape(made_where(stub))}</p>"
            yield f"<pre>{escape(stub.text)}</pre>"
    yield f"<h2>Way back: {review.down.verdict}</h2>\n<p>{escape(SAY[review.down.verdict])}</p>"
    yield from _table(review.down.changes)
    yield "</main>"


def _facts(review: Review) -> Iterator[str]:
    yield _fact("From", [f"{review.old.version}, {review.old.source}"])
    yield _fact("To", [f"{review.new.version}, {review.new.source}"])
    yield _fact("Note", review.notes)
    yield _fact(
        "Applications",
        [
            f"{application.name} {application.old or '(new)'} → {application.new or '(gone)'}"
            for application in review.applications
        ],
    )
    yield _fact("Pause", [review.pause.text])
    yield _fact("State", [f"{carried.what}: {carried.how}" for carried in review.state])


def _fact(name: str, values: Iterable[str]) -> str:
    made = [escape(value) for value in values]
    if not made:
        return ""
    text = made[0] if len(made) == 1 else f"<ul>{''.join(f'<li>{item}</li>' for item in made)}</ul>"
    return f"<dt>{name}</dt><dd>{text}</dd>"


def _change(review: Review, change: Change, *, is_open: bool, shown: bool) -> Iterator[str]:
    row = change.row
    yield f"<details{' open' if is_open else ''}>"
    yield (
        f'<summary>{_verdict(change.verdict)} <span class="what">{escape(what(row))}</span>'
        f' {escape(row.change)} <span class="place">{escape(where(row))}</span></summary>'
    )
    yield f"<p>{escape(row.reason)}</p>"
    if change.consequences:
        count = len(change.consequences)
        yield f'<p class="soft">{count} consequence{"s" if count > 1 else ""}:</p>'
        items = (
            f"<li>{_verdict(consequence.verdict)} {escape(what(consequence))}"
            f' <span class="place">{escape(where(consequence))}</span>: {escape(consequence.reason)}</li>'
            for consequence in change.consequences
        )
        yield f"<ul>{''.join(items)}</ul>"
    for stretch in pair(review.old.opened, review.new.opened, row.module, row.definition) if shown else ():
        yield f'<div class="stretch">{"".join(map(_run, stretch))}</div>'
    yield "</details>"


def _run(run: Run) -> str:
    signs = ("", "") if run.kind == "equal" else (" -", " +")
    old, new = (_lines(part, sign) for part, sign in zip((run.old, run.new), signs, strict=True))
    sides = f'<pre class="old">{old}</pre><pre class="new">{new}</pre>'
    return f'<div class="run {run.kind}">{sides}</div>'


def _lines(part: Part, sign: str) -> str:
    numbered = enumerate(part.lines, part.line)
    return "".join(f"<span><b>{number}{sign}</b>{escape(line)}</span>" for number, line in numbered)


def _table(changes: Iterable[Change]) -> Iterator[str]:
    rows = [
        f"<tr><th>{_verdict(change.verdict)}</th><td>{escape(what(change.row))}</td><td>{escape(change.row.reason)}</td></tr>"
        for change in changes
    ]
    if rows:
        yield f"<details>\n<summary>{len(rows)} changes on the way back</summary>\n<table>{''.join(rows)}</table>\n</details>"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict}">{verdict}</span>'
