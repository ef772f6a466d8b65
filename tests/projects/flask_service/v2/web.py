"""A shop, by Flask: a blueprint, an error handler, and what an extension keeps."""

from flask import Blueprint, Flask, jsonify
from flask.typing import ResponseReturnValue

CURRENCY = "CHF"
prices: dict[str, int] = {"tea": 3}

app = Flask(__name__)
app.config["CURRENCY"] = CURRENCY
stock = Blueprint("stock", __name__, url_prefix="/stock")


@app.get("/price/<name>")
def price(name: str) -> ResponseReturnValue:
    """What something costs."""
    return jsonify(name=name, price=prices[name], currency=app.config["CURRENCY"])


@app.get("/prices")
def all_prices() -> ResponseReturnValue:
    """What everything costs."""
    return jsonify(prices)


@app.errorhandler(KeyError)
def missing(error: KeyError) -> ResponseReturnValue:
    """There is no such thing."""
    return jsonify(missing=str(error), known=sorted(prices)), 404


@stock.post("/<name>/<int:cost>")
def put(name: str, cost: int) -> ResponseReturnValue:
    """Sell something from now on."""
    prices[name] = cost
    return jsonify(prices)


app.register_blueprint(stock)
