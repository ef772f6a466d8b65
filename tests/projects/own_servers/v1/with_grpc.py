import asyncio
import os
from pathlib import Path

import grpc

from .version import PORT, VERSION, says

HERE = Path(os.environ["HERE"])


async def say(request, context):
    (HERE / "began").touch()
    while (HERE / "hold").exists():
        await asyncio.sleep(0.01)
    return VERSION.encode()


async def serve():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(say)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tool", {"Say": handler}),))
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    await server.start()
    says()
    await server.wait_for_termination()


def main():
    asyncio.run(serve())
