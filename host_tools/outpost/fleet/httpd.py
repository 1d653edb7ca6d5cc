"""HTTP: the update endpoint, the API, the pages and the metrics, by uvicorn in a thread.

A request's Host must be one of ours: a page of another site that rebinds its name to 127.0.0.1
gets nothing (reading is open there).
"""

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from outpost.errors import ExitCode, OutpostError
from outpost.fleet import api, metrics, pages
from outpost.fleet.updates import UpdateFiles, answer

if TYPE_CHECKING:
    import uvicorn

    from outpost.fleet.service import Service

START_TIMEOUT_S = 5.0
GRACE_S = 1


def application(service: "Service") -> Starlette:
    files = UpdateFiles(service.registry, service.fleet.folder / "update")

    async def update(request: Request) -> Response:
        item = await asyncio.to_thread(files.find, request.path_params["path"])
        found = answer(item, dict(request.headers))
        return Response(found.body, found.status, found.headers)

    async def scrape(request: Request) -> Response:
        if not api.may_read(service, request):
            try:
                api.authorise(service, request)
            except OutpostError as error:
                return api.failure(error)
        body = await asyncio.to_thread(metrics.render, service)
        return Response(body, media_type=metrics.CONTENT_TYPE)

    app = Starlette(
        routes=[
            Route("/update/{path:path}", update, methods=["GET"]),
            Route("/metrics", scrape),
            Mount("/api/v1", routes=api.routes()),
            Mount("/static", StaticFiles(directory=pages.static_folder())),
            *pages.routes(),
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware,
                www_redirect=False,
                allowed_hosts=list(service.fleet.config.server_names),
            )
        ],
    )
    app.state.service = service
    return app


class HttpServer:
    """start() -> port; stop() within a second or so."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        import uvicorn

        self._socket = _bound(self._host, self.port)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, name="http", daemon=True, kwargs={"sockets": [self._socket]}
        )
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise OutpostError("http-start", "the HTTP server does not start", None)
            time.sleep(0.01)
        return self.port

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(GRACE_S + 1.0)
        if self._socket:
            self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise OutpostError(
            "http-port",
            f"cannot listen on {host}:{port}: {error.strerror}",
            "choose another --port",
            ExitCode.USAGE,
        ) from None
    return found
