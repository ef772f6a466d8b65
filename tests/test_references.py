"""References: whoever takes a ``module:name`` finds the same, and says the same where there is nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from underway.errors import ProjectError
from underway.project.options import problem_of
from underway.project.project import load_callable
from underway_runtime.cluster.expression import evaluate
from underway_runtime.configuration.resolution import resolve_provider
from underway_runtime.release.errors import BootError, ConfigError
from underway_runtime.release.gates import FunctionGate, GateContext
from underway_runtime.release.references import find

Read = Callable[[str], object]

FINDERS: dict[str, Read] = {
    "boot scripts and schemas": find,
    "a gate": lambda text: asyncio.run(FunctionGate(function=text).attempt(GateContext())),
    "a provider": resolve_provider,
    "the deployment of a cluster": lambda text: asyncio.run(evaluate(text)),
    "a step or an option of the tool": lambda text: load_callable(text, Path("/nowhere")),
}


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with a class in a class, which is called like any of them is called."""
    made = ModuleType("acme")
    exec("class Outer:\n class Inner:\n  def init(self, _): ...\n  def load(self, *_): ...", made.__dict__)
    monkeypatch.setitem(sys.modules, "acme", made)


@pytest.mark.parametrize("find_it", FINDERS.values(), ids=FINDERS)
def test_a_name_may_be_within_another(find_it: Read) -> None:
    """A class in a class, for all of them."""
    find_it("acme:Outer.Inner")


@pytest.mark.parametrize("find_it", FINDERS.values(), ids=FINDERS)
@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("acme:Outer.Other", "acme has no 'Outer.Other', which 'acme:Outer.Other' names"),
        ("nowhere.at:all", "there is no module 'nowhere.at', which 'nowhere.at:all' names"),
    ],
)
def test_what_is_not_there_is_named(reference: str, reason: str, find_it: Read) -> None:
    """The module, or what it has not, in the same words for all of them."""
    with pytest.raises((BootError, ConfigError, ProjectError), match=re.escape(reason)):
        find_it(reference)


def test_what_a_module_raises_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing import, or an AttributeError of its own code, is not taken for the module or the name missing."""
    (tmp_path / "lacking.py").write_text("import nowhere_to_be_found")
    (tmp_path / "faulty.py").write_text("import sys; sys.no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        find("lacking:x")
    with pytest.raises(AttributeError, match="no_such_thing"):
        find("faulty:x")


@pytest.mark.parametrize("text", ["chat", "chat:", ":main", "chat.main", "chat:main()", "chat main:x", "1chat:x"])
def test_what_has_not_the_form_is_refused_at_the_build(text: str) -> None:
    """And so is a gate's."""
    assert problem_of("main", text) == f'main is {text!r}; it must be a function, "module:function"'
    assert 'it must be "module:function"' in str(problem_of("gates", [{"function": text}]))
