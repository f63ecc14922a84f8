"""HTTP: a picture or an emotion and a seed in, MIDI out. The app knows no Ray; it is given what answers.

Conventions
-----------
An error is JSON, ``{"error": {"subject": ..., "reason": ...}}``: 4xx is for the caller to mend, 503 passes.
Nothing that is sent is kept: uploads stay in memory, because a temporary file would put a face on the disk.
The guards stand in front, so a body is counted before anything parses it. Annotations are evaluated here,
unlike elsewhere, because FastAPI reads them.
"""

import asyncio
import dataclasses
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, File, Form, Request, Security, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from emoray.config import DEFAULT_NOTES, RANGES
from emoray.emotion import EMOTION_WORDS, parse_curve, parse_emotion
from emoray.errors import EmorayError, RequestError
from emoray.request import GenerationRequest, Result
from emoray.web.guards import ASSETS_PATH, RETRY_AFTER, App, busy, error_json, guarded
from emoray.web.settings import HttpSettings

log = logging.getLogger(__name__)

Answer = Callable[[GenerationRequest], Awaitable[Result]]
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
    "X-Emoray-Label": ("label", "1 happy, -1 sad, 0 neither."),
    "X-Emoray-Valence": ("valence", "From -1 (sad) to 1 (happy)."),
    "X-Emoray-Seed-Notes": ("seed_notes", "How many notes of the music, from its first, are the seed."),
    "X-Emoray-Notes": ("notes", "How many notes were composed."),
    "X-Emoray-Backend": ("backend", "The face model that answered; with an image only."),
    "X-Emoray-Image-Status": ("image_status", "What became of the image; with an image only."),
}
"""Response headers: name to field of ``Result`` and description."""
RANDOM_SEED = "X-Emoray-Random-Seed"
MUSIC: dict[str, Any] = {
    "description": "A Standard MIDI File.",
    "content": {"audio/midi": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        **{name: {"description": text, "schema": {"type": "string"}} for name, (_, text) in HEADERS.items()},
        RANDOM_SEED: {
            "description": "Send it as random_seed, with the same files, to get the same music again.",
            "schema": {"type": "integer"},
        },
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


def _number(name: str, description: str) -> Any:
    low, high = RANGES[name]
    return Form(description=description, ge=low, le=high, allow_inf_nan=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The form fields that are not files."""

    emotion: Annotated[
        str | None,
        Form(description=f"{', '.join(EMOTION_WORDS)} or a number from -1 to 1.", examples=["happy"]),
    ] = None
    arousal: Annotated[float | None, _number("arousal", "Calm to excited; as the emotion by default.")] = None
    curve: Annotated[
        str | None, Form(description="Emotion over time: JSON, [[seconds, valence, arousal], ...].")
    ] = None
    notes: Annotated[int | None, _number("notes", f"To compose; {DEFAULT_NOTES} by default.")] = None
    seconds: Annotated[float | None, _number("seconds", "To compose, instead of notes.")] = None
    temperature: Annotated[float | None, _number("temperature", "0 takes the likeliest pitch.")] = None
    top_p: Annotated[float | None, _number("top_p", "Share of the likeliest choices.")] = None
    strength: Annotated[float, _number("strength", "How far the emotion may pull.")] = 1.0
    random_seed: Annotated[int | None, _number("random_seed", "Drawn if none is given.")] = None
    guidance: Annotated[str | None, Form(description="Mode; the checkpoint's by default.")] = None
    without_seed: Annotated[bool, Form(description="Leave the seed's notes out.")] = False

    def item(self, seed: bytes, picture: bytes | None) -> GenerationRequest:
        """The item of one POST, with a random seed that its answer can name.

        Raises:
            RequestError: the emotion is none, or there is neither an emotion nor a picture.
        """
        if picture is None and self.emotion is None and self.curve is None:
            raise RequestError("image", "is missing, and so is an emotion; send one of them")
        fields = dataclasses.asdict(self)
        emotion, random_seed, curve = (fields.pop(name) for name in ("emotion", "random_seed", "curve"))
        valence, arousal = (None, None) if emotion is None else parse_emotion(emotion)
        fields["arousal"] = arousal if self.arousal is None else self.arousal
        return GenerationRequest(
            id=uuid.uuid4().hex,
            seed=seed,
            picture=picture,
            valence=valence,
            curve=() if curve is None else parse_curve(curve),
            random_seed=secrets.randbelow(2**32) if random_seed is None else random_seed,
            **fields,
        )


FIELDS = {"seed", "image"} | {field.name for field in dataclasses.fields(Options)}


class Failure(Exception):
    """An answer that is an error of the caller's making or a transient one."""

    def __init__(self, status: int, subject: str, reason: str) -> None:
        super().__init__(status, subject, reason)
        self.status, self.subject, self.reason = status, subject, reason


def build_app(answer: Answer, ready: Ready, is_transient: IsTransient, settings: HttpSettings) -> App:
    """The door: guards, and behind them the app.

    Args:
        answer: an item to its result; what it raises is a bug, or is_transient.
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
        openapi_extra={"description": GENERATE},
        tags=["music"],
    )
    async def generate(
        request: Request,
        seed: Annotated[UploadFile, File(description="MIDI, or a recording of a voice or instrument.")],
        options: Annotated[Options, Depends()],
        image: Annotated[UploadFile | None, File(description="A picture of a face.")] = None,
    ) -> Response:
        _refuse_unknown(set(await request.form()))
        picture = None if image is None else await image.read()
        item = options.item(await seed.read(), picture)
        return music(item, await _within(answer(item), settings.timeout, is_transient))

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


def music(item: GenerationRequest, result: Result) -> Response:
    """The response to a result.

    Raises:
        Failure: the item failed.
    """
    if result.midi is None:
        subject, _, reason = (result.error or item.id).partition(": ")
        raise Failure(422, subject, reason)
    name = f"emoray-{WORDS[result.label or 0]}-{item.random_seed}.mid"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', RANDOM_SEED: str(item.random_seed)}
    for header, (field, _) in HEADERS.items():
        if (value := getattr(result, field)) is not None:
            headers[header] = str(value).encode("ascii", "replace").decode()
    return Response(result.midi, media_type="audio/midi", headers=headers)


def _refuse_unknown(sent: set[str]) -> None:
    if unknown := sorted(sent - FIELDS):
        raise RequestError(unknown[0][:80], f"is no option; known are {', '.join(sorted(FIELDS))}")


async def _within(answer: Awaitable[Any], seconds: float, is_transient: IsTransient) -> Any:
    """Wait for an answer, and turn what is transient into a 503."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
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

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, err: RequestValidationError) -> JSONResponse:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return JSONResponse(error_json("body", "is not multipart/form-data; send files as a form"), 415)
        first = err.errors()[0]
        return JSONResponse(error_json(str(first["loc"][-1]), f"{first['msg']}; see /docs"), 422)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, err: HTTPException) -> JSONResponse:
        return JSONResponse(error_json(request.url.path, str(err.detail)), err.status_code, err.headers)

    @app.exception_handler(Exception)
    async def bug(_: Request, err: Exception) -> JSONResponse:
        log.error("unexpected error", exc_info=err)
        return JSONResponse(error_json("emoray", "unexpected error; this is a bug, see the log"), 500)
