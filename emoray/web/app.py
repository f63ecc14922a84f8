"""HTTP: a picture or an emotion and a seed in, MIDI out. The app knows no Ray; it is given what generates.

Conventions
-----------
An error is JSON, ``{"error": {"subject": ..., "reason": ...}}``: 4xx is for the caller to mend, 503 passes.
Nothing that is sent is kept: uploads stay in memory, because a temporary file would put a face on the disk.
The guards stand in front, so a body is counted before anything parses it. The form has the fields of
``GenerationRequest`` and its checks; FastAPI only shows them. Annotations are evaluated here, unlike
elsewhere, because FastAPI reads them.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import FastAPI, Request, Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from emoray.errors import EmorayError, RequestError, shown
from emoray.generation import write
from emoray.request import REQUEST_OPTIONS, File, GenerationRequest, Result
from emoray.web.guards import ASSETS_PATH, RETRY_AFTER, App, busy, error_json, guarded
from emoray.web.settings import HttpSettings

log = logging.getLogger(__name__)

Generate = Callable[[GenerationRequest], Awaitable[Result]]
Ready = Callable[[], Awaitable[str]]
IsTransient = Callable[[BaseException], bool]

HEALTH_TIMEOUT = 5.0
"""Seconds a composer has to say that it is alive."""
GENERATE_PATH = "/v1/generate"
WORDS = {-1: "sad", 0: "neutral", 1: "happy"}


class Reason(BaseModel):
    """What failed, and what is wrong with it and how to mend it."""

    subject: str = Field(examples=["seed"])
    reason: str = Field(examples=["holds no notes; give music with at least one note"])


class Problem(BaseModel):
    """The body of every error."""

    error: Reason


class Health(BaseModel):
    """The composer answers."""

    status: Literal["ok"] = "ok"
    guidance: str = Field(description="The mode for requests that name none.", examples=["original"])


HEADERS = {
    "X-Emoray-Label": ("label", "Composed with: 1 happy, -1 sad, 0 neither."),
    "X-Emoray-Valence": ("valence", "Composed with: from -1 (sad) to 1 (happy)."),
    "X-Emoray-Emotion-From": ("emotion_from", "Where both are from: curve, image or emotion."),
    "X-Emoray-Seed-Notes": ("seed_notes", "How many notes of the music, from its first, are the seed."),
    "X-Emoray-Notes": ("notes", "How many notes were composed."),
    "X-Emoray-Random-Seed": (
        "random_seed",
        "Send it as random_seed, with the same files and options, to get the same music again.",
    ),
    "X-Emoray-Backend": ("backend", "The face model that answered; with an image only."),
    "X-Emoray-Image-Status": ("image_status", "What became of the image; with an image only."),
    "X-Emoray-Image-Valence": ("image_valence", "What the image shows; with an image only."),
}
"""Response headers: name to field of ``Result`` and description."""
MUSIC: dict[str, Any] = {
    "description": "A Standard MIDI File.",
    "content": {"audio/midi": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        name: {"description": text, "schema": {"type": "string"}} for name, (_, text) in HEADERS.items()
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The body is not what its header says.",
        401: "The token is missing or wrong.",
        413: "The body is too large.",
        415: "The body is not multipart/form-data.",
        422: "The seed, the image or an option cannot be used.",
        503: "Busy or starting again; come back after Retry-After seconds.",
    }.items()
}


GENERATE = (
    "Composes on from the seed. Give an image, or an emotion, or both: then the emotion counts if the image"
    " shows no clear one.\n\n"
    "    curl -F seed=@tune.mid -F emotion=happy -F notes=60 http://127.0.0.1:8000/v1/generate -o out.mid"
)


FORM = [option for option in REQUEST_OPTIONS.values() if option.name != "id"]
"""The form's fields."""


def _form_schema() -> dict[str, Any]:
    """The form as OpenAPI describes it."""
    types = {int: "integer", float: "number", bool: "boolean"}
    fields: dict[str, dict[str, Any]] = {}
    for option in FORM:
        fields[option.name] = {"description": option.help, "type": types.get(option.kind, "string")}
        if option.kind is File:
            fields[option.name]["format"] = "binary"
        elif option.example:
            fields[option.name]["examples"] = [option.example]
        if "word" in option.written:
            fields[option.name]["type"] = "string"
        elif option.low is not None:
            fields[option.name] |= {"minimum": option.low, "maximum": option.high}
        if option.choices:
            fields[option.name]["enum"] = list(option.choices)
        if option.default is not None:
            fields[option.name]["default"] = option.default
    required = [option.name for option in FORM if option.required]
    return {"type": "object", "properties": fields, "required": required}


class Failure(Exception):
    """An error of the caller's making, or a transient one."""

    def __init__(self, status: int, subject: str, reason: str) -> None:
        super().__init__(status, subject, reason)
        self.status, self.subject, self.reason = status, subject, reason


def build_app(generate: Generate, ready: Ready, is_transient: IsTransient, settings: HttpSettings) -> App:
    """The app behind its guards.

    Args:
        generate: a request to its result; what it raises is a bug, or is_transient.
        ready: the default guidance mode; raises or waits while no composer is alive.
        is_transient: whether the same call may succeed a moment later.
        settings: token, largest body, longest wait.
    """
    # Starlette moves an upload of more than this to a file: none of those that ``limited`` lets through
    MultiPartParser.spool_max_size = max(MultiPartParser.spool_max_size, settings.max_body + 1)
    app = FastAPIOffline(
        title="emoray",
        description="Piano music that starts from your melody and leans towards the emotion on your face.",
        docs_url=None,  # ours is below
        redoc_url=None,
        static_url=ASSETS_PATH,
        dependencies=[Security(HTTPBearer(auto_error=False))] if settings.token else [],
    )
    _add_errors(app)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return documentation_page()

    @app.get("/healthz", response_model=Health, responses={503: PROBLEMS[503]}, tags=["service"])
    async def healthz() -> Health:
        """Whether the composer answers."""
        return Health(guidance=await _within(ready(), HEALTH_TIMEOUT, is_transient))

    @app.post(
        GENERATE_PATH,
        response_class=Response,
        responses={200: MUSIC, **PROBLEMS},
        openapi_extra={
            "description": GENERATE,
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}},
        },
        tags=["music"],
    )
    async def post_generate(request: Request) -> Response:
        asked = await _asked(request)
        return await music(await _within(generate(asked), settings.timeout, is_transient))

    return guarded(app, token=settings.token, max_body=settings.max_body, max_held=settings.max_held)


def documentation_page() -> HTMLResponse:
    """The page that describes the HTTP interface and tries it out, where a caller may type in the token.

    Script and style come from this server, and the browser is told to ask no other host: the page works
    without a network, and nobody else's code sees the token.
    """
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="emoray",
        swagger_js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS_PATH}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},  # a service that would be sent our address
    )
    page.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'"
    )
    return page


async def _asked(request: Request) -> GenerationRequest:
    """The request that a form makes; a field that is sent empty counts as left out.

    Raises:
        Failure: the body is no form.
        RequestError: a field is none of the request's, or the request refuses it.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Failure(415, "body", "is not multipart/form-data; send files as a form")
    known, fields = {option.name: option for option in FORM}, dict[str, Any]()
    async with request.form() as form:
        for name, value in form.items():
            if name not in known:
                raise RequestError(shown(name)[:80], f"is no option; known are {', '.join(sorted(known))}")
            if (known[name].kind is File) != isinstance(value, UploadFile):
                kind = "a file" if known[name].kind is File else "text"
                raise RequestError(name, f"must be {kind}; see /docs")
            if isinstance(value, UploadFile):
                fields[name] = File(name, await value.read())
            elif value:
                fields[name] = value
    return GenerationRequest(id=uuid.uuid4().hex, **fields)


async def music(result: Result) -> Response:
    """The response to a result.

    Raises:
        RequestError: the request failed.
    """
    data = await asyncio.to_thread(write, result)
    if data is None:
        raise result.failure()
    name = f"emoray-{WORDS[result.label or 0]}-{result.random_seed}.mid"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    for header, (field, _) in HEADERS.items():
        if (value := getattr(result, field)) is not None:
            headers[header] = str(value).encode("ascii", "replace").decode()
    return Response(data, media_type="audio/midi", headers=headers)


async def _within(waiting: Awaitable[Any], seconds: float, is_transient: IsTransient) -> Any:
    """Wait so long, and turn what is transient into a 503."""
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except Exception as err:
        if not isinstance(err, TimeoutError) and not is_transient(err):
            raise
        log.warning("not answered: %s", type(err).__name__)
        raise Failure(*busy()) from err


def _add_errors(app: FastAPI) -> None:
    """One shape for every error that can leave the app."""

    @app.exception_handler(Failure)
    async def failure(_: Request, err: Failure) -> JSONResponse:
        headers = {"Retry-After": str(RETRY_AFTER)} if err.status == 503 else None
        return JSONResponse(error_json(err.subject, err.reason), err.status, headers)

    @app.exception_handler(EmorayError)
    async def mistake(_: Request, err: EmorayError) -> JSONResponse:
        return JSONResponse(error_json(str(err.subject), err.reason), 422)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, err: HTTPException) -> JSONResponse:
        return JSONResponse(error_json(request.url.path, str(err.detail)), err.status_code, err.headers)

    @app.exception_handler(Exception)
    async def bug(_: Request, err: Exception) -> JSONResponse:
        log.error("unexpected error", exc_info=err)
        return JSONResponse(error_json("emoray", "unexpected error; this is a bug, see the log"), 500)
