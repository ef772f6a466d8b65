"""Edits of a notice board, by Starlette."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "starlette_board",
    {"asgi": "board.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("starlette", "jinja2", "uvicorn", "websockets"),
    before=(
        ("POST", "/notices/", {"text": "a bicycle is for sale, hardly ever ridden, with a bell"}),
        ("POST", "/notices/0/like", None),
    ),
    requests=(
        ("GET", "/", None),
        ("GET", "/about", None),
        ("GET", "/notices/", None),
        ("POST", "/notices/9/like", None),
        ("GET", "/nowhere", None),
    ),
    kept=(
        "from board.notices import board; print(id(board), [(id(each), each.text, each.likes) for each in board.notices])"
    ),
)

MAIN, HANDLERS, NOTICES, SETTINGS, MIDDLEWARE = (
    f"board/{name}.py" for name in ("main", "handlers", "notices", "settings", "middleware")
)
PAGE = "board/templates/board.html"

EDITS = (
    Edit("handler body", ((HANDLERS, '"likes": each.likes}', '"likes": each.likes, "short": each.short(5)}'),)),
    Edit("body of a function handler", ((MAIN, '"version": __version__, "opened"', '"v": __version__, "opened"'),)),
    Edit(
        "route added",
        ((MAIN, '    Route("/about", about),\n', '    Route("/about", about),\n    Route("/info", about),\n'),),
        (("GET", "/info", None),),
    ),
    Edit(
        "route added to a mount",
        (
            (
                HANDLERS,
                "async def missing(",
                (
                    "async def last(request: Request) -> Response:\n"
                    "    return PlainTextResponse(board.notices[-1].text)\n"
                    "\n"
                    "\n"
                    "async def missing("
                ),
            ),
            (
                MAIN,
                '            Route("/", handlers.Notices),\n',
                ('            Route("/", handlers.Notices),\n            Route("/last", handlers.last),\n'),
            ),
        ),
        (("GET", "/notices/last", None),),
    ),
    Edit("route removed", ((MAIN, '    Route("/about", about),\n', ""),)),
    Edit("route renamed", ((MAIN, 'Route("/about", about)', 'Route("/info", about)'),), (("GET", "/info", None),)),
    Edit(
        "method of a route",
        ((MAIN, 'methods=["POST"]', 'methods=["POST", "PUT"]'),),
        (("PUT", "/notices/9/like", None),),
    ),
    Edit("setting", ((SETTINGS, "cast=int, default=40", "cast=int, default=10"),)),
    Edit("constant", ((SETTINGS, 'GREETING = "notices"', 'GREETING = "what is new"'),)),
    Edit("list that a middleware has", ((SETTINGS, '"127.0.0.1"]', '"127.0.0.1", "board"]'),)),
    Edit("template", ((PAGE, "<li>{{ text }}</li>", "<li>{{ text|upper }}</li>"),)),
    Edit(
        "template added",
        (
            ("board/templates/about.html", "", "<p>{{ version }}</p>\n"),
            (
                MAIN,
                "from starlette.responses import JSONResponse, Response\n",
                "from starlette.responses import Response\n",
            ),
            (
                MAIN,
                'JSONResponse({"version": __version__, "opened": request.state.opened})',
                'handlers.templates.TemplateResponse(request, "about.html", {"version": __version__})',
            ),
        ),
    ),
    Edit(
        "middleware added",
        (
            (
                MAIN,
                "from starlette.middleware.trustedhost",
                "from starlette.middleware.gzip import GZipMiddleware\nfrom starlette.middleware.trustedhost",
            ),
            (MAIN, ", Middleware(Stamped)]", ", Middleware(Stamped), Middleware(GZipMiddleware, minimum_size=1)]"),
        ),
    ),
    Edit("argument of a middleware", ((MAIN, "Middleware(Stamped)]", 'Middleware(Stamped, name="wall")]'),)),
    Edit(
        "log line",
        (
            (
                HANDLERS,
                "    texts = [each",
                '    logger.info("the page")\n    texts = [each.upper() for each in []] + [each',
            ),
        ),
    ),
    Edit(
        "logger",
        (
            (NOTICES, "from dataclasses", "import logging\nfrom dataclasses"),
            (NOTICES, "@dataclass\n", "log = logging.getLogger(__name__)\n\n\n@dataclass\n"),
            (
                NOTICES,
                "        return self.text[:longest]\n",
                ('        log.debug("cut")\n        return self.text[: longest - 1]\n'),
            ),
        ),
    ),
    Edit(
        "attribute of a class of state",
        (
            (NOTICES, "    likes: int = 0\n", "    likes: int = 0\n    seen: int = 0\n"),
            (HANDLERS, '"likes": each.likes}', '"likes": each.likes, "seen": each.seen}'),
        ),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "new module",
        (
            (
                "board/search.py",
                "",
                (
                    "from starlette.requests import Request\n"
                    "from starlette.responses import JSONResponse, Response\n"
                    "from starlette.routing import Route\n"
                    "\n"
                    "from .notices import board\n"
                    "\n"
                    "\n"
                    "async def find(request: Request) -> Response:\n"
                    '    return JSONResponse([each.text for each in board.notices if request.query_params["word"] in each.text])\n'
                    "\n"
                    "\n"
                    'routes = [Route("/", find)]\n'
                ),
            ),
            (
                MAIN,
                "from . import __version__, handlers, settings\n",
                "from . import __version__, handlers, search, settings\n",
            ),
            (
                MAIN,
                '    WebSocketRoute("/echo"',
                '    Mount("/search", routes=search.routes),\n    WebSocketRoute("/echo"',
            ),
        ),
        (("GET", "/search/?word=bell", None),),
    ),
    Edit(
        "new dependency",
        (
            (
                HANDLERS,
                "from .notices import board\n",
                ("from extra_words import plural\n\nfrom .notices import board\n"),
            ),
            (HANDLERS, '"text": each.text,', '"text": plural(each.text),'),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("board/__init__.py", "2.1", "2.2"),)),
    Edit(
        "exception handler added",
        ((MAIN, "{IndexError: handlers.missing}", "{IndexError: handlers.missing, 404: handlers.missing}"),),
    ),
    Edit(
        "body of the lifespan",
        ((MAIN, 'board.post("welcome")', 'board.post("welcome all")'),),
        up="RESTART",
        down="RESTART",
    ),
)
