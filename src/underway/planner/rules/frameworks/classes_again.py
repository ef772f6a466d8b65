"""Classes that are made once more, since a framework has read them: models, forms, and classes that FastAPI's handlers depend on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ...edit import ModuleDiff, PlannerContext
from ...source import Function, Module, Origin, text, walk
from ...values import origin
from .. import decorators, replaced_classes, state, unmade
from ..bases import DATACLASS, MODELS
from . import instances_again

_FORMS = (
    *("django.forms.Form", "django.forms.forms.Form"),
    *("django.forms.ModelForm", "django.forms.models.ModelForm"),
)
_OF_FORMS = ("django.forms.", "django.core.validators.")
"""What is below these makes fields, widgets and checks, and keeps nothing of a call."""
_DESCRIBING = {
    *("Field", "PrivateAttr", "ConfigDict", "StringConstraints", "AfterValidator", "BeforeValidator", "PlainValidator"),
    *("WrapValidator", "PlainSerializer", "WrapSerializer", "Discriminator", "Tag", "AliasChoices", "AliasPath"),
    *("fields.Field", "fields.PrivateAttr", "config.ConfigDict", "types.StringConstraints"),
    *("SettingsConfigDict", "main.SettingsConfigDict"),
    *("conint", "constr", "confloat", "conlist", "condecimal", "condate", "conset", "conbytes"),
}
"""Functions of pydantic that make a description of a field, and keep nothing of a call."""
_VALUES = {
    *(f"pydantic.{name}" for name in ("SecretStr", "SecretBytes", "HttpUrl", "AnyUrl", "PostgresDsn", "RedisDsn")),
    *("pydantic.types.SecretStr", "pydantic.types.SecretBytes"),
    *(f"pydantic.networks.{name}" for name in ("HttpUrl", "AnyUrl", "PostgresDsn", "RedisDsn")),
    *("pathlib.Path", "datetime.timedelta", "decimal.Decimal", "uuid.UUID"),
}
"""What makes a value that nobody changes: another one is as good."""
_CHECKING = {
    *("field_validator", "model_validator", "field_serializer", "model_serializer", "computed_field"),
    *("functional_validators.field_validator", "functional_validators.model_validator"),
    *("functional_serializers.field_serializer", "functional_serializers.model_serializer", "fields.computed_field"),
}
"""Its decorators, of which it makes something when it makes the class."""


def compare(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> bool:
    """Whether a class changes in what a framework has read of it; if so, have it made once more, or write down why not."""
    if "." in name or edit.annotates_otherwise:
        return False
    sides = ((edit.old, old), (edit.new, new))
    if all(is_model(edit.world, module, cls) for module, cls in sides):
        who, (before, after) = "what makes it", ([*_of_model(edit, cls)] for cls in (old, new))
    elif all(_is_plain(edit, cls) for cls in (old, new)) and decorators.is_depended_on(
        edit.world, (edit.new.name, name)
    ):
        who, (before, after) = "FastAPI", ([*_of_calls(cls)] for cls in (old, new))
    else:
        return False
    same = [*map(text, before)] == [*map(text, after)]
    if same and not any(map(edit.reads, after)):
        return False
    cause = edit.cause_in(new) if same else ("", "")
    fields = [[text(part) for part in cls.body if isinstance(part, ast.AnnAssign)] for cls in (old, new)]
    names = state.changed_fields(old, new) if fields[0] != fields[1] else "parameters, bases, or what checks it"
    what = f"made with {cause[1]}" if cause[1] else names
    make(edit, name, new, "field", f"{who} has read what it is made of already ({what})", cause)
    return True


def is_read(world: PlannerContext, module: Module, cls: ast.ClassDef, edit: ModuleDiff) -> bool:
    """Whether a framework has read a class of the newer release."""
    return is_model(world, module, cls) or (
        _is_plain(edit, cls) and decorators.is_depended_on(world, (module.name, cls.name))
    )


def is_model(world: PlannerContext, module: Module, cls: ast.ClassDef, seen: tuple[Origin, ...] = ()) -> bool:
    """Whether a class comes from nothing but models, or forms: pydantic's and Django's own, and those of the release."""
    side = world.new if world.new.modules.get(module.name) is module else world.old
    for base in cls.bases:
        source = origin(side, module, base) if isinstance(base, ast.Name | ast.Attribute) else None
        if source is None or source in seen:
            return False
        known = side.modules.get(source[0]) if source[0] in world.compared else None
        inner = known.classes.get(source[1]) if known else None
        if ".".join(source) not in (*MODELS, *_FORMS) and not (
            known and inner and is_model(world, known, inner, (*seen, source))
        ):
            return False
    return bool(cls.bases)


def _is_plain(edit: ModuleDiff, cls: ast.ClassDef) -> bool:
    """Whether a class comes from no other, and at most `dataclass` has done something with it."""
    made = [".".join(origin(edit.world.new, edit.new, decorator) or ()) for decorator in cls.decorator_list]
    return not cls.bases and not cls.keywords and made in ([], [DATACLASS])


def make(edit: ModuleDiff, name: str, new: ast.ClassDef, change: str, problem: str, cause: Origin = ("", "")) -> None:
    """Have a class made once more: what is made with it follows it, and nobody may have the one before, or an instance of it."""
    old = edit.old.classes[name]
    if lost := _lost(edit, old) or _lost(edit, new) or _listed(edit.world):
        return edit.restart(name, change, f"{problem}, and making it once more would lose {lost}", new, cause=cause)
    made = instances_again.made_at_import(edit, new) if is_model(edit.world, edit.new, new) else ()
    if instances := unmade.makes_its_own(edit, new, made):
        reason = f"{problem}; {instances} makes some of its instances"
        return edit.restart(name, change, reason, new, cause=cause)
    if not edit.unless_seen(name, change, problem, new, cause=cause):
        return None
    replaced_classes.run_once_more(edit, name, new)
    reason = "it is made once more, if it has no instances, and nobody else holds the one before, by then"
    return edit.row(name, change, "HOT", reason, new, cause=cause)


def _of_model(edit: ModuleDiff, cls: ast.ClassDef) -> Iterator[ast.AST]:
    """What pydantic has read of a class: everything but methods that are nothing to it, and bodies."""
    yield from (*cls.decorator_list, *cls.bases, *(word.value for word in cls.keywords))
    for statement in cls.body:
        if isinstance(statement, Function):
            if any(_is_of_pydantic(edit, cls, decorator, _CHECKING) for decorator in statement.decorator_list):
                yield ast.Name(statement.name, ast.Load())
                yield from (*statement.decorator_list, statement.args, *filter(None, [statement.returns]))
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement


def _of_calls(cls: ast.ClassDef) -> Iterator[ast.AST]:
    """What decides how a class is called."""
    for statement in cls.body:
        if isinstance(statement, Function) and statement.name in ("__init__", "__new__"):
            yield statement.args
        elif isinstance(statement, ast.AnnAssign) and cls.decorator_list:
            yield statement
    yield from cls.decorator_list


def _lost(edit: ModuleDiff, cls: ast.ClassDef) -> str:
    """What a class may keep, and nothing else: which another in its place would not have; empty for nothing."""
    if cls.decorator_list and not _is_plain(edit, cls):
        return f"what @{ast.unparse(cls.decorator_list[0])} may keep"
    for statement in cls.body:
        parts: list[ast.AST] = []
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in statement.decorator_list:
                    if not _is_of_pydantic(edit, cls, decorator, _CHECKING) and not _is_neutral(edit, decorator):
                        return f"what @{ast.unparse(decorator)} may keep"
                parts += [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
            case ast.AnnAssign(ast.Name(), annotation, value):
                if "ClassVar" in ast.unparse(annotation) and not isinstance(value, ast.Constant | None):
                    return f"what {ast.unparse(statement.target)} may hold"
                parts += [annotation, *filter(None, [value])]
            case ast.Assign([ast.Name("model_config")], ast.Call() | ast.Dict() as value):
                parts.append(value)
            case ast.Assign([ast.Name()], ast.Call() as value) if _is_of_forms(edit, cls, value):
                parts.append(value)
            case ast.ClassDef("Meta", body=body) if all(map(_is_told, body)):
                continue
            case ast.Pass() | ast.Expr(ast.Constant()) | ast.Assign([ast.Name()], ast.Constant()):
                continue
            case _:
                return f"what `{ast.unparse(statement).partition(chr(10))[0]}` may hold"
        for call in (inner for part in parts for inner in walk(part) if isinstance(inner, ast.Call)):
            known = _is_of_pydantic(edit, cls, call, _DESCRIBING) or _is_of_forms(edit, cls, call)
            known = known or _origin(edit, cls, call) in _VALUES
            if not known and not decorators.only_describes(edit.world.new, edit.new, call):
                return f"what `{ast.unparse(call)}` may hold"
    return ""


def _listed(world: PlannerContext) -> str:
    """Which module asks a class for all that inherit from it: the one before is among these until it is collected."""
    for module in filter(None, map(world.new.modules.get, sorted(world.compared))):
        for node in (inner for statement in module.body for inner in walk(statement)):
            if isinstance(node, ast.Attribute) and node.attr == "__subclasses__":
                return f"its place in what {module.name} has of {ast.unparse(node)}()"
    return ""


def _is_neutral(edit: ModuleDiff, decorator: ast.expr) -> bool:
    return decorators.kinds(edit.world.new, edit.new, [decorator]) == {"neutral"}


def _is_told(statement: ast.stmt) -> bool:
    """Whether a statement of a class within another binds names and constants to a name, or is a text."""
    match statement:
        case ast.Assign([ast.Name()], value) | ast.Expr(ast.Constant() as value):
            return not any(isinstance(inner, ast.Call | ast.Lambda | ast.comprehension) for inner in walk(value))
    return False


def _is_of_pydantic(edit: ModuleDiff, cls: ast.ClassDef, called: ast.expr, names: set[str]) -> bool:
    """Whether what a class calls is one of these of pydantic."""
    package, _, name = _origin(edit, cls, called).partition(".")
    return package in ("pydantic", "pydantic_settings") and name in names


def _is_of_forms(edit: ModuleDiff, cls: ast.ClassDef, called: ast.expr) -> bool:
    return _origin(edit, cls, called).startswith(_OF_FORMS)


def _origin(edit: ModuleDiff, cls: ast.ClassDef, called: ast.expr) -> str:
    """Where what a class calls comes from, as its own release imports it."""
    is_old = edit.old.classes.get(cls.name) is cls
    side, module = (edit.world.old, edit.old) if is_old else (edit.world.new, edit.new)
    return ".".join(origin(side, module, called) or ())
