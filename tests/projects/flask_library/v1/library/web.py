"""The application."""

from flask import Flask, jsonify, render_template
from flask.typing import ResponseReturnValue

from . import __version__, settings
from .books import books
from .extensions import counter
from .filters import loud

app = Flask(__name__)
app.config.from_object(settings)
app.jinja_env.filters["loud"] = loud
counter.init_app(app)
app.register_blueprint(books)


@app.get("/")
def home() -> ResponseReturnValue:
    """The page."""
    return render_template("home.html", house=app.config["HOUSE"], days=app.config["LOAN_DAYS"])


@app.get("/about")
def about() -> ResponseReturnValue:
    """What it is."""
    return jsonify(version=__version__, counted=counter.count > 0)


@app.errorhandler(404)
def missing(error: Exception) -> ResponseReturnValue:
    """There is nothing there."""
    return jsonify(error="nothing there"), 404


@app.after_request
def stamped(response):
    """Says who has answered."""
    response.headers["X-By"] = "library"
    return response


@app.cli.command("count")
def count() -> None:
    """How many requests there were."""
    print(counter.count)
