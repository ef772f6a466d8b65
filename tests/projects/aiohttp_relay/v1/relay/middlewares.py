"""What is done to each request."""

from aiohttp import web
from aiohttp.typedefs import Handler


@web.middleware
async def stamped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says who has answered."""
    response = await handler(request)
    response.headers["X-By"] = "relay"
    return response


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tells what is wrong as JSON."""
    try:
        return await handler(request)
    except KeyError as error:
        return web.json_response({"missing": str(error)}, status=404)
