from __future__ import annotations

import logging
import subprocess
import sys
from functools import partial

from asked import music_of, request
from composers import AtOnce

from emoray.emotion import Evidence
from emoray.errors import MidiError
from emoray.notes import as_notes
from emoray.pipeline.failures import watched
from emoray.pipeline.worker import Loaders, answer_each, data_engine
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings


def items(*seeds: str) -> list[GenerationRequest]:
    return [request(seed, seed.encode()) for seed in seeds]


def test_an_item_that_breaks_the_batch_fails_alone_and_is_logged(caplog):
    asked = []

    def answer(batch):
        asked.append(len(batch))
        if any(item.seed.content == b"bomb" for item in batch):
            raise TypeError("cannot unpack\nin two lines")
        return [Result(id=item.id, music=music_of(item.seed.content)) for item in batch]

    with caplog.at_level(logging.ERROR):
        answers = answer_each(items("a", "b", "c", "d", "e", "bomb", "f", "g"), answer)
    pitches = [None if result.music is None else bytes(result.music["pitch"]) for result, _ in answers]
    assert pitches == [b"a", b"b", b"c", b"d", b"e", None, b"f", b"g"]
    error = answers[5][0].error
    assert error == "bomb: unexpected TypeError: cannot unpack; a bug, the log has its traceback"
    assert "Traceback" in caplog.text
    assert asked == [8, 4, 4, 2, 1, 1, 2]


def test_nothing_to_answer_asks_nobody():
    assert answer_each([], lambda _: [Result(id="x")]) == []


def test_the_data_engine_reads_and_composes_with_what_it_loaded():
    notes = as_notes([0.0], [1.0], [60], [80])

    def read_seed(seed):
        if seed.content == b"noise":
            raise MidiError(seed.name, "is not MIDI")
        return notes

    loaders = Loaders(
        faces=lambda _: lambda pictures: [Evidence(status="no_face", reason="no face") for _ in pictures],
        seeds=lambda _: read_seed,
        composer=lambda _: (AtOnce(lambda requests: [notes for _ in requests]), "none"),
    )
    engine = data_engine(ServeSettings(), loaders)
    asked = [*items("a", "noise"), request("p", b"a", b"grey")]
    (good, attempts), (noise, _), (faceless, _) = engine(asked)
    assert (good.status, good.notes, attempts) == ("ok", 1, 1)
    assert noise.error == "seed: is not MIDI"
    assert (faceless.status, faceless.image_status) == ("failed", "no_face")


def test_a_worker_that_composes_by_itself_does_without_serve():
    """Importing it takes longer than importing the engine."""
    code = (
        "import sys\n"
        "from emoray.pipeline import engines, failures, worker\n"
        "assert 'ray.serve' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hung_row_has_the_time_of_one_step_and_not_that_of_all_rows(monkeypatch):
    """A picture, a seed or a decoding step each; a shard of 64 rows once had 64 times the limit."""
    armed = list[float]()
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda seconds, exit: armed.append(seconds))
    notes = as_notes([0.0], [1.0], [60], [80])
    loaders = Loaders(
        faces=lambda _: lambda pictures: [],
        seeds=lambda _: lambda seed: notes,
        composer=lambda _: (AtOnce(lambda requests: [notes for _ in requests]), "none"),
    )
    engine = watched(partial(data_engine, ServeSettings(), loaders), 5.0)
    assert len(engine(items(*map(str, range(40))))) == 40
    assert set(armed) == {5.0}
    assert len(armed) > 40, "each step starts anew"
