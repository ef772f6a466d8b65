"""Edits of the settings of an office, by FastAPI: made when they are first asked for, and read field by field."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "settings_office",
    {"asgi": "office.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("fastapi", "uvicorn", "pydantic-settings"),
    before=(("POST", "/seen/ann", None),),
    requests=(("GET", "/desks", None), ("GET", "/limits", None), ("GET", "/openapi.json", None)),
    kept="from office.main import seen; print(id(seen), seen)",
)

SETTINGS, MAIN = (f"office/{name}.py" for name in ("settings", "main"))
DESKS = "    desks: int = 2\n"

EDITS = (
    Edit("default of a setting", ((SETTINGS, "desks: int = 2", "desks: int = 3"),)),
    Edit("setting added", ((SETTINGS, DESKS, f'{DESKS}    motto: str = "work"\n'),)),
    Edit(
        "setting removed",
        (
            (SETTINGS, "    open_for: timedelta = timedelta(hours=8)\n", ""),
            (SETTINGS, "from datetime import timedelta\n", ""),
        ),
    ),
    Edit(
        "what settings are made with",
        ((SETTINGS, "return Settings()", "return Settings(desks=7)"),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("attribute of a plain class", ((SETTINGS, "self.dogs = 1", "self.dogs = 2"),)),
    Edit(
        "attribute more of a plain class",
        ((SETTINGS, "self.dogs = 1\n", 'self.dogs = 1\n        self.cats = os.environ.get("OFFICE_CATS", "no")\n'),),
        down="MIGRATE",
    ),
    Edit("what a plain class is made with", ((SETTINGS, "def __init__(self)", "def __init__(self, most: int = 1)"),)),
    Edit(
        "setting that the start has read",
        ((SETTINGS, 'log_level: str = "info"', 'log_level: str = "debug"'),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("prefix of all settings", ((SETTINGS, '"OFFICE_"', '"BUREAU_"'),), up="RESTART", down="RESTART"),
    Edit(
        "check of all settings",
        ((SETTINGS, '@field_validator("log_level")', '@field_validator("*")'),),
        up="RESTART",
        down="RESTART",
    ),
)
