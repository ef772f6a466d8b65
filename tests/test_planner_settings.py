"""Settings that are made when they are first asked for, and who has read a field of them that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, verdicts

SETTINGS = """
import os
from functools import lru_cache
from pydantic import BaseModel, field_validator, model_validator
from pydantic_settings import BaseSettings

LEVEL = "INFO"
class Settings(BaseSettings):
    size: int = 2
    level: str = "INFO"
    #
settings = Settings()
@lru_cache
def get_settings() -> Settings:
    return Settings()
"""
MAIN = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from settings import Settings, get_settings, settings
def level(): return get_settings().level
@asynccontextmanager
async def lifespan(_):
    print(...)
    yield
app = FastAPI(lifespan=lifespan)
"""
SIZE = ("size: int = 2", "size: int = 3")
PLAIN = (
    """class Settings(BaseSettings):
    size: int = 2
    level: str = "INFO"
    #
""",
    """class Settings:
    def __init__(self):
        self.size = 2
        self.level = os.environ.get("LEVEL", "INFO")
        #
""",
)


def planned(
    tmp_path: Path, edit: tuple[str, str], *also: tuple[str, str], reads: str = "get_settings().level"
) -> dict[str, str]:
    """What becomes of each definition where one text of two modules becomes another; `also` is in both versions."""
    modules = {"settings": SETTINGS, "main": MAIN.replace("...", reads)}
    for was, is_ in also:
        assert any(was in text for text in modules.values()), was
        modules = {name: text.replace(was, is_) for name, text in modules.items()}
    after = {name: text.replace(*edit) for name, text in modules.items()}
    assert after != modules
    return verdicts(compare(tmp_path, modules, after, observed=True))


@pytest.mark.parametrize(
    "also",
    [
        pytest.param((), id="as it is"),
        pytest.param((("@lru_cache", "@lru_cache(maxsize=1)"),), id="with a limit"),
        pytest.param((("import lru_cache", "import cache"), ("@lru_cache", "@cache")), id="without one"),
        pytest.param((("return Settings()", 'return Settings(_env_file=".env")'),), id="of a file"),
        pytest.param((("return Settings()", "made = Settings()\n    return made"),), id="by a variable"),
        pytest.param(
            (
                (
                    "#",
                    "#\n    @field_validator('level')\n    @classmethod\n    def up(cls, value): return value.upper()",
                ),
            ),
            id="checked",
        ),
    ],
)
def test_a_function_that_makes_settings_once_is_made_once_more_with_their_class(
    tmp_path: Path, also: tuple[tuple[str, str], ...]
) -> None:
    """The process is asked whether somebody has what it remembers, and whether that is what it makes."""
    found = planned(tmp_path, SIZE, *also)
    assert {"settings:Settings": "HOT field", "main:get_settings": "HOT import"}.items() <= found.items()
    assert "HOT reached" in found["settings:get_settings"]


@pytest.mark.parametrize(
    "also",
    [
        pytest.param(("    return Settings()", "    print('made')\n    return Settings()"), id="it does more"),
        pytest.param(("def get_settings()", "def get_settings(of=1)"), id="it takes something"),
        pytest.param(("return Settings()", "return Settings(size=len(os.listdir()))"), id="it asks around"),
        pytest.param(("@lru_cache\n", "@lru_cache\n@print\n"), id="it has another decorator"),
        pytest.param(("#", "def model_post_init(self, _): print(self)"), id="its class does more"),
        pytest.param(("BaseSettings):", "BaseSettings, dict):"), id="its class has another base"),
    ],
)
def test_what_a_function_remembers_is_not_let_go_of_where_making_it_may_do_more(
    tmp_path: Path, also: tuple[str, str]
) -> None:
    """Somebody would notice that it is made a second time, or it may be another one."""
    assert any("RESTART" in verdict for verdict in planned(tmp_path, SIZE, also).values())


@pytest.mark.parametrize(
    ("edit", "also", "hot"),
    [
        pytest.param(("self.size = 2", "self.size = 3"), (), True, id="a constant"),
        pytest.param(
            ("self.size = 2", "self.size = 3"), ("#", "self.more = len(str(self.size))"), True, id="one of others"
        ),
        pytest.param(("self.size = 2", "self.size = 3"), ("#", "print(self)"), False, id="it does more"),
        pytest.param(("self.size = 2", "self.size = 3"), ("#", "Settings.last = self"), False, id="it is kept"),
        pytest.param(
            ("self.size = 2", "self.size = 3"), ("#", "os.environ['SIZE'] = '2'"), False, id="it sets something"
        ),
        pytest.param(
            ("self.size = 2", "self.size = 3"), ("class Settings:", "class Settings(dict):"), False, id="a base"
        ),
    ],
)
def test_settings_of_a_plain_class_are_let_go_of(
    tmp_path: Path, edit: tuple[str, str], also: tuple[str, str], hot: bool
) -> None:
    """Where making them reads the environment, sets attributes, and does no more."""
    both = [PLAIN, ("settings = Settings()\n", "settings = None\n"), *([also] if also else [])]
    found = planned(tmp_path, edit, *both)
    assert all("RESTART" not in verdict for verdict in found.values()) == hot, found
    assert not hot or found["settings:get_settings"] == "HOT cache"


STAYS = [
    "get_settings().level",
    "settings.level",
    "Settings().level",
    "level()",
    "get_settings().level.lower()",
    "[settings.level for one in 'ab']",
    "(lambda of: settings.level)(1)",
]
DIFFERS = [
    "get_settings().size",
    "settings.size",
    "settings",
    "get_settings()",
    "getattr(settings, 'level')",
    "vars(settings)['level']",
    "settings.model_dump()['level']",
    "[settings.level for settings in [get_settings()]]",
    "(lambda settings: settings.level)(get_settings())",
    "get_settings.level",
    "Settings(size=level()).level",
    "setattr(settings, 'level', 1)",
]


@pytest.mark.parametrize("reads", STAYS)
def test_who_has_read_a_field_that_stays_is_not_concerned(tmp_path: Path, reads: str) -> None:
    """A lifespan that reads it, however it comes to the settings, would do the same once more."""
    found = planned(tmp_path, SIZE, reads=reads)
    assert all("RESTART" not in verdict for verdict in found.values()), found


@pytest.mark.parametrize("reads", DIFFERS)
def test_who_may_have_read_another_field_is_concerned(tmp_path: Path, reads: str) -> None:
    """What a lifespan has read runs once: it takes a fresh interpreter."""
    assert "RESTART" in planned(tmp_path, SIZE, reads=reads)["main:app"]


@pytest.mark.parametrize(
    ("edit", "also"),
    [
        pytest.param(('level: str = "INFO"', 'level: str = "DEBUG"'), ("#", "#"), id="its default"),
        pytest.param(("level: str", "level: bytes"), ("#", "#"), id="its type"),
        pytest.param(
            ('LEVEL = "INFO"', 'LEVEL = "DEBUG"'),
            ('level: str = "INFO"', "level: str = LEVEL"),
            id="what that is made of",
        ),
        pytest.param(
            SIZE, ("#", "@model_validator(mode='after')\n    def both(self): return self"), id="a check of all"
        ),
        pytest.param(
            SIZE,
            ("#", "@field_validator('level')\n    @classmethod\n    def up(cls, value, info): return value"),
            id="a check that sees others",
        ),
        pytest.param(
            ('"after"', '"before"'),
            ("#", '@field_validator("level", mode="after")\n    @classmethod\n    def up(cls, value): return value'),
            id="a check",
        ),
        pytest.param(("'A_'", "'B_'"), ("#", "model_config = {'env_prefix': 'A_'}"), id="the prefix of all"),
        pytest.param(SIZE, ("#", "@property\n    def level(self): return str(self.size)"), id="a property"),
        pytest.param(SIZE, ("#", "def __getattribute__(self, name): return self.size"), id="what is asked first"),
        pytest.param(("return Settings()", "return Settings(level='DEBUG')"), ("#", "#"), id="what they are made with"),
        pytest.param(
            ("pool: int = 1", "pool: int = 2"),
            ("class Settings(", "class Level(BaseModel):\n    pool: int = 1\nclass Settings("),
            id="another",
        ),
    ],
)
def test_a_field_may_differ_for_the_sake_of_something_else(
    tmp_path: Path, edit: tuple[str, str], also: tuple[str, str]
) -> None:
    """What it is made of, what checks it, and what all of them are made with."""
    nested = ('level: str = "INFO"', "level: Level | None = None")
    found = planned(tmp_path, edit, also, *([nested] if "class Level" in also[1] else []))
    assert any("RESTART" in verdict for verdict in found.values()), found


@pytest.mark.parametrize(
    ("edit", "stays"),
    [
        pytest.param(("self.size = 2", "self.size = 3"), True, id="another"),
        pytest.param(("self.level = os", "self.level = 'x' or os"), False, id="itself"),
        pytest.param(("self.size = 2", "self.size = 3\n        self.level += 'x'"), False, id="by more"),
    ],
)
@pytest.mark.parametrize("derived", [False, True])
def test_attributes_of_a_plain_class_are_followed_one_by_one(
    tmp_path: Path, edit: tuple[str, str], stays: bool, derived: bool
) -> None:
    """Those that are made of others are, too."""
    of_size = ("self.level = os.environ", "self.level = os.environ if self.size else os.environ")
    both = [PLAIN, ("settings = Settings()\n", "settings = None\n"), *([of_size] if derived else [])]
    found = planned(
        tmp_path,
        edit if not derived or "level" not in edit[0] else ("self.level = os", "self.level = 'y' or os"),
        *both,
    )
    assert ("main:app" not in found) == (stays and not derived), found


def test_a_variable_is_followed_where_nothing_holds_it(tmp_path: Path) -> None:
    """A function that has ended has let go of it; a generator that waits has not."""
    helper = ("def level(): return get_settings().level", "def level():\n    of = get_settings()\n    return of.level")
    assert all("RESTART" not in verdict for verdict in planned(tmp_path, SIZE, helper, reads="level()").values())
    passed = (helper[0], "def level():\n    of = get_settings()\n    return print(of) or of.level")
    assert "RESTART" in planned(tmp_path, SIZE, passed, reads="level()")["main:app"]
    waits = ("    print(level())", "    of = get_settings()\n    print(of.level)")
    assert "RESTART" in planned(tmp_path, SIZE, waits, reads="level()")["main:app"]
