"""HTTP: the app behind its guards, called in this process; what answers is made here. No Ray."""

from __future__ import annotations

import asyncio
import re
import tempfile
from typing import Any

import httpx
import pytest

from emoray.errors import ConfigError
from emoray.notes import as_notes
from emoray.request import REQUEST_OPTIONS, File, GenerationRequest, Result
from emoray.web.app import build_app
from emoray.web.settings import HttpSettings
from emoray.writers.midi import midi_bytes

MUSIC = as_notes([0.0, 0.5, 1.0], [0.4] * 3, [60, 62, 64], [80] * 3)
MIDI = midi_bytes(MUSIC)


class Busy(Exception):
    """IsTransient."""


class Stage:
    """Answers every request alike and remembers it."""

    def __init__(self, answer: Result | Exception | None = None, ready: str | Exception = "original") -> None:
        self.given, self.state, self.asked = answer, ready, list[GenerationRequest]()

    async def answer(self, request: GenerationRequest) -> Result:
        self.asked.append(request)
        if isinstance(self.given, Exception):
            raise self.given
        return self.given or Result(
            id=request.id,
            emotion_from="emotion",
            label=1,
            valence=0.5,
            random_seed=request.random_seed or request.derived_random_seed(),
            seed_notes=2,
            music=MUSIC,
        )

    async def ready(self) -> str:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


def send(
    stage: Stage, method: str, path: str, *, http: HttpSettings | None = None, **sent: Any
) -> httpx.Response:
    app = build_app(stage.answer, stage.ready, lambda err: isinstance(err, Busy), http or HttpSettings())

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.request(method, path, **sent)

    return asyncio.run(go())


def generate(stage: Stage, *, http: HttpSettings | None = None, **sent: Any) -> httpx.Response:
    return send(stage, "POST", "/v1/generate", http=http, **sent)


def error(response: httpx.Response) -> tuple[int, str]:
    """(status, subject); every error has the same shape."""
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"subject", "reason"}
    assert body["error"]["reason"]
    return response.status_code, body["error"]["subject"]


def test_a_seed_and_an_emotion_give_midi_and_what_is_known_of_it():
    response = generate(Stage(), files={"seed": b"tune"}, data={"emotion": "happy", "random_seed": "7"})
    assert (response.status_code, response.content) == (200, MIDI)
    assert response.headers["content-type"] == "audio/midi"
    assert response.headers["content-disposition"] == 'attachment; filename="emoray-happy-7.mid"'
    known = {
        name: response.headers.get(f"x-emoray-{name}")
        for name in ("label", "valence", "emotion-from", "notes", "seed-notes", "random-seed", "backend")
    }
    assert known == {
        "label": "1", "valence": "0.5", "emotion-from": "emotion", "notes": "1", "seed-notes": "2",
        "random-seed": "7", "backend": None,
    }  # fmt: skip


def test_every_option_reaches_the_request():
    stage = Stage()
    options = {
        name: str(option.example)
        for name, option in REQUEST_OPTIONS.items()
        if name not in ("id", "seed", "image")
    }
    generate(stage, files={"seed": b"tune", "image": b"face"}, data=options)
    [request] = stage.asked
    expected = GenerationRequest(
        id=request.id, seed=File("seed", b"tune"), image=File("image", b"face"), **options
    )
    assert request == expected


def test_a_field_that_is_sent_empty_is_left_out():
    stage = Stage()
    generate(stage, files={"seed": b"tune"}, data={"emotion": "calm", "notes": "", "curve": ""})
    assert stage.asked[0].asked.keys() == {"id", "seed", "emotion", "arousal"}


def test_the_random_seed_follows_from_the_content_and_is_named():
    stage = Stage()
    sent = {"files": {"seed": b"tune"}, "data": {"emotion": "sad"}}
    named = [generate(stage, **sent).headers["x-emoray-random-seed"] for _ in range(2)]
    derived = GenerationRequest(seed=File("a.mid", b"tune"), emotion=-1).derived_random_seed()
    assert named == [str(derived)] * 2


def test_an_image_alone_is_enough():
    stage = Stage()
    assert generate(stage, files={"seed": b"tune", "image": b"face"}).status_code == 200
    assert (stage.asked[0].image, stage.asked[0].emotion) == (File("image", b"face"), None)


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        ({}, "emotion"),
        ({"emotion": "sad", "guidance": "louder"}, "guidance"),
        ({"emotion": "sad", "without_seed": "perhaps"}, "without_seed"),
        ({"emotion": "sad", "image": "a text"}, "image"),
        ({"emotion": "joyful"}, "emotion"),
        ({"emotion": "nan"}, "emotion"),
        ({"curve": "[[9, 1], [0, 1]]"}, "curve"),
        ({"emotion": "sad", "arousal": "2"}, "arousal"),
        ({"emotion": "sad", "top_p": "0"}, "top_p"),
        ({"emotion": "sad", "notes": "0"}, "notes"),
        ({"emotion": "sad", "notes": "2.5"}, "notes"),
        ({"emotion": "sad", "notes": "1000000"}, "notes"),
        ({"emotion": "sad", "seconds": "inf"}, "seconds"),
        ({"emotion": "sad", "temperature": "nan"}, "temperature"),
        ({"emotion": "sad", "strength": "-1"}, "strength"),
        ({"emotion": "sad", "random_seed": "-1"}, "random_seed"),
        ({"emotion": "sad", "temprature": "1"}, "temprature"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(data, subject):
    stage = Stage()
    assert error(generate(stage, files={"seed": b"tune"}, data=data)) == (422, subject)
    assert not stage.asked


def test_a_missing_seed_is_named():
    assert error(generate(Stage(), files={"image": b"face"}, data={"emotion": "sad"})) == (422, "seed")


def test_a_body_that_is_no_form_is_refused():
    assert error(generate(Stage(), json={"seed": "tune"})) == (415, "body")
    assert error(generate(Stage(), data={"seed": "tune"})) == (415, "body")


def test_a_form_that_is_damaged_is_refused():
    headers = {"content-type": "multipart/form-data"}
    assert error(generate(Stage(), content=b"--x", headers=headers))[0] == 400


def test_what_the_readers_refuse_is_the_callers_to_mend():
    failed = Result(id="a", error="seed: holds no notes; give music: at least one note")
    response = generate(Stage(failed), files={"seed": b"tune"}, data={"emotion": "sad"})
    assert error(response) == (422, "seed")
    assert response.json()["error"]["reason"] == "holds no notes; give music: at least one note"


def test_what_passes_is_a_503_that_says_when_to_come_back():
    response = generate(Stage(Busy()), files={"seed": b"tune"}, data={"emotion": "sad"})
    assert error(response) == (503, "emoray")
    assert int(response.headers["retry-after"]) > 0


def test_a_bug_is_a_500_that_shows_nothing_of_it():
    response = generate(Stage(KeyError("secret")), files={"seed": b"tune"}, data={"emotion": "sad"})
    assert error(response) == (500, "emoray")
    assert "secret" not in response.text


def test_a_request_that_takes_too_long_is_given_up():
    stage = Stage()

    async def never(request: GenerationRequest) -> Result:
        await asyncio.Event().wait()
        raise AssertionError

    stage.answer = never  # type: ignore[method-assign]
    http = HttpSettings(timeout=0.01)
    assert error(generate(stage, http=http, files={"seed": b"x"}, data={"emotion": "sad"}))[0] == 503


def test_health_is_good_only_while_a_composer_answers():
    good = send(Stage(), "GET", "/healthz")
    assert (good.status_code, good.json()) == (200, {"status": "ok", "guidance": "original"})
    assert error(send(Stage(ready=Busy()), "GET", "/healthz"))[0] == 503


def test_no_upload_touches_the_disk(monkeypatch):
    """Starlette moves a file of more than 1 MB to the disk unless it is told otherwise."""

    def rollover(_: Any) -> None:
        raise AssertionError("a picture was written to a temporary file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    stage, picture = Stage(), b"x" * 3_000_000
    response = generate(stage, files={"seed": b"tune", "image": picture})
    assert response.status_code == 200
    assert stage.asked[0].image == File("image", picture)


def test_a_file_that_is_too_large_is_refused():
    http = HttpSettings(max_body=1000)
    sent = {"files": {"seed": b"x" * 2000}, "data": {"emotion": "sad"}}
    assert error(generate(Stage(), http=http, **sent)) == (413, "body")


def test_the_token_guards_music_and_not_health():
    stage, http = Stage(), HttpSettings(token="open sesame")
    sent = {"files": {"seed": b"tune"}, "data": {"emotion": "sad"}}
    assert error(generate(stage, http=http, **sent)) == (401, "token")
    assert not stage.asked
    assert (
        generate(stage, http=http, headers={"authorization": "Bearer open sesame"}, **sent).status_code == 200
    )
    assert send(stage, "GET", "/healthz", http=http).status_code == 200


def test_the_documentation_names_options_errors_and_an_example():
    page = send(Stage(), "GET", "/openapi.json").json()
    generate = page["paths"]["/v1/generate"]["post"]
    assert set(generate["responses"]) == {"200", "400", "401", "413", "415", "422", "503"}
    assert "audio/midi" in generate["responses"]["200"]["content"]
    assert "X-Emoray-Random-Seed" in generate["responses"]["200"]["headers"]
    assert "curl" in generate["description"]
    form = generate["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["seed"]
    assert form["properties"].keys() == REQUEST_OPTIONS.keys() - {"id"}
    assert form["properties"]["notes"]["maximum"] == 20_000
    assert page["components"]["schemas"]["Reason"]["properties"]["subject"]["examples"]


def test_the_documentation_page_needs_no_other_host_and_no_token():
    http = HttpSettings(token="secret")
    page = send(Stage(), "GET", "/docs", http=http)
    assert page.status_code == 200
    asked_for = re.findall(r"""(?:src|href)=["']([^"']+)|url: '([^']+)'""", page.text)
    addresses = [found for pair in asked_for for found in pair if found]
    assert len(addresses) == 4
    assert "//" not in "".join(addresses)
    for address in addresses:
        answer = send(Stage(), "GET", address, http=http)
        assert (answer.status_code, len(answer.content) > 1_000) == (200, True), address
    allowed = page.headers["content-security-policy"]
    assert "default-src 'none'" in allowed
    assert "http" not in allowed
    assert '"validatorUrl": null' in page.text


def test_an_unknown_path_is_an_error_of_the_same_shape():
    assert error(send(Stage(), "GET", "/v2/generate"))[0] == 404
    assert error(send(Stage(), "GET", "/v1/generate"))[0] == 405


@pytest.mark.parametrize(
    "bad", [{"port": 0}, {"port": 70_000}, {"token": " "}, {"max_body": 0}, {"timeout": 0}]
)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ConfigError, match=next(iter(bad)).replace("_", " ")):
        HttpSettings(**bad)
