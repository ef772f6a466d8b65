"""Edits of a shop, by FastAPI, pydantic and SQLAlchemy."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "fastapi_shop",
    {"asgi": "shop.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("fastapi", "sqlalchemy", "jinja2", "uvicorn"),
    before=(
        ("POST", "/items", {"name": " tea ", "price": 3}),
        ("POST", "/items", {"name": "milk", "price": 1}),
        ("POST", "/items", {"name": "bread", "price": 4}),
        ("POST", "/items/1/orders?count=2", None),
    ),
    requests=(
        ("GET", "/", None),
        ("GET", "/health", None),
        ("GET", "/items", None),
        ("GET", "/items?size=1&start=1", None),
        ("GET", "/items/1/label", None),
        ("GET", "/items/9/label", None),
        ("POST", "/items", {"name": "x", "price": -1}),
        ("GET", "/openapi.json", None),
    ),
    kept=(
        "from shop.db import engine, sessions; "
        "from shop.models import Item, Order; "
        "s = sessions(); "
        "print(id(engine), [(i.id, i.name, i.price) for i in s.query(Item)], s.query(Order).count()); "
        "s.close()"
    ),
)

ITEMS, MAIN, PAGES, SCHEMAS, SETTINGS, MODELS = (
    f"shop/{name}.py" for name in ("items", "main", "pages", "schemas", "settings", "models")
)
HOME = "shop/templates/home.html"

EDITS = (
    Edit("handler body", ((ITEMS, '{"label": found.label()}', '{"label": found.label().upper()}'),)),
    Edit("handler docstring", ((ITEMS, '"""How it is shown."""', '"""How it is shown to people."""'),)),
    Edit(
        "handler gets a parameter",
        (
            (
                ITEMS,
                "def label(number: int, opened: Opened)",
                "def label(number: int, opened: Opened, loud: bool = False)",
            ),
            (ITEMS, '{"label": found.label()}', '{"label": found.label().upper() if loud else found.label()}'),
        ),
        (("GET", "/items/1/label?loud=1", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "default of a dependency",
        ((ITEMS, "size: int = settings.page_size, start", "size: int = 1, start"),),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "dependency added to a router",
        (
            (ITEMS, "from fastapi import APIRouter, Depends,", "from fastapi import APIRouter, Depends, Header,"),
            (
                ITEMS,
                'router = APIRouter(prefix="/items", tags=["items"])',
                (
                    "\n"
                    'def known(x_key: Annotated[str, Header()] = "") -> None:\n'
                    '    """Who has a key."""\n'
                    '    if x_key == "none":\n'
                    '        raise HTTPException(403, "no key")\n'
                    "\n"
                    "\n"
                    'router = APIRouter(prefix="/items", tags=["items"], dependencies=[Depends(known)])'
                ),
            ),
        ),
        up="RESTART",
    ),
    Edit(
        "route added",
        (
            (
                MAIN,
                "\n\napp.include_router(items.router)",
                (
                    "\n"
                    "\n"
                    "\n"
                    '@app.get("/served")\n'
                    "async def asked() -> dict[str, bool]:\n"
                    '    """Whether anything was asked."""\n'
                    '    return {"served": served > 0}\n'
                    "\n"
                    "\n"
                    "app.include_router(items.router)"
                ),
            ),
        ),
        (("GET", "/served", None),),
    ),
    Edit(
        "route added to a router",
        (
            (
                ITEMS,
                '@router.post("", status_code=201)',
                (
                    '@router.get("/count")\n'
                    "def count(opened: Opened) -> dict[str, int]:\n"
                    '    """How many there are."""\n'
                    '    return {"count": opened.query(Item).count()}\n'
                    "\n"
                    "\n"
                    '@router.post("", status_code=201)'
                ),
            ),
        ),
        (("GET", "/items/count", None),),
    ),
    Edit(
        "route removed",
        (
            (
                MAIN,
                (
                    '@app.get("/health")\n'
                    "async def health() -> dict[str, object]:\n"
                    '    """Whether it serves."""\n'
                    '    return {"up": True, "version": __version__}\n'
                    "\n"
                    "\n"
                ),
                "",
            ),
        ),
    ),
    Edit("constant", ((SETTINGS, 'TITLE = "shop"', 'TITLE = "market"'),)),
    Edit("template", ((HOME, "<h1>{{ title }}</h1>", "<h1>{{ title }}!</h1>"),)),
    Edit(
        "log line",
        (
            (
                ITEMS,
                "    found = opened.get(Item, number)\n",
                ('    found = opened.get(Item, number)\n    logger.info("label of %d", number)\n    number += 0\n'),
            ),
        ),
    ),
    Edit("version", (("shop/__init__.py", "1.4.0", "1.5.0"),)),
)
