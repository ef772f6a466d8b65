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
    ),
    Edit(
        "parameter of another name",
        (
            (ITEMS, "def label(number: int, opened: Opened)", "def label(item: int, opened: Opened)"),
            (ITEMS, '@router.get("/{number}/label")', '@router.get("/{item}/label")'),
            (ITEMS, "found = opened.get(Item, number)", "found = opened.get(Item, item)"),
        ),
    ),
    Edit(
        "constraint of a parameter",
        (
            (ITEMS, "from fastapi import APIRouter, Depends,", "from fastapi import APIRouter, Depends, Path,"),
            (ITEMS, "def label(number: int,", "def label(number: Annotated[int, Path(lt=5)],"),
        ),
    ),
    Edit(
        "dependency of a handler",
        (
            (
                ITEMS,
                "def label(number: int, opened: Opened)",
                "def label(number: int, opened: Opened, part: tuple[int, int] = Depends(page))",
            ),
            (ITEMS, '{"label": found.label()}', '{"label": f"{found.label()} {part}"}'),
        ),
        (("GET", "/items/1/label?start=4", None),),
    ),
    Edit(
        "answer of another type",
        (
            (
                ITEMS,
                "def label(number: int, opened: Opened) -> dict[str, str]",
                "def label(number: int, opened: Opened) -> dict[str, int]",
            ),
            (ITEMS, '{"label": found.label()}', '{"label": len(found.label())}'),
        ),
    ),
    Edit(
        "handler becomes a coroutine",
        (
            (MAIN, "async def health() -> dict[str, object]:", "def health() -> dict[str, object]:"),
            (MAIN, '{"up": True, "version"', '{"up": 1, "version"'),
        ),
    ),
    Edit(
        "default of a dependency",
        ((ITEMS, "size: int = settings.page_size, start", "size: int = 1, start"),),
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
    ),
    Edit(
        "dependency of a router, and its tags",
        (
            (
                ITEMS,
                'router = APIRouter(prefix="/items", tags=["items"])',
                'router = APIRouter(prefix="/items", tags=["goods"], dependencies=[Depends(session)])',
            ),
        ),
        up="RESTART",
    ),
    Edit(
        "dependency added to the application",
        (
            (MAIN, "import FastAPI, Request", "import Depends, FastAPI, Request"),
            (MAIN, "lifespan=lifespan)", "lifespan=lifespan, dependencies=[Depends(items.page)])"),
        ),
        (("GET", "/items/1/label?size=many", None),),
    ),
    Edit(
        "router included with tags and a dependency",
        (
            (MAIN, "import FastAPI, Request", "import Depends, FastAPI, Request"),
            (MAIN, "(items.router)", '(items.router, tags=["shop"], dependencies=[Depends(items.page)])'),
        ),
        (("GET", "/items/1/label?size=many", None),),
    ),
    Edit(
        "router included at another path",
        ((MAIN, "(pages.router)", '(pages.router, prefix="/pages")'),),
        (("GET", "/pages/", None),),
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
    Edit("route renamed", ((MAIN, '@app.get("/health")', '@app.get("/healthz")'),), (("GET", "/healthz", None),)),
    Edit(
        "status of a route",
        ((ITEMS, '@router.get("/{number}/label")', '@router.get("/{number}/label", status_code=203)'),),
    ),
    Edit(
        "field of a model that is answered",
        (
            (
                SCHEMAS,
                "    id: int\n    name: str\n    price: int\n",
                ('    id: int\n    name: str\n    price: int\n    unit: str = "piece"\n'),
            ),
        ),
    ),
    Edit(
        "field of a model that is taken",
        ((SCHEMAS, "    price: int = Field(gt=0)\n", '    price: int = Field(gt=0)\n    note: str = ""\n'),),
    ),
    Edit("constraint of a field", ((SCHEMAS, "Field(gt=0)", "Field(gt=0, lt=99)"),)),
    Edit(
        "body of a validator",
        (
            (
                SCHEMAS,
                "        return value.strip()\n",
                (
                    "        if len(value) < 2:\n"
                    '            raise ValueError("a letter is not a name")\n'
                    "        return value.strip()\n"
                ),
            ),
        ),
    ),
    Edit(
        "new model",
        (
            (
                SCHEMAS,
                "class ItemOut(",
                ('class Price(BaseModel):\n    """What it costs."""\n\n    amount: int\n\n\nclass ItemOut('),
            ),
        ),
    ),
    Edit(
        "method of a table",
        ((MODELS, 'return f"{self.name} for {self.price}"', 'return f"{self.name}: {self.price}"'),),
    ),
    Edit(
        "property of a table",
        (
            (
                MODELS,
                "    def label(self)",
                (
                    "    @property\n"
                    "    def cheap(self) -> bool:\n"
                    '        """Whether it costs little."""\n'
                    "        return self.price < 4\n"
                    "\n"
                    "    def label(self)"
                ),
            ),
            (ITEMS, '{"label": found.label()}', '{"label": found.label(), "cheap": str(found.cheap)}'),
        ),
    ),
    Edit("setting", ((SETTINGS, "page_size: int = 2", "page_size: int = 1"),)),
    Edit(
        "setting added",
        (
            (SETTINGS, "    page_size: int = 2\n", '    page_size: int = 2\n    motto: str = "buy"\n'),
            (MAIN, "import TITLE", "import TITLE, settings"),
            (MAIN, '"up": True, "version"', '"up": settings.motto, "version"'),
        ),
    ),
    Edit("constant", ((SETTINGS, 'TITLE = "shop"', 'TITLE = "market"'),)),
    Edit("template", ((HOME, "<h1>{{ title }}</h1>", "<h1>{{ title }}!</h1>"),)),
    Edit(
        "middleware added",
        (
            (
                MAIN,
                '@app.get("/health")',
                (
                    '@app.middleware("http")\n'
                    "async def ping(request: Request, call_next: RequestResponseEndpoint) -> Response:\n"
                    '    """Answers by itself."""\n'
                    '    return Response("pong") if request.url.path == "/ping" else await call_next(request)\n'
                    "\n"
                    "\n"
                    '@app.get("/health")'
                ),
            ),
        ),
        (("GET", "/ping", None),),
    ),
    Edit(
        "body of a middleware",
        (
            (
                MAIN,
                "    served += 1\n",
                ('    served += 1\n    if request.url.path == "/ping":\n        return Response("pong")\n'),
            ),
        ),
        (("GET", "/ping", None),),
    ),
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
    Edit(
        "logger",
        (
            (PAGES, "from pathlib import Path\n", "import logging\nfrom pathlib import Path\n"),
            (PAGES, "router = APIRouter(", "log = logging.getLogger(__name__)\nrouter = APIRouter("),
            (
                PAGES,
                "    with sessions() as opened:\n",
                ('    log.info("the first page")\n    with sessions() as opened:\n'),
            ),
            (PAGES, '"names": names,', '"names": names[:1],'),
        ),
    ),
    Edit(
        "new module",
        (
            (
                "shop/prices.py",
                "",
                (
                    '"""What is cheap."""\n'
                    "\n"
                    "from fastapi import APIRouter\n"
                    "from sqlalchemy import select\n"
                    "\n"
                    "from .db import sessions\n"
                    "from .models import Item\n"
                    "\n"
                    'router = APIRouter(prefix="/prices")\n'
                    "\n"
                    "\n"
                    '@router.get("/lowest")\n'
                    "def lowest() -> dict[str, int | None]:\n"
                    '    """The lowest of all."""\n'
                    "    with sessions() as opened:\n"
                    '        return {"lowest": opened.scalar(select(Item.price).order_by(Item.price))}\n'
                ),
            ),
            (MAIN, "from . import __version__, items, pages\n", "from . import __version__, items, pages, prices\n"),
            (
                MAIN,
                "app.include_router(pages.router)\n",
                ("app.include_router(pages.router)\napp.include_router(prices.router)\n"),
            ),
        ),
        (("GET", "/prices/lowest", None),),
        down="RESTART",
    ),
    Edit(
        "new dependency",
        (
            (ITEMS, "from fastapi import APIRouter", "from extra_words import plural\nfrom fastapi import APIRouter"),
            (ITEMS, '{"label": found.label()}', '{"label": plural(found.label())}'),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("shop/__init__.py", "1.4.0", "1.5.0"),)),
    Edit(
        "exception handler added",
        (
            (
                MAIN,
                '@app.get("/health")',
                (
                    "@app.exception_handler(404)\n"
                    "async def nothing(request: Request, error: Exception) -> Response:\n"
                    '    """There is nothing there."""\n'
                    '    return Response("nothing there", 404)\n'
                    "\n"
                    "\n"
                    '@app.get("/health")'
                ),
            ),
        ),
    ),
)
