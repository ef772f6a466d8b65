"""Flask refuses whatever sets it up once it has had a request, and so does a blueprint that is registered; both look for templates once."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ...edit import ModuleDiff
from ...source import Function
from .. import decorators
from . import Rule
from .registering import at, calls, count

_APPLICATIONS = ("flask.app.Flask", "flask.blueprints.Blueprint")

RULES = (
    Rule("flask.app.Flask", "_got_first_request", False, "meanwhile"),
    Rule("flask.blueprints.Blueprint", "_got_registered_once", False, "meanwhile"),
    *(Rule(cls, "jinja_loader", None, "dropped", below=("root_path", "template_folder")) for cls in _APPLICATIONS),
)

_APPLICATION = ("flask.Flask", "flask.app.Flask")
_SETUP = """\
for _setup in [{name}.make_setup_state({app}, {options}, True)]:
    for _rule in {app}.url_map.iter_rules():
        if _rule.endpoint.startswith({name}.name + "."):
            _setup.url_defaults = _rule.defaults
    for _function in {name}.deferred_functions[-{count}:]:
        _function(_setup)
"""
"""What registering a blueprint does with its functions, for the last of them; its rules share the defaults."""

_BLUEPRINT = ("flask.Blueprint", "flask.blueprints.Blueprint")


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have what is run for views of Flask do what a start does: free the name of one that is there, and tell applications of blueprints.

    What comes of it is compared with a fresh start.
    """
    for edit in edits.values():
        for statement in list(edit.statements):
            if isinstance(statement, Function):
                for decorator in statement.decorator_list:
                    _view(edits, edit, statement, decorator)


def _view(edits: Mapping[str, ModuleDiff], edit: ModuleDiff, function: Function, decorator: ast.expr) -> None:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not isinstance(called, ast.Attribute):
        return
    side, source = edit.world.new, edit.world.new.resolve(edit.new, called.value)
    of, again = ast.unparse(called.value), function.name in edit.replaced
    if decorators.is_framework(side, source, _APPLICATION) and again:
        edit.run(at(decorator, f"{of}.view_functions.pop({function.name!r}, None)"))
    elif source and decorators.is_framework(side, source, _BLUEPRINT):
        for other, call, name in calls(edits, "register_blueprint", source):
            app, options = _parts(call)
            if again:
                other.run(at(call, f"{app}.view_functions.pop({name}.name + '.' + {function.name!r}, None)"))
            setup = _SETUP.format(app=app, name=name, options=options, count=count(edit, of))
            other.run(at(call, setup))


def _parts(call: ast.Call) -> tuple[str, str]:
    """The application that a call registers a blueprint with, and the options, as text."""
    assert isinstance(call.func, ast.Attribute)
    options = (f"{keyword.arg!r}: {ast.unparse(keyword.value)}" for keyword in call.keywords)
    return ast.unparse(call.func.value), f"{{{', '.join(options)}}}"
