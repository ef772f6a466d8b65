"""What a module binds by assignments and imports, and what it does besides."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .. import annotated
from ..displays import new_elements
from ..edit import ModuleDiff, PlannerContext
from ..source import (
    Function,
    Module,
    Origin,
    initialiser,
    names_bound,
    plainly_imported,
    rebound_class,
    text,
    walk,
)
from ..values import NotPlain, Side, is_shared, literal, same
from . import made_again, within
from .changing import changed_by_functions, effect


def changed_values(world: PlannerContext, old: Module, new: Module) -> Iterator[tuple[Origin, object]]:
    """The globals of a module that are plain in both releases, and not the same: each with its new value."""
    carried = _carried(world, old, new)
    for name in new.globals:
        origin = (new.name, name)
        if name not in old.globals or name in carried or origin in world.kept | world.reset:
            continue
        was, now = _plain(world.old, origin), _plain(world.new, origin)
        if was is NotPlain or now is NotPlain or same(was, now):
            continue
        if not (world.observed and is_shared(now) and is_shared(was)):  # else it is changed itself, for all who have it
            yield origin, now


def _carried(world: PlannerContext, old: Module, new: Module) -> set[str]:
    """The globals that functions change, where the module's code_change says what becomes of them."""
    if "code_change" not in (new if world.up else old).functions:
        return set()
    return changed_by_functions(old.body) | changed_by_functions(new.body)


def compare(edit: ModuleDiff) -> None:
    """Compare all of a module's assignments and imports, and its other statements."""
    old, new = edit.old, edit.new
    for name in {**old.stored, **new.stored}:
        if name in new.functions or name in new.classes or name in old.functions or name in old.classes:
            continue  # `definitions` looks at these
        if rebound_class(old, new, name):
            continue
        _name(edit, name)
    if edit.is_same_text:
        return
    _submodules(edit)
    _statements(edit)
    annotated.of_module(edit)


def _submodules(edit: ModuleDiff) -> None:
    """Have imported what ``import a.b`` imports besides binding ``a``, which is there already."""
    before, after = (plainly_imported(side.body) for side in (edit.old, edit.new))
    for name in dict.fromkeys(after):
        top = name.partition(".")[0]
        if "." in name and name not in before and top in edit.old.stored:
            statement = _at(edit.new, top)
            assert statement is not None
            edit.imports.append(name)
            edit.run(ast.copy_location(ast.Import([ast.copy_location(ast.alias(name), statement)]), statement))
            edit.row(top, "import", "HOT", f"{name} is imported as well", statement)


def _name(edit: ModuleDiff, name: str) -> None:
    old, new = edit.old, edit.new
    origin = (new.name, name)
    before, after = _binding(old, name), _binding(new, name)
    if (before is None or after is None) and any(_is_tried(side, name) for side in (old, new)):
        return _other(edit, name, Other(_at(new, name) or _at(old, name)))
    if isinstance(before, Other) or isinstance(after, Other):
        if text_of(old, name) != text_of(new, name) and not _is_conditional(old, new, name):
            _other(edit, name, after if isinstance(after, Other) else before)
        return None
    if origin in edit.world.kept:
        if after is not None and before is not None and text_of(old, name) != text_of(new, name):
            edit.row(name, "value", "HOT", "kept as it is: the appup says so", _at(new, name))
        return None
    match before, after:
        case None, ast.expr() as value:
            return _added(edit, name, value)
        case None, (module, _):
            edit.added.append(name)
            return _imported(edit, name, module)
        case _, None:
            if isinstance(before, ast.expr) and (what := effect(edit.world, old, before)):
                reason = f"making it has changed something else ({what}), and nothing takes that back"
                if not edit.unless_seen(name, "removed", reason, _at(old, name), gone=True):
                    return None
            edit.removed.append(name)
            edit.changes(name)
            if isinstance(before, ast.Lambda):
                edit.guard("no_holders", name)
            return edit.row(name, "removed", "HOT", "no longer bound", _at(old, name), gone=True)
        case ast.expr() as one, ast.expr() as other:
            return _value(edit, name, one, other)
        case (_, _), (_, _):
            return _import(edit, name)
        case _:
            return edit.restart(name, "value", "it is bound in another way than before", _at(new, name))


def _value(edit: ModuleDiff, name: str, before: ast.expr, after: ast.expr) -> None:
    origin = (edit.new.name, name)
    statement = _at(edit.new, name)
    if origin in edit.world.remade and name in changed_by_functions(edit.old.body):
        reason = "functions change it, so what is bound to it by then is not what the old version says"
        return edit.restart(name, "value", reason, statement)
    if origin in edit.world.reset:
        if origin in edit.world.remade:
            made_again.hold_alone(edit, name, before)
        edit.replaced.append(name)
        edit.changes(name)
        edit.run(ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], after), statement or after))
        reason = made_again.UNCHANGEABLE if origin in edit.world.remade else "made again: the appup says so"
        return edit.row(name, "value", "HOT", reason, statement)
    if origin in edit.world.values and name in changed_by_functions(edit.old.body):
        reason = "functions change it, so what is bound to it by then is not what the old version says"
        return edit.restart(name, "value", reason, statement)
    if origin in edit.world.values:
        value = edit.world.values[origin]
        edit.was[name] = edit.world.old.value(origin)
        edit.changes(name)
        edit.run(_assign(name, value, after))
        return edit.row(
            name, "value", "HOT", "a plain value, replaced if it is still what the old version says", statement
        )
    if text(before) == text(after):
        return None  # kept; what it reads is looked at in `reach`
    if within.lambdas(edit, name, before, after):
        return None
    if name in _carried(edit.world, edit.old, edit.new):
        return edit.row(name, "value", "MIGRATE", "the code_change of the module says what becomes of it", statement)
    was, now = _plain(edit.world.old, origin), _plain(edit.world.new, origin)
    if was is not NotPlain and now is not NotPlain and same(was, now):
        return None  # in other words
    if name in changed_by_functions(edit.old.body) and is_shared(now):
        reason = "functions change it, so what is bound to it by then is not what the old version says"
        return edit.restart(name, "value", reason, statement)
    if _module_code_change(edit):
        return edit.row(name, "value", "MIGRATE", "the code_change of the module says what becomes of it", statement)
    edit.changes(name)
    reason = "what it is bound to can't be told without running it; `keep` or `reset` in the appup decides"
    if edit.unless_seen(name, "value", reason, statement):
        for number, element in enumerate(new_elements(before, after)):
            made = f".{name}.{number}"  # which no source can bind
            edit.made_in.setdefault(name, []).append(made)
            edit.run(ast.copy_location(ast.Assign([ast.Name(made, ast.Store())], element), element))
    return None


def _added(edit: ModuleDiff, name: str, value: ast.expr) -> None:
    edit.added.append(name)
    edit.changes(name)
    origin = (edit.new.name, name)
    plain = _plain(edit.world.new, origin)
    if plain is not NotPlain:
        edit.run(_assign(name, plain, value))
    else:
        for node in walk(value):
            if isinstance(node, ast.Call) and (called := _own_object(edit, node.func)):
                reason = f"making it calls {called}, which is there already, and nothing would take that back"
                if not edit.unless_seen(name, "added", reason, value):
                    return
        edit.run(ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), value))
    edit.row(name, "added", "HOT", "new; made while nothing uses it", value)
    return


def _own_object(edit: ModuleDiff, called: ast.expr) -> str:
    """The object of this release, made when the module was imported, of which something is called; empty for none."""
    if not isinstance(called, ast.Attribute):
        return ""
    source = edit.world.new.resolve(edit.new, called.value)
    known = edit.world.new.modules.get(source[0]) if source else None
    return ast.unparse(called) if source and known and source[1].partition(".")[0] in known.globals else ""


def _imported(edit: ModuleDiff, name: str, module: str) -> None:
    statement = _at(edit.new, name)
    assert statement is not None
    target = _origin(edit.world.new, edit.new, name)
    edit.changes(name)
    if target in edit.world.values:
        edit.run(_assign(name, edit.world.values[target], statement))
    elif target[1] and target[0] in edit.world.compared and _is_bound(edit.world.new, target):
        edit.imports.append(module)
        edit.rebind[name] = target
    else:
        edit.imports.append(module if target[1] else target[0])
        edit.run(only(statement, name))
    edit.row(name, "import", "HOT", "imported as well", statement)


def _is_bound(side: Side, origin: Origin) -> bool:
    known = side.modules.get(origin[0])
    return known is not None and origin[1] in known.stored


def _import(edit: ModuleDiff, name: str) -> None:
    before = _origin(edit.world.old, edit.old, name)
    after = _origin(edit.world.new, edit.new, name)
    if before != after and _moves(edit, name, before, after):
        return None
    if before != after:
        reason = f"it stood for {_dotted(before)}, and stands for {_dotted(after)}; both may be in use"
        return edit.restart(name, "import", reason, _at(edit.new, name))
    if after in edit.world.values:
        edit.rebind[name] = after
        reason = f"bound to what {_dotted(after)} becomes"
        edit.row(name, "import", "HOT", reason, _at(edit.new, name), cause=after)
    elif after in edit.world.reset:
        reason = f"{_dotted(after)} is made again, and this is bound to the old one"
        edit.rebind[name] = after
        edit.row(
            name,
            "import",
            "HOT",
            reason.replace("and this is bound to the old one", "and this with it"),
            _at(edit.new, name),
        )
    return None


def _moves(edit: ModuleDiff, name: str, before: Origin, after: Origin) -> bool:
    """Whether an import of the same from elsewhere, or of another function, can be bound again; if so, have it so."""
    statement = _at(edit.new, name)
    old, new = edit.world.old.modules.get(before[0]), edit.world.new.modules.get(after[0])
    stays = edit.world.new.modules.get(before[0])
    if statement is None or isinstance(statement, ast.Try):
        return False
    if old is not None and before[1] in old.classes and stays is not None and before[1] in stays.stored:
        return False  # there may be instances of both
    if (old is None or new is None) and _is_made(edit.old, name):
        return False  # what it has made is there
    if after[1] and after[0] in edit.world.compared and _is_bound(edit.world.new, after):
        edit.rebind[name] = after
    else:
        edit.replaced.append(name)
        edit.run(only(statement, name))
    edit.renamed.add(name)
    edit.changes(name)
    edit.row(name, "import", "HOT", f"bound to {_dotted(after)} instead of {_dotted(before)}", statement)
    return True


def _is_made(module: Module, name: str) -> bool:
    """Whether functions make something of what has this name."""
    nodes = (inner for statement in module.body for inner in walk(statement))
    calls = (node.func for node in nodes if isinstance(node, ast.Call))
    return name[:1].isupper() and any(isinstance(call, ast.Name) and call.id == name for call in calls)


def _is_tried(module: Module, name: str) -> bool:
    """Whether a name is bound by an import that is tried: another thing may bind it as well."""
    return name in module.imports and isinstance(_at(module, name), ast.Try)


class Other:
    """Bound by more than one statement, or by one that is neither an assignment, an import nor a definition."""

    def __init__(self, node: ast.stmt | None) -> None:
        self.node = node


def _other(edit: ModuleDiff, name: str, binding: object) -> None:
    node = binding.node if isinstance(binding, Other) else None
    reason = "several statements bind it, or one that does more than that, and they change"
    if edit.unless_seen(name, "value", reason, node, gone=_at(edit.new, name) is None):
        edit.changes(name)


def _binding(module: Module, name: str) -> ast.expr | Origin | Other | None:
    if name not in module.stored:
        return None
    if module.stored[name] > 1:
        return Other(_at(module, name))
    return module.globals.get(name) or module.imports.get(name) or Other(_at(module, name))


def _at(module: Module, name: str) -> ast.stmt | None:
    return next((statement for statement in module.body if name in names_bound(statement)), None)


def text_of(module: Module, name: str) -> str:
    """All statements that bind a name, to be compared; of an assignment its value alone."""
    if name in module.globals:
        return text(module.globals[name])
    if name in module.imports:
        return repr(module.imports[name])
    return "\n".join(text(statement) for statement in module.body if name in names_bound(statement))


def _is_conditional(old: Module, new: Module, name: str) -> bool:
    """Whether what binds a name are functions under conditions, which `_statements` compares."""
    binding = [[statement for statement in side.body if name in names_bound(statement)] for side in (old, new)]
    if not all(_is_bare(statement, side) for side, of in zip((old, new), binding, strict=True) for statement in of):
        return False
    if not all(any(isinstance(inner, Function) for inner in walk(statement)) for of in binding for statement in of):
        return False
    return [within.outline(statement) for statement in binding[0]] == [
        within.outline(statement) for statement in binding[1]
    ]


def _statements(edit: ModuleDiff) -> None:
    """Compare what a module does when it is imported besides binding names: calls, loops, conditions."""
    before = [statement for statement in edit.old.body if _is_bare(statement, edit.old)]
    after = [statement for statement in edit.new.body if _is_bare(statement, edit.new)]
    texts = [text(statement) for statement in before]
    for statement in after:
        if text(statement) in texts:
            texts.remove(text(statement))
        elif (was := _pair(edit, statement, before, texts)) is not None:
            texts.remove(text(was))
        else:
            what = ast.unparse(statement).partition("\n")[0][:60]
            reason = f"`{what}` runs when the module is imported, which it was already"
            if edit.unless_seen("", "statement", reason, statement):
                edit.run(statement)
    for old in before:
        if text(old) in texts:
            texts.remove(text(old))
            what = ast.unparse(old).partition("\n")[0][:60]
            reason = f"`{what}` ran when the module was imported, and nothing takes it back"
            edit.unless_seen("", "statement", reason, old, gone=True)


def _pair(edit: ModuleDiff, statement: ast.stmt, before: list[ast.stmt], left: list[str]) -> ast.stmt | None:
    """The statement of the old module that differs from this one in functions' bodies alone, which are compared then."""
    others = (earlier for earlier in before if text(earlier) in left)
    return next((other for other in others if within.conditional(edit, other, statement)), None)


def _is_bare(statement: ast.stmt, module: Module) -> bool:
    if isinstance(statement, Function | ast.ClassDef | ast.Import) or initialiser(statement) is not None:
        return False
    if isinstance(statement, ast.ImportFrom):
        return any(alias.name == "*" for alias in statement.names)
    return not (isinstance(statement, ast.AnnAssign) and statement.value is None)


def _module_code_change(edit: ModuleDiff) -> bool:
    return "code_change" in (edit.new if edit.world.up else edit.old).functions


def _assign(name: str, value: object, at: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], literal(value)), at)


def only(statement: ast.stmt, name: str) -> ast.stmt:
    """An import of one name alone."""
    assert isinstance(statement, ast.Import | ast.ImportFrom)
    names = [alias for alias in statement.names if (alias.asname or alias.name.partition(".")[0]) == name]
    made: ast.stmt = (
        ast.Import(names)
        if isinstance(statement, ast.Import)
        else ast.ImportFrom(statement.module, names, statement.level)
    )
    return ast.copy_location(made, statement)


def _origin(side: Side, module: Module, name: str) -> Origin:
    try:
        return side.origin(module, name)
    except NotPlain:
        return module.imports[name]


def _plain(side: Side, origin: Origin) -> object:
    """The plain value of a global; NotPlain when there is none to be told."""
    try:
        value: object = side.value(origin)
    except NotPlain:
        return NotPlain
    return value


def _dotted(origin: Origin) -> str:
    return ".".join(filter(None, origin))
