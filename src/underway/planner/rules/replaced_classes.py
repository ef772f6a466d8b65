"""Classes that can't become what the newer version has: another takes their place, made by the same statement, if nobody has them.

Whether there are instances, and who holds the class, only the process knows; what making it does besides is looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

from underway_runtime.release import code_tree

from .. import marks
from ..edit import ModuleDiff, PlannerContext
from ..source import Function, Module, Origin, names_bound, walk
from ..values import NotPlain, is_shared, origin
from . import decorators, regrown, state, unmade
from .bases import DATACLASS, HOLDING, plain_bases
from .changing import changed_by_functions

MADE = "made"
REASON = "another takes its place, if it has no instances, and nobody else holds it, by then"
_DECORATORS = {
    *HOLDING,
    *(DATACLASS, "typing.final", "typing.runtime_checkable", "functools.total_ordering", "enum.unique"),
    *("typing_extensions.final", "typing_extensions.runtime_checkable", "enum.verify"),
    *("typing_extensions.deprecated", "warnings.deprecated"),
}
"""What makes a class of another, or says something of it, and keeps neither."""
_DESCRIBING = {
    *("dataclasses.field", "enum.auto", "enum.nonmember", "enum.member", "re.compile", "builtins.classmethod"),
    *("builtins.staticmethod", "builtins.property", "typing.TypeVar", "operator.attrgetter", "operator.itemgetter"),
    *(
        f"{module}.{name}"
        for module in ("attr", "attrs", "attr._make")
        for name in ("ib", "attrib", "field", "Factory")
    ),
    "attr._next_gen.field",
}
"""What makes something that is the same whenever it is made, and holds nothing of what happens meanwhile."""


def lost(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> str:
    """What may be kept by a class, and by nothing else: which another would not have; empty for nothing."""
    if "." in name or any(module.stored.get(name) != 1 for module in (edit.old, edit.new)):
        return "what else has its name"
    for module, cls in ((edit.old, old), (edit.new, new)):
        if what := _what_may_change(edit, module, cls):
            return what
    if who := _listing(edit.world):
        return f"its place in what {who} lists"
    if who := _set_by_functions(edit, name):
        return f"what functions set of it, {who}"
    made = "" if regrown.is_enumeration(edit.world, edit.new, new) else unmade.makes_its_own(edit, new)
    return f"the instances that {made} makes" if made else ""


def put(edit: ModuleDiff, name: str, new: ast.ClassDef, problem: str, cause: Origin = ("", "")) -> bool:
    """Have another class take the place of one that can't stay; whether that is so, which only a look tells.

    `problem` says why it can't stay. What was to be done about one that stays is taken back before.
    """
    if not edit.unless_seen(name, MADE, problem, new, cause=cause):
        return False
    run_once_more(edit, name, new)
    edit.guard("unaltered", name)
    edit.row(name, MADE, "HOT", REASON, new, cause=cause)
    return True


def run_once_more(edit: ModuleDiff, name: str, new: ast.ClassDef) -> None:
    """Have the statement of a class run once more, and nobody have the one before, an instance of it, or what its methods made."""
    for path, code in edit.old.codes.items():
        nested, after = path.startswith(f"{name}.") and ".<locals>." in path, edit.new.codes.get(path)
        if nested and (after is None or code_tree.digest(after) != code_tree.digest(code)):
            edit.guard("no_closures", path)
    edit.replaced.append(name)
    edit.guard("no_holders", name)
    edit.guard("no_instances", name)
    edit.changes(name)
    edit.shapes.add(name)
    edit.run(new)


def derived(edit: ModuleDiff, of: Origin) -> Iterator[str]:
    """Have the classes replaced, too, that have a class as a base which is replaced; each that is."""
    for name, cls in edit.new.classes.items():
        old = edit.old.classes.get(name)
        if old is None or name in {*edit.replaced, *edit.added} or not _is_base(edit, cls, of):
            continue
        if what := lost(edit, name, old, cls):
            reason = f"it was made with {of[1]}, and another in its place would lose {what}"
            edit.restart(name, "reached", reason, cls, cause=of)
            continue
        edit.leave_out(name)
        if put(edit, name, cls, f"it was made with {of[1]}", of):
            yield name


def _is_base(edit: ModuleDiff, cls: ast.ClassDef, of: Origin) -> bool:
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in cls.bases)
    return any(edit.world.new.resolve(edit.new, base) == of for base in bases)


def _what_may_change(edit: ModuleDiff, module: Module, cls: ast.ClassDef) -> str:
    """What a class may have in it that changes while the process runs; empty for nothing."""
    side = edit.world.old if module is edit.old else edit.world.new
    for decorator in cls.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ".".join(origin(side, module, called) or ()) not in _DECORATORS and not marks.passes_on(
            side, module, decorator
        ):
            return f"what @{ast.unparse(decorator)} may keep"
    for statement in cls.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                values = _made_with(statement)
                for decorator in statement.decorator_list:
                    if not decorators.kinds(side, module, [decorator]) <= {"neutral"}:
                        return f"what @{ast.unparse(decorator)} may keep"
            case ast.Assign(targets, value) if all(isinstance(target, ast.Name) for target in targets):
                values = [value]
            case ast.AnnAssign(target=ast.Name(), value=value):
                values = [] if value is None else [value]
            case ast.Pass() | ast.Expr(ast.Constant()):
                values = []
            case _:
                return f"what `{text_of(statement)}` may hold"
        for value in values:
            if not _is_settled(edit, module, value) and not _is_asked_for(edit, module, cls, statement, value):
                return f"what `{ast.unparse(value)[:40]}` may hold"
    return ""


def text_of(statement: ast.stmt) -> str:
    """The first line of a statement."""
    return ast.unparse(statement).partition("\n")[0][:40]


def _made_with(function: Function) -> list[ast.expr]:
    return [*function.args.defaults, *filter(None, function.args.kw_defaults)]


def _is_settled(edit: ModuleDiff, module: Module, value: ast.expr) -> bool:
    """Whether what an expression of a class makes stays what it is, or is not of the class alone."""
    side = edit.world.old if module is edit.old else edit.world.new
    match value:
        case ast.Name() | ast.Attribute() | ast.Constant():
            return True
        case ast.Lambda(args):
            return not args.defaults and not any(args.kw_defaults)
        case ast.Tuple(elts):
            return all(_is_settled(edit, module, element) for element in elts)
        case ast.Subscript(of, _):
            return _is_settled(edit, module, of)
        case ast.BinOp(left, _, right):
            return _is_settled(edit, module, left) and _is_settled(edit, module, right)
        case ast.Call(func, args, keywords) if ".".join(origin(side, module, func) or ()) in _DESCRIBING:
            return all(_is_settled(edit, module, part) for part in (*args, *(word.value for word in keywords)))
    try:
        return not is_shared(side.evaluate(module, value))
    except NotPlain:
        return False


def _is_asked_for(edit: ModuleDiff, module: Module, cls: ast.ClassDef, statement: ast.stmt, value: ast.expr) -> bool:
    """Whether it is a member that is empty, of which the process sees that it is so still, and that nobody else has it."""
    if isinstance(statement, Function) or cls.decorator_list or not plain_bases(edit.world, module, cls):
        return False
    return ast.unparse(value) in ("[]", "{}")


def _set_by_functions(edit: ModuleDiff, name: str) -> str:
    """A member of a class that functions of the older release set, or change what it holds; empty for none."""
    for module in filter(None, map(edit.world.old.modules.get, sorted(edit.world.compared))):
        aliases = _names_of(edit, module, name)
        changed = (path.partition(".") for path in sorted(changed_by_functions(module.body)) if aliases)
        for head, _, attribute in changed:
            if (
                head in aliases
                and attribute
                and not _is_of_instances(module, edit.old.classes[name], aliases, attribute)
            ):
                return f"{head}.{attribute}"
        for call in (inner for statement in module.body for inner in walk(statement)) if aliases else ():
            match call:
                case ast.Call(ast.Name("setattr" | "delattr" as called), [ast.Name(first), *_]) if first in {
                    *aliases,
                    "cls",
                }:
                    return f"{called} of {module.name}"
    return ""


def _is_of_instances(module: Module, cls: ast.ClassDef, aliases: Collection[str], attribute: str) -> bool:
    """Whether what a method changes, as ``self.cache[k] = v`` does, is each instance's own, which its methods set."""
    if any(attribute in names_bound(statement) for statement in cls.body) or attribute not in state.attributes(cls):
        return False
    for inner in (inner for statement in module.body for inner in walk(statement)):
        match inner:
            case ast.Attribute(ast.Name(of), name, ast.Store() | ast.Del()) if name == attribute and of in {
                *aliases,
                "cls",
            }:
                return False
    return True


def _names_of(edit: ModuleDiff, module: Module, name: str) -> set[str]:
    """The names that a class of the module that is looked at has in another one."""
    here = {name} if module is edit.old else set()
    every: Mapping[str, Origin] = module.imports
    return here | {bound for bound, (source, of) in every.items() if of == name or source == edit.old.name}


def _listing(world: PlannerContext) -> str:
    """Which module asks a class for all that inherit from it: one that is gone is among these until it is collected."""
    modules: Iterable[Module] = filter(None, map(world.new.modules.get, sorted(world.compared)))
    for module in modules:
        for node in (inner for statement in module.body for inner in walk(statement)):
            if isinstance(node, ast.Attribute) and node.attr == "__subclasses__":
                return module.name
    return ""
