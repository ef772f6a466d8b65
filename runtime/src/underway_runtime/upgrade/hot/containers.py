"""What holds other objects, and how that is read and changed without running their code: each change is a call of C.

=================================  ===================================================================================
lists, dicts, sets, deques         whatever inherits from them, by the methods of the base
attributes of objects              in their dict, or their slots; a property or a ``__setattr__`` is not asked, and what C makes
                                   at each read is not held
members of a class                 where `type` or `ABCMeta` makes it
=================================  ===================================================================================
"""

from __future__ import annotations

import gc
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from ...observation import objects
from ...observation.node import key_label
from ...release.parts import Step
from . import CannotSwap, guards

_MOST = 200_000
"""Objects that are looked at; more than an application of a framework holds."""

MISSING = object()
_LEAVES = (
    *(str, bytes, int, float, complex, bool, type(None), types.ModuleType, type),
    *(types.CodeType, types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
)


def get(holder: Any, step: Step, default: Any = None) -> Any:
    """Get what an object holds there. Raises LookupError where that is nothing, without a default."""
    try:
        kind, of = _plainly(holder, step)
    except LookupError:
        if default is None:
            raise
        return default
    if kind == "attribute":
        names: Any = objects.members(holder) if objects.is_a(holder, type) else objects.names_of(holder)
        if of in names:
            return names[of]
        for slot, descriptor in _slots(type(holder)):
            if slot == of:
                return _slot(descriptor, holder)
    elif objects.is_a(holder, dict) and dict.__contains__(holder, of):
        return dict.__getitem__(holder, of)
    elif objects.is_a(holder, list) and type(of) is int:
        return list.__getitem__(holder, of)
    elif objects.is_a(holder, tuple) and type(of) is int:
        return tuple.__getitem__(holder, of)
    if default is None:
        raise LookupError(of)
    return default


def bind(holder: Any, step: Step, value: Any) -> None:
    kind, of = _plainly(holder, step)
    if kind == "item":
        methods = OrderedDict if objects.is_a(holder, OrderedDict) else dict if objects.is_a(holder, dict) else list
        methods.__setitem__(holder, of, value)
    elif objects.is_a(holder, type):
        if not guards.is_plain(holder):
            raise CannotSwap([f"members of {objects.name_of(holder)} are up to its metaclass"])
        type.__setattr__(holder, of, value)
    elif (descriptor := dict(_slots(type(holder))).get(of)) is not None:
        descriptor.__set__(holder, value)
    elif (names := objects.own_dict(holder)) is not None:
        names[of] = value
    else:
        raise CannotSwap([f"a {objects.kind_of(holder)} shows no attributes"])


def delete(holder: Any, step: Step) -> None:
    kind, of = _plainly(holder, step)
    if kind == "item" and objects.is_a(holder, dict):
        (OrderedDict if objects.is_a(holder, OrderedDict) else dict).__delitem__(holder, of)
    elif kind == "attribute" and (names := objects.own_dict(holder)) is not None and of in names:
        del names[of]
    else:
        raise CannotSwap([f"nothing can be taken out of a {objects.kind_of(holder)}"])


_Slots: TypeAlias = Sequence[tuple[str, Any]]
"""Names and descriptors."""


def _plainly(holder: Any, step: Step) -> Step:
    """A step by what a key is as one by the key itself. Raises LookupError where no key is that, or several."""
    if step[0] != "key":
        return step
    keys = [key for key in dict.keys(holder) if key_label(key) == f"[{step[1]}]"] if objects.is_a(holder, dict) else []
    keys = keys or [member for member in [_member(step[1])] if member is not None]
    if len(keys) != 1:
        raise LookupError(step[1])
    return "item", keys[0]


def _member(path: str) -> Any:
    """The member of an enumeration at a path such as ``shop.Kind.A``; None where there is none."""
    parts = path.split(".")
    depth = next((depth for depth in range(len(parts) - 1, 0, -1) if ".".join(parts[:depth]) in sys.modules), 0)
    names: Any = objects.module_names(".".join(parts[:depth])) if depth else {}
    for part in parts[depth:-1]:
        cls = names.get(part)
        names = objects.members(cls) if objects.is_a(cls, type) else {}
    member = names.get(parts[-1])
    return member if objects.identified(member) == path else None


def _slots(kind: type) -> Iterator[tuple[str, Any]]:
    for cls in objects.mro(kind):
        for name, member in objects.members(cls).items():
            if type(member) is types.MemberDescriptorType and objects.module_of(cls) != "builtins":
                yield name, member


def _slot(descriptor: Any, holder: Any) -> Any:
    try:
        return descriptor.__get__(holder)
    except AttributeError:
        return MISSING


Calls: TypeAlias = list[Callable[[], object]]
"""Each of C alone."""


class Container:
    """Something that holds others, and what it held: `content` tells that, `calls` make it what it is given."""

    def __init__(self, of: Any, content: Callable[[], Any], calls: Callable[[Any, Any], Calls]) -> None:
        self.of, self.content, self.calls = of, content, calls
        self.before = content()

    def put_back(self) -> None:
        """Make it what it was."""
        for call in self.calls(self.content(), self.before):
            call()


def containers(roots: Iterable[Any]) -> Iterator[Container]:
    """Those among all that can be reached from these."""
    for holder in reached(roots).values():
        yield from containers_of(holder)


def reached(roots: Iterable[Any], without: Iterable[Any] = ()) -> dict[int, Any]:
    """All that can be reached from these, by id, without modules, classes, and what functions only read."""
    ours = [objects.own_dict(module) for module in list(sys.modules.values())]
    left_out = {id(left): left for left in (*ours, *without)}
    values: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in values or id(value) in left_out:
            continue
        values[id(value)] = value
        if len(values) > _MOST:
            raise CannotSwap([f"what fragments touch holds more than {_MOST} objects"])
        if type(value) is types.FunctionType:
            held = [value.__closure__, value.__defaults__, value.__kwdefaults__, objects.own_dict(value)]
        elif objects.is_a(value, type):
            held = list(objects.members(value).values())
        else:
            held = [*gc.get_referents(value), objects.own_dict(value)]
        waiting += (inner for inner in held if not objects.is_a(inner, _LEAVES))
    return values


def containers_of(value: Any) -> Iterator[Container]:
    for kind, content, calls in _KINDS:
        if objects.is_a(value, kind):
            yield Container(value, partial(content, value), partial(calls, value))
            break
    if objects.is_a(value, type):
        if guards.is_plain(value):
            yield Container(value, partial(_members, value), partial(_put_members, value))
        return
    names = objects.own_dict(value)
    if names is not None:
        yield Container(names, partial(dict_of, names), partial(put_dict, names))
    if slots := [(name, slot) for name, slot in _slots(type(value)) if _slot(slot, value) is _slot(slot, value)]:
        yield Container(value, partial(_slot_values, slots, value), partial(_put_slots, slots, value))


def _list(value: list[Any]) -> list[Any]:
    return list(list.__iter__(value))


def _put_list(value: list[Any], now: list[Any], wanted: list[Any]) -> Calls:
    return [partial(list.__setitem__, value, slice(None), wanted)]


def dict_of(value: dict[Any, Any]) -> dict[Any, Any]:
    return dict((OrderedDict if objects.is_a(value, OrderedDict) else dict).items(value))


def put_dict(value: dict[Any, Any], now: dict[Any, Any], wanted: dict[Any, Any]) -> Calls:
    methods = OrderedDict if objects.is_a(value, OrderedDict) else dict
    before = {id(key): item for key, item in now.items()}  # a key's own hash may be code of the application
    if [*before] == [*map(id, wanted)][: len(before)]:
        changed = {key: item for key, item in wanted.items() if before.get(id(key), MISSING) is not item}
        return [partial(methods.update, value, changed)]
    return [partial(methods.clear, value), partial(methods.update, value, wanted)]


def _set(value: set[Any]) -> dict[Any, None]:
    return dict.fromkeys(set.__iter__(value))


def _put_set(value: set[Any], now: dict[Any, None], wanted: dict[Any, None]) -> Calls:
    return [partial(set.clear, value), partial(set.update, value, wanted)]


def _deque(value: deque[Any]) -> list[Any]:
    return list(deque.__iter__(value))


def _put_deque(value: deque[Any], now: list[Any], wanted: list[Any]) -> Calls:
    return [partial(deque.clear, value), partial(deque.extend, value, wanted)]


_KINDS: tuple[tuple[type, Callable[[Any], Any], Callable[[Any, Any, Any], Calls]], ...] = (
    (list, _list, _put_list),
    (dict, dict_of, put_dict),
    (set, _set, _put_set),
    (deque, _deque, _put_deque),
)


def _members(cls: type) -> dict[str, Any]:
    return dict(objects.members(cls))


def _put_members(cls: type, now: dict[str, Any], wanted: dict[str, Any]) -> Calls:
    gone = [partial(type.__delattr__, cls, name) for name in now if name not in wanted]
    put = [(name, value) for name, value in wanted.items() if now.get(name, MISSING) is not value]
    return [*gone, *(partial(type.__setattr__, cls, name, value) for name, value in put)]


def _slot_values(slots: _Slots, value: Any) -> dict[str, Any]:
    return {name: _slot(descriptor, value) for name, descriptor in slots}


def _put_slots(slots: _Slots, value: Any, now: dict[str, Any], wanted: dict[str, Any]) -> Calls:
    calls: Calls = []
    for name, descriptor in slots:
        if wanted[name] is MISSING and now[name] is not MISSING:
            calls.append(partial(descriptor.__delete__, value))
        elif wanted[name] is not now[name]:
            calls.append(partial(descriptor.__set__, value, wanted[name]))
    return calls


def identical(one: Any, other: Any) -> bool:
    if type(one) is dict:
        return identical([*one, *one.values()], [*other, *other.values()])
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
