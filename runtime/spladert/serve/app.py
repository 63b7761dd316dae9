"""The ASGI application over an encoder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse

from ..encoder import SparseEncoder
from ..version import __version__
from .guard import Guard, Measure
from .options import ServerOptions
from .refusals import RefusalError, from_validation
from .routes import encode_routes, operation_routes, tei_routes
from .service import ClientGoneError, Service

# The page needs nothing from outside.
PAGE_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
CLIENT_CLOSED = 499  # as nginx logs it; nobody receives it


def create_app(encoder: SparseEncoder, options: ServerOptions | None = None) -> FastAPI:
    """The application; it ends the encoder's use, not the encoder, when its lifespan ends."""
    options = options or ServerOptions()
    service = Service(encoder, options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.healthy = False  # until a text has gone through
        await service.probe()
        yield
        service.draining = True
        service.batcher.close()

    app = FastAPI(
        title="spladert",
        version=__version__,
        description="Sparse vectors of texts, by a SPLADE encoder.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's documentation pages load scripts from an outside host
        redoc_url=None,
    )
    for router in (tei_routes(service), encode_routes(service), operation_routes(service)):
        app.include_router(router)
    _add_page(app)
    _add_errors(app)
    overload = None if service.queries_without_model else service.batcher.overload  # a look-up needs no queue
    app.add_middleware(Guard, options=options, overload=overload)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "Server-Timing", "X-Batch-Texts", "X-Truncated"],
        )
    app.add_middleware(Measure, metrics=service.metrics)
    return app


def _add_page(app: FastAPI) -> None:
    folder = str(files(__package__) / "page")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(f"{folder}/index.html", headers={"Content-Security-Policy": PAGE_POLICY})

    app.mount("/page", StaticFiles(directory=folder))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: RefusalError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        return from_validation(error).response()

    @app.exception_handler(HTTPException)
    async def no_such(_: Request, error: HTTPException) -> Response:
        return RefusalError(error.status_code, "Validation", error.detail, error.headers).response()

    @app.exception_handler(ClientGoneError)
    async def gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_CLOSED)
