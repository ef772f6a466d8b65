"""What changes within an object that a module has made when it was imported: parts of it, by their paths from the module."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from ..frozen import Frozen
from . import plain_values

Step: TypeAlias = tuple[Literal["attribute", "item", "key"], Any]
"""From an object to one that it holds: by the name of an attribute, by the plain key, or the number, of an item, or by what else the
key is: ``class shop.A``, or ``shop.Kind.A`` of a member of an enumeration."""

KINDS = (
    *("value", "place", "pattern", "added", "made", "gone", "order", "elements", "placed"),
    *("forgotten", "dropped", "counted", "meanwhile", "untouched"),
)


class Part(Frozen):
    """What becomes of one part of an object.

    =============  ===================================================================================================
    ``value``      it is bound to the plain value `now`, if it still is `was`
    ``place``      it is bound to the file or directory `now` of the release, if it still is `was`; both below its root
    ``pattern``    it is bound to a compiled pattern, as `now` has text and flags, if it still is that of `was`
    ``added``      it is bound to the plain value `now`, if there is none
    ``made``       it is bound to what the fragment has made under the name `now`
    ``gone``       the attribute, or the key of a dict, is taken out
    ``order``      the list there gets the items that `now` lists: by the numbers that they have in it once the fragment has
                   run, by the names under which the fragment has made them, or as a tuple with a plain value; `was` is how
                   many it must have then. A dict gets its keys in the order of `now`, after those that are not in it
    ``placed``     of a row of texts that a module has under one name, in an order by chance: the one that is the file or directory
                   `was` of the release becomes `now`, both below its root
    ``elements``   the set there gets the elements of `now`, if it still has those of `was`, and stays the same set
    ``forgotten``  it is bound to `now` whatever it is: something that is computed again when it is asked for
    ``dropped``    the attribute is taken out, if it is there: something that is made again when it is asked for
    ``counted``    it is a number, and gets one more: what is kept for the number before is of no use
    ``untouched``  nothing becomes of it: the object there must have the plain values that `was` says of these attributes, each
                   in a list, or not have them where that is empty
    ``meanwhile``  it is bound to `now` while the fragment runs, and not afterwards
    =============  ===================================================================================================
    """

    kind: str
    path: tuple[Step, ...]
    was: Any = None
    now: Any = None

    def __str__(self) -> str:
        """Its path as Python writes it."""
        written = {"attribute": ".{}", "item": "[{!r}]", "key": "[{}]"}
        return "".join(written[kind].format(of) for kind, of in self.path)[1:]


def to_json(part: Part) -> dict[str, Any]:
    """A part as `json` writes it. Raises ValueError for values that are not plain."""
    path = [{kind: plain_values.encode(of)} for kind, of in part.path]
    return {"do": part.kind, "at": path, "was": plain_values.encode(part.was), "is": plain_values.encode(part.now)}


def from_json(document: Any) -> Part:
    """The part that `to_json` made this of. Raises ValueError, TypeError or KeyError when it made no such thing."""
    if document["do"] not in KINDS:
        raise ValueError(f"nothing can be done as {document['do']!r} to a part of an object")
    path = tuple(map(_step, document["at"]))
    if not path:
        raise ValueError("the path to a part has one step at least")
    return Part(document["do"], path, plain_values.decode(document["was"]), plain_values.decode(document["is"]))


def _step(document: Any) -> Step:
    [(kind, of)] = document.items()
    match kind, plain_values.decode(of):
        case "attribute", str(name):
            return "attribute", name
        case "item", key:
            return "item", key
        case "key", str(name):
            return "key", name
    raise ValueError(f"a step is an attribute, an item or a key, not {document!r}")
