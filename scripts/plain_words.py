"""Find words of a private dialect where the field, or plain English, has one: in strings, comments, docs and names.

usage: plain_words.py

Each row of `WORDS` is a pattern, and what to write instead. The glossary is docs/explanation/terms.md. And the docstring of a function
that returns nothing, or is named for an act, begins with a verb; what functions go over, find and keep is named by its noun; and
a function by what it does or returns.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_MAY_FOLLOW_NO = (
    "longer|such|more|less|faster|slower|other|one|way|use|business|secret|code|log|room|configuration|need"
)
WORDS = {
    r"\banew\b": "again",
    r"\bbeside\b": "next to",
    rf"(?<!there )\bis no (?!(?:{_MAY_FOLLOW_NO})\b)[\w{{]": "is not a ...",
    r"\bbears?\b": "contains, has",
    r"\bis at it\b": "has been running for",
    r"\b(?:is|are|was|were) let go\b(?! of)": "is closed, is disconnected",
    r"\bmet an error\b": "an internal error",
    r"\ba word in the log\b": "a warning is logged",
    r"\bgates do not hold\b": "gates failed",
    r"\bwhat ran before runs on\b": "the version before runs on",
    r"\bwhat answers for\b": "the process on the control socket",
    r"(?<!there )\bis another(?=[.,;:)]| (?:too|by now|than|in each)\b)": "differs",
    r"\bthat is to be had\b|\bis not to be had\b": "there is no ...",
    r"\b(?:states|reported) (?:a \w+|an exit status) that is none\b": "... that makes no sense",
    r"\blet go of by\b": "released by",
}
NAMES = {"may_stay": "can_install_in_place", "switch": "is_enabled", "beside": "next_to"}
"""Names in code."""
ACTS = (
    "accept|acquire|add|apply|ask|attach|begin|bind|call|cancel|check|clear|close|commit|connect|copy|cut|decode|deploy|discard|dump"
    "|encode|enter|evaluate|expect|find|forget|get|greet|hold|install|issue|join|kill|leave|link|listen|load|look|mark|move|note|parse"
    "|publish|read|recall|receive|refresh|refuse|register|reload|remember|remove|rename|renew|replace|report|resolve|resume|save|send"
    "|serve|sign|spawn|stop|suspend|sweep|take|tell|terminate|unpack|verify|wait|watch|write"
)
"""With one of these begins the name of a function that acts, whatever it returns."""
NO_VERBS = (
    "A|All|An|As|At|By|Each|Every|Everything|For|From|How|In|No|Not|Nothing|Of|On|One|Raises|Returns|Seconds|Something|That|The|There"
    "|These|This|Those|Two|Until|What|When|Where|Whether|Which|Who|Whose|Why|With|Without|`.*"
)
"""With none of these begins what such a function does."""
VAGUE = ("each", "found", "kept", "own", "place", "said", "there")
"""Names that a parameter or a variable of a function has not, but `place` where there is a class Place."""
VAGUE_FUNCTIONS = (*VAGUE, "met", "told")
"""Names that no function has anywhere, whatever underscores are around; a property is like a field, and may."""
PLACES = ("src", "runtime/src")
"""Where docstrings and the names of variables are looked at too."""
TEXTS = (
    *PLACES,
    "docs",
    "bench",
    "examples",
    "scripts",
    "tests",
    ".ci",
    "Makefile",
    "noxfile.py",
    "README.md",
    "CHANGELOG.md",
)
_PATTERNS = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in WORDS.items()}


def main() -> int:
    """Print each place with what to write there, and return the status."""
    problems = [problem for root in TEXTS for file in _files(Path(root)) for problem in _of(file)]
    problems += [
        problem for root in PLACES for file in _files(Path(root)) if file.suffix == ".py" for problem in _names(file)
    ]
    problems += [
        problem
        for root in PLACES
        for file in _files(Path(root))
        if file.suffix == ".py"
        for problem in (*_docstrings(file), *_locals(file))
    ]
    problems += [problem for file in _sources() for problem in _functions(file)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for file in sorted(root.rglob("*")):
        if file == Path(sys.argv[0]):  # where the words stand
            continue
        if file.suffix in (".py", ".md", ".sh") and not {"build", ".venv", "__pycache__"} & {*file.parts}:
            yield file


def _of(file: Path) -> Iterator[str]:
    for line, text in _texts(file):
        plain = re.sub(r"`[^`]*`", "", text)
        for pattern, instead in _PATTERNS.items():
            yield from (f"{file}:{line}: {match[0]!r}: write {instead!r}" for match in pattern.finditer(plain))


def _names(file: Path) -> Iterator[str]:
    with tokenize.open(file) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.NAME and token.string in NAMES:
                yield f"{file}:{token.start[0]}: {token.string}: write {NAMES[token.string]!r}"


def _docstrings(file: Path) -> Iterator[str]:
    """Yield each function that acts, and is described by a noun."""
    if "templates" in file.parts:
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if (
            not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (docstring := ast.get_docstring(node)) is None
        ):
            continue
        name, first = node.name.strip("_"), docstring.split(maxsplit=1)[0].rstrip(",:;.")
        is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
        returns_nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
        acts = re.fullmatch(rf"({ACTS})(_.*)?", name) or (returns_nothing and not name.startswith("on_"))
        if acts and not is_property and not node.name.startswith("__") and re.fullmatch(NO_VERBS, first):
            yield f"{file}:{node.lineno}: {node.name}: {first!r} is not a verb: write what it does"


def _locals(file: Path) -> Iterator[str]:
    """Yield each name of a parameter or variable that says nothing of what it stands for."""
    if "templates" in file.parts:
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = [*ast.walk(tree)]
    fields = {id(name) for cls in nodes if isinstance(cls, ast.ClassDef) for name in map(_target, cls.body)}
    has_place = any("Place" in (getattr(node, "name", ""), getattr(node, "id", "")) for node in nodes)
    for node in nodes:
        match node:
            case ast.Name(name, ast.Store()) | ast.arg(name) | ast.MatchAs(name=name) | ast.MatchStar(name):
                if name in VAGUE and id(node) not in fields and not (name == "place" and has_place):
                    yield f"{file}:{node.lineno}: {name}: write the noun"


def _sources() -> Iterator[Path]:
    """Yield all Python files that git has or would have."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    yield from (Path(name) for name in listed.splitlines() if Path(name).exists())


def _functions(file: Path) -> Iterator[str]:
    """Yield each function whose name says nothing of what it does."""
    try:
        nodes = [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    except SyntaxError:  # a template, or a test's file that is broken on purpose
        return
    has_place = any("Place" in (getattr(node, "name", ""), getattr(node, "id", "")) for node in nodes)
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.strip("_") in VAGUE_FUNCTIONS:
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not is_property and not (node.name == "place" and has_place):
                yield f"{file}:{node.lineno}: def {node.name}: write the verb, or the noun of what it returns"


def _target(statement: ast.stmt) -> ast.expr | None:
    return statement.target if isinstance(statement, ast.AnnAssign) else None


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    if file.suffix != ".py":
        yield from enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        return
    with tokenize.open(file) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(
                tokenize, "FSTRING_MIDDLE", -1
            ):
                yield token.start[0], token.string


if __name__ == "__main__":
    sys.exit(main())
