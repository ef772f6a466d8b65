"""Edits of the settings of a depot, by pydantic-settings: read of the environment, and held as a global."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "settings_depot",
    {"class": "depot.worker:Worker"},
    ("pydantic-settings",),
    before=(("rpc", "from depot.goods import goods; goods.count += 1", None),),
    requests=(
        ("rpc", "from depot.worker import about; print(about())", None),
        ("rpc", "from depot.settings import Settings; print(Settings.model_json_schema())", None),
    ),
    kept="from depot.goods import goods; print(id(goods), goods.count)",
)

SETTINGS, GOODS = (f"depot/{name}.py" for name in ("settings", "goods"))
DOORS = "    doors: int = Field(default=1, gt=0)\n"
MOTTO = (SETTINGS, DOORS, DOORS + '    motto: str = "buy"\n')
STRIPPED = "        return value.strip()\n"

EDITS = (
    Edit("setting added", (MOTTO,)),
    Edit(
        "setting of the environment added",
        ((SETTINGS, DOORS, f'{DOORS}    town: str = Field(default="", validation_alias="PATH")\n'),),
    ),
    Edit("default of a setting that others have read", ((SETTINGS, "default=1", "default=2"),)),
    Edit(
        "setting of another name",
        ((SETTINGS, "    doors: int", "    gates: int"), (GOODS, "settings.doors", "settings.gates")),
    ),
    Edit("argument of the settings", ((SETTINGS, '" the depot "', '"a depot"'),)),
    Edit("default of a parameter", ((GOODS, "most: int = 5", "most: int = settings.doors"),)),
    Edit("body of a validator that has run", ((SETTINGS, STRIPPED, "        return value.strip().upper()\n"),)),
    Edit(
        "settings within others",
        ((SETTINGS, DOORS, f"{DOORS}    shelf: Shelf = Field(default_factory=Shelf)\n"),),
    ),
    Edit(
        "computed field",
        (
            (
                SETTINGS,
                STRIPPED,
                (
                    f"{STRIPPED}\n"
                    "    @computed_field\n"
                    "    @property\n"
                    "    def both(self) -> int:\n"
                    '        """Doors that are seen from both sides."""\n'
                    "        return self.doors * 2\n"
                ),
            ),
            (SETTINGS, "BaseModel, Field", "BaseModel, Field, computed_field"),
        ),
    ),
    Edit(
        "setting made by chance",
        (
            (SETTINGS, DOORS, f"{DOORS}    secret: float = Field(default_factory=random)\n"),
            (SETTINGS, "from pydantic import", "from random import random\n\nfrom pydantic import"),
        ),
        up="RESTART",
    ),
    Edit(
        "validator that asks for the time",
        (
            (SETTINGS, STRIPPED, '        return f"{value.strip()} {time() > 0}"\n'),
            (SETTINGS, "from pydantic import", "from time import time\n\nfrom pydantic import"),
            MOTTO,
        ),
        up="RESTART",
    ),
    Edit(
        "settings that do more when they are made",
        (
            (
                SETTINGS,
                STRIPPED,
                f"{STRIPPED}\n    def model_post_init(self, _: object) -> None:\n        self.kinds.append(self.name)\n",
            ),
            MOTTO,
        ),
        up="RESTART",
    ),
)
