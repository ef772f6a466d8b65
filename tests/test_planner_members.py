"""What a change of one definition takes with it: the scope of its class, submodules, abstract classes, what stands under a condition."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, verdicts
from swap_helpers import PLANNED, Become

IMPORTS = {
    "one for another": ("import xml.dom", "import xml.sax"),
    "one more": ("import xml\nimport xml.dom", "import xml\nimport xml.dom\nimport xml.sax"),
    "one below": ("import xml", "import xml, xml.sax"),
}
READER = "\nimport collections\nimport collections.abc\nclass Reader(collections.abc.Mapping):\n"
MAPPING = "    def __getitem__(self, key): return 1\n    def __len__(self): return 1\n    def __iter__(self): return iter('a')\n"
MORE = "    limit = 2\n    def __contains__(self, key): return key == 'b'\n    def __copy__(self): return 'copy'\n"
BROKER = """
try:
    import json as found
except ImportError:
    found = None
if found:
    class Broker:
        def __init__(self): self.sent = []
        def send(self, job):
            return job
"""


@pytest.mark.parametrize(("old", "new"), IMPORTS.values(), ids=IMPORTS)
@pytest.mark.in_place
def test_a_submodule_is_imported_though_its_package_is_bound_already(become: Become, old: str, new: str) -> None:
    """Whoever says ``import a.b`` finds it in ``a``."""
    told = become(
        f"{old}\ndef f(): return 1\n",
        f"{new}\ndef f(): return xml.sax.__name__\n",
        f"{PLANNED}\ntold = [shop.f(), sorted(name for name in vars(shop) if not name.startswith('_'))]\n",
    )

    assert told == ["xml.sax", ["f", "xml"]]


@pytest.mark.in_place
def test_members_come_to_an_abstract_class(become: Become) -> None:
    """Special methods and values too."""
    asked = "told = ['b' in reader, 'a' in reader, copy.copy(reader), reader.limit]\n"
    told = become(READER + MAPPING, READER + MAPPING + MORE, f"import copy\nreader = shop.Reader()\n{PLANNED}\n{asked}")

    assert told == [True, False, "copy", 2]


@pytest.mark.in_place
def test_members_of_an_abstract_class_go(become: Become) -> None:
    """What is missing for an instance is as in a fresh start."""
    script = "try: shop.Reader()\nexcept TypeError: told = sorted(shop.Reader.__abstractmethods__)\n"
    told = become(READER + MAPPING + MORE, READER + MAPPING.partition("    def __iter__")[0], f"{PLANNED}\n{script}")

    assert told == ["__iter__"]


def test_members_of_a_protocol_are_known_when_it_is_made(tmp_path: Path) -> None:
    """They are what `isinstance` looks for."""
    protocol = "import typing\n@typing.runtime_checkable\nclass Reader(typing.Protocol):\n    def f(self): ...\n"
    answer = compare(tmp_path, {"m": protocol}, {"m": f"{protocol}    def __len__(self): ...\n    n = 1\n"})

    assert verdicts(answer) == {"m:Reader": "RESTART made"}


@pytest.mark.in_place
def test_a_field_is_no_name_that_its_own_statement_reads(become: Become) -> None:
    """An annotation that changes is made again, though a value stands next to it; a value that reads another of the class is not."""
    old = "class Room:\n    kind: int = 1\n    def f(self): return self.kind\n"
    told = become(
        old,
        old.replace(": int", ": float"),
        f"{PLANNED}\ntold = [shop.Room.__annotations__['kind'].__name__, shop.Room().f()]\n",
    )

    assert told == ["float", 1]


@pytest.mark.in_place
def test_the_body_of_a_method_under_a_condition_changes(become: Become) -> None:
    """Instances that there are have it too."""
    told = become(
        BROKER,
        BROKER.replace("return job", "return job, self.sent"),
        f"broker = shop.Broker()\n{PLANNED}\ntold = broker.send(1)\n",
    )

    assert told == [1, []]


@pytest.mark.parametrize(
    ("was", "now"),
    [("self.sent = []", "self.sent = {}"), ("return job", "self.last = job"), ("self, job", "self, job, by=1")],
    ids=["what makes an instance", "what an instance has", "a parameter"],
)
def test_more_than_that_under_a_condition_is_not_put_in_place_unseen(tmp_path: Path, was: str, now: str) -> None:
    """Only the statement itself, run again, would make it, and that only a look tells."""
    answer = compare(tmp_path, {"m": BROKER}, {"m": BROKER.replace(was, now)})

    assert "RESTART" in {row["verdict"] for row in answer["changes"]}


@pytest.mark.in_place
def test_what_makes_instances_takes_other_annotations(become: Become) -> None:
    """Python makes a static method of ``__new__`` by itself, one without annotations of its own."""
    old = "class Text(str):\n    def __new__(cls, text: str): return str.__new__(cls, text)\n"
    told = become(
        old,
        old.replace("text: str", "text: object"),
        f"{PLANNED}\ntold = shop.Text.__new__.__annotations__['text'].__name__\n",
    )

    assert told == "object"


KEPT = PLANNED.replace('"kept": []', '"kept": [["shop", "X"]]')


@pytest.mark.parametrize("old", ["[n for n in (1, 2)]", "{n: n for n in (1, 2)}", "{n for n in (1, 2)}"])
@pytest.mark.in_place
def test_a_comprehension_that_ran_at_import_is_in_nobodys_way(become: Become, old: str) -> None:
    """Nothing has its code any longer, which is another in the new version."""
    new = f"X = {old}\ndef f(): return 2\n".replace("n for", "n + 1 for")
    told = become(f"X = {old}\ndef f(): return 1\n", new, f"{KEPT}\ntold = [shop.f(), sorted(shop.X)]\n")

    assert told == [2, [1, 2]]


@pytest.mark.in_place
def test_a_generator_that_import_has_made_is_in_the_way(become: Become) -> None:
    """It goes on in the code that it began with."""
    script = KEPT.replace("prepared = ", "from underway_runtime.upgrade.hot import CannotSwap\ntry: ").partition(
        "\nprepared."
    )[0]
    told = become(
        "X = (n for n in (1, 2))\ndef f(): return 1\n",
        "X = (n + 1 for n in (1, 2))\ndef f(): return 2\n",
        f"{script}\nexcept CannotSwap as error: told = error.problems\n",
    )

    assert told == ["shop:<genexpr> differs in the two versions, and the relup does not say so"]
