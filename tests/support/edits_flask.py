"""Edits of a library, by Flask."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "flask_library",
    {"wsgi": "library.web:app", "listen": ["tcp://127.0.0.1:0"]},
    ("flask", "waitress"),
    before=(("POST", "/books/", {"title": "Emma"}), ("POST", "/books/", {"title": "Ulysses"})),
    requests=(
        ("GET", "/", None),
        ("GET", "/about", None),
        ("GET", "/books/", None),
        ("GET", "/books/2", None),
        ("GET", "/books/9", None),
    ),
    kept=(
        "from library.books import database; "
        "print(id(database), database.execute('SELECT id, title FROM books').fetchall())"
    ),
)

WEB, BOOKS, SETTINGS, FILTERS, EXTENSIONS = (
    f"library/{name}.py" for name in ("web", "books", "settings", "filters", "extensions")
)
HOME, BASE = "library/templates/home.html", "library/templates/base.html"

EDITS = (
    Edit("handler body", ((BOOKS, "jsonify(title=found[0], days", "jsonify(title=found[0], id=number, days"),)),
    Edit(
        "handler gets a default",
        (
            (BOOKS, "def book(number: int)", "def book(number: int, loud: bool = True)"),
            (BOOKS, "title=found[0],", "title=found[0].upper() if loud else found[0],"),
        ),
    ),
    Edit(
        "route added",
        (
            (
                WEB,
                "@app.errorhandler(404)",
                (
                    '@app.get("/days")\n'
                    "def days() -> ResponseReturnValue:\n"
                    '    return jsonify(app.config["LOAN_DAYS"])\n'
                    "\n"
                    "\n"
                    "@app.errorhandler(404)"
                ),
            ),
        ),
        (("GET", "/days", None),),
    ),
    Edit(
        "route added to a blueprint",
        (
            (
                BOOKS,
                '@books.post("/")',
                (
                    '@books.get("/count")\n'
                    "def count() -> ResponseReturnValue:\n"
                    '    return jsonify(database.execute("SELECT COUNT(*) FROM books").fetchone()[0])\n'
                    "\n"
                    "\n"
                    '@books.post("/")'
                ),
            ),
        ),
        (("GET", "/books/count", None),),
    ),
    Edit(
        "route removed",
        (
            (
                WEB,
                (
                    '@app.get("/about")\n'
                    "def about() -> ResponseReturnValue:\n"
                    '    """What it is."""\n'
                    "    return jsonify(version=__version__, counted=counter.count > 0)\n"
                    "\n"
                    "\n"
                ),
                "",
            ),
        ),
    ),
    Edit("route renamed", ((WEB, '@app.get("/about")', '@app.get("/info")'),), (("GET", "/info", None),)),
    Edit(
        "converter of a route",
        ((BOOKS, '"/<int:number>"', '"/<float:number>"'),),
        (("GET", "/books/1.0", None),),
        down="RESTART",
    ),
    Edit(
        "prefix of a blueprint",
        ((BOOKS, 'url_prefix="/books"', 'url_prefix="/volumes"'),),
        (("GET", "/volumes/", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("setting", ((SETTINGS, "LOAN_DAYS = 14", "LOAN_DAYS = 21"),)),
    Edit("nested setting", ((SETTINGS, '"name": "Central"', '"name": "Southern"'),)),
    Edit(
        "constant that comes",
        (
            (SETTINGS, "LOAN_DAYS = 14", "LOAN_DAYS = 14\nMOTTO = 'read'"),
            (BOOKS, 'days=current_app.config["LOAN_DAYS"]', 'motto=current_app.config["MOTTO"]'),
        ),
    ),
    Edit("template", ((HOME, "<h1>", "<h1>The "),)),
    Edit("template that others extend", ((BASE, "library{% endblock %}</title>", "a library{% endblock %}</title>"),)),
    Edit(
        "template added",
        (
            ("library/templates/about.html", "", "<p>{{ version|loud }}</p>\n"),
            (
                WEB,
                "return jsonify(version=__version__, counted=counter.count > 0)",
                'return render_template("about.html", version=__version__)',
            ),
        ),
    ),
    Edit("body of a filter", ((FILTERS, "return text.upper()", "return text.title()"),)),
    Edit(
        "filter added",
        (
            (FILTERS, "def loud", ("def soft(text: str) -> str:\n    return text.lower()\n\n\ndef loud")),
            (WEB, "from .filters import loud\n", "from .filters import loud, soft\n"),
            (
                WEB,
                'app.jinja_env.filters["loud"] = loud\n',
                ('app.jinja_env.filters["loud"] = loud\napp.jinja_env.filters["soft"] = soft\n'),
            ),
            (HOME, "|loud", "|soft"),
        ),
    ),
    Edit(
        "hook added",
        (
            (
                WEB,
                "@app.after_request\n",
                (
                    "@app.before_request\n"
                    "def ping() -> ResponseReturnValue | None:\n"
                    '    return ("pong", 200) if request.path == "/ping" else None\n'
                    "\n"
                    "\n"
                    "@app.after_request\n"
                ),
            ),
            (WEB, "jsonify, render_template\n", "jsonify, render_template, request\n"),
        ),
        (("GET", "/ping", None),),
    ),
    Edit(
        "error handler added",
        (
            (
                WEB,
                "@app.after_request\n",
                (
                    "@app.errorhandler(405)\n"
                    "def wrong(error: Exception) -> ResponseReturnValue:\n"
                    '    return jsonify(error="not so"), 405\n'
                    "\n"
                    "\n"
                    "@app.after_request\n"
                ),
            ),
        ),
        (("DELETE", "/about", None),),
    ),
    Edit("body of an error handler", ((WEB, 'error="nothing there"', 'error="nothing"'),)),
    Edit(
        "command added",
        (
            (
                WEB,
                '@app.cli.command("count")',
                (
                    '@app.cli.command("about")\n'
                    "def told() -> None:\n"
                    "    print(__version__)\n"
                    "\n"
                    "\n"
                    '@app.cli.command("count")'
                ),
            ),
        ),
    ),
    Edit(
        "log line",
        ((BOOKS, "    if found is None:\n", ('    logger.info("asked for %d", number)\n    if found is None:\n')),),
    ),
    Edit(
        "logger",
        (
            (WEB, "from flask import Flask", "import logging\n\nfrom flask import Flask"),
            (WEB, "app = Flask(__name__)\n", "log = logging.getLogger(__name__)\napp = Flask(__name__)\n"),
            (WEB, "jsonify(version=__version__,", "jsonify(v=__version__,"),
        ),
    ),
    Edit(
        "new module",
        (
            (
                "library/loans.py",
                "",
                (
                    "from flask import Blueprint, jsonify\n"
                    "from flask.typing import ResponseReturnValue\n"
                    "\n"
                    'loans = Blueprint("loans", __name__, url_prefix="/loans")\n'
                    "\n"
                    "\n"
                    '@loans.get("/")\n'
                    "def all_of_them() -> ResponseReturnValue:\n"
                    "    return jsonify([])\n"
                ),
            ),
            (WEB, "from .filters import loud\n", "from .filters import loud\nfrom .loans import loans\n"),
            (
                WEB,
                "app.register_blueprint(books)\n",
                ("app.register_blueprint(books)\napp.register_blueprint(loans)\n"),
            ),
        ),
        (("GET", "/loans/", None),),
        down="RESTART",
    ),
    Edit(
        "new dependency",
        (
            (BOOKS, "from flask import Blueprint", "from extra_words import plural\nfrom flask import Blueprint"),
            (BOOKS, "title=found[0],", "title=plural(found[0]),"),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("library/__init__.py", "0.9", "1.0"),)),
)
