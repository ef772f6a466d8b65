import uvicorn

from .rooms_asgi import app
from .version import PORT, says


def main():
    says()
    uvicorn.run(app, port=PORT, log_config=None, loop="asyncio", timeout_keep_alive=60)
