"""Recognition: the notes of a file, the emotion of a picture, the emotion of music.

Conventions
-----------
A file is given as a path, a URI (``s3://``, ``gs://``, ``file://``) or its bytes; what it is, its content
decides. Valence is -1 (sad) to 1 (happy), arousal -1 (calm) to 1 (excited). An emotion of music is an
estimate by the models that guide composing, read backwards:

- ``cluster`` is the emotion cluster that the piece lies nearer to, and ``emotion_score`` the original
  system's score for happy, both means over windows of the piece.
- ``key`` is the key whose template the pitch-class profile correlates with most.
- ``valence`` and ``arousal`` come from the emotion map, which says how music's attributes change with both.
  The estimate is the mean of the posterior of a linear Gaussian model: each observation is the map's
  prediction with noise of variance 1, valence and arousal have a normal prior of variance 1. The observations
  are the standardised onset rate, duration, register and velocity, and the ``mode``: how far the pitch-class
  profile is on the way from the map's minor profile (-1) to its major one (1) on the same tonic.

The map was fitted on 44 labelled phrases. Its clusters tell people's valence no better than chance and
arousal a little better (``emotion_map.json`` has the figures), so take a single piece's estimate as a hint.

Letters: **n** notes, **W** windows, **D** features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from emoray.emotion import Evidence
from emoray.notes import Floats, Notes
from emoray.piece import Piece
from emoray.readers.seed import read_seed
from emoray.storage import StoragePath, read_file

if TYPE_CHECKING:
    from emoray.dataset.clusters import EmotionClusters
    from emoray.readers.face import FaceReader

Source = str | Path | StoragePath | bytes
"""A file: where it is, or its bytes."""
LOOKAHEAD = 64
"""Notes over which attributes are measured, as when the map was fitted."""
TONICS = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
"""How files of pictures begin; WebP is a RIFF file and says so later."""


@dataclass(frozen=True, kw_only=True)
class EmotionEstimate:
    """The emotion of a piece of music or of a face in a picture."""

    kind: Literal["music", "picture"]
    valence: float | None
    """-1 sad to 1 happy; None of a picture that shows no readable face."""
    arousal: float | None
    """-1 calm to 1 excited; None of a picture: no face model tells it."""
    confidence: float | None
    """abs(p(happy) - p(sad)), 0 to 1: of a picture by the face model, of music by valence's posterior."""
    cluster: str | None
    """``happy`` or ``sad``, the nearer emotion cluster; None of a picture."""
    key: str | None
    """The key, such as ``A minor``; None of a picture."""
    evidence: dict[str, Any]
    """What the numbers rest on: see ``MUSIC_EVIDENCE``; of a picture, fields of ``Evidence``."""


MUSIC_EVIDENCE = {
    "notes": "how many notes the piece has",
    "emotion_score": "mean of the original system's emotion score for happy over windows, 0 to 1",
    "happy_windows": "share of the windows that lie nearer to the happy cluster",
    "key_correlation": "correlation of the pitch-class profile with the key's template",
    "mode": "-1: the profile is the map's in minor, 1: it is the map's in major, on the same tonic",
    "onset_rate": "notes a second",
    "duration": "geometric mean of the durations, seconds",
    "pitch": "mean pitch, MIDI number",
    "velocity": "mean velocity; it counts for arousal only if the velocities differ",
    "valence_deviation": "standard deviation of the posterior of valence",
    "arousal_deviation": "standard deviation of the posterior of arousal",
}
"""The names in the evidence of music, and what each number is."""


def read_notes(source: Source, *, sounding: bool = False) -> Notes:
    """The notes of a MIDI file, or the melody or polyphony that is heard in a recording.

    Args:
        source: a path, a URI or the bytes of a MIDI file or of a recording (WAV, FLAC, OGG, MP3).
        sounding: whether durations of a MIDI file last as long as the sustain pedal holds the sound, as the
            shipped network reads them; otherwise they end when the key is released.

    Returns:
        [n] of dtype ``NOTE``, n >= 1: onset and duration in seconds, pitch and velocity as MIDI numbers.

    Raises:
        ConfigError: the file cannot be read.
        RequestError, MidiError, AudioError: it is empty, or holds no music.

    >>> from emoray.demo.pieces import pieces
    >>> from emoray.writers.midi import midi_bytes
    >>> notes = read_notes(midi_bytes(pieces()[0].notes))
    >>> notes.dtype.names
    ('onset', 'duration', 'pitch', 'velocity')
    """
    return read_seed(content(source), subject=name_of(source, "music"), sounding=sounding)


def read_emotion(picture: Source, *, faces: str | FaceReader = "auto") -> Evidence:
    """What a picture of a face shows.

    Args:
        picture: a path, a URI or the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF.
        faces: the face model: ``auto``, ``deepface`` or ``fer-mini``, or a reader that has been loaded.

    Returns:
        The evidence. A picture without a readable face is no error: the ``status`` and ``reason`` say so.

    Raises:
        ConfigError: the file cannot be read, or there is no such face model.
        WeightsError: the face model's weights are missing.

    >>> read_emotion(b"no picture", faces="fer-mini").status
    'decode_error'
    """
    reader = face_reader(faces) if isinstance(faces, str) else faces
    [evidence] = reader.read([content(picture)])
    return evidence


def emotion_of(
    source: Source | Notes | Piece,
    *,
    clusters: EmotionClusters | None = None,
    faces: str | FaceReader = "auto",
) -> EmotionEstimate:
    """The emotion of music, or of the face in a picture.

    Args:
        source: a note array, a piece, or a path, URI or bytes of a MIDI file, a recording or a picture.
        clusters: the emotion clusters to use; None is those that ship with emoray.
        faces: the face model for a picture, as of ``read_emotion``.

    Raises:
        ConfigError: the file cannot be read.
        RequestError, MidiError, AudioError: it holds neither music nor a picture.

    >>> import numpy as np
    >>> from emoray.notes import as_notes
    >>> chords = [60, 64, 67, 72, 65, 69, 72, 77, 67, 71, 74, 79, 60, 64, 67, 72]
    >>> merry = emotion_of(as_notes(np.arange(16) / 6, [0.1] * 16, chords, [90] * 16))
    >>> merry.key, merry.cluster, merry.valence > 0
    ('C major', 'happy', True)
    """
    if isinstance(source, Piece):
        return _of_music(source.notes, source.notes, clusters)
    if isinstance(source, np.ndarray):
        return _of_music(source, source, clusters)
    data = content(source)
    if is_picture(data):
        return _of_picture(read_emotion(data, faces=faces))
    subject = name_of(source, "music")
    key_down = read_seed(data, subject=subject)
    midi = data[:4] == b"MThd" or data[8:12] == b"RMID"
    sounding = read_seed(data, subject=subject, sounding=True) if midi else key_down
    return _of_music(key_down, sounding, clusters)


@cache
def face_reader(faces: str) -> FaceReader:
    """A reader, which is loaded once in a process."""
    from emoray.readers.face import FaceReader

    return FaceReader(faces)


def content(source: Source) -> bytes:
    """The bytes of a file.

    Raises:
        ConfigError, BatchError: it cannot be read.
    """
    return source if isinstance(source, bytes) else read_file(source)


def name_of(source: Source, otherwise: str) -> str:
    """What an error calls a file."""
    return otherwise if isinstance(source, bytes) else str(source)


def is_picture(data: bytes) -> bool:
    """Whether a file's first bytes are those of a picture that can be read.

    >>> is_picture(b"GIF89a"), is_picture(b"MThd")
    (True, False)
    """
    return data.startswith(PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _of_picture(evidence: Evidence) -> EmotionEstimate:
    return EmotionEstimate(
        kind="picture",
        valence=evidence.valence,
        arousal=None,
        confidence=evidence.confidence,
        cluster=None,
        key=None,
        evidence={
            name: getattr(evidence, name)
            for name in ("status", "label", "faces", "probabilities", "backend", "reason")
        },
    )


def _of_music(key_down: Notes, sounding: Notes, clusters: EmotionClusters | None) -> EmotionEstimate:
    """The estimate; the map is fitted on sounding durations, clusters say which ones they are fitted on."""
    from emoray.compose.original_formulas import emotion_score
    from emoray.dataset.clusters import EmotionClusters, window_features
    from emoray.dataset.keys import agreements, pitch_classes
    from emoray.model.preset import PRETRAINED_DEFAULT

    clusters = clusters or EmotionClusters.load(PRETRAINED_DEFAULT / "emotion.json")
    notes = sounding if clusters.durations == "sounding" else key_down
    distances = clusters.distances(window_features(notes, clusters.window))  # [W, 2]
    scores = emotion_score(distances[:, clusters.happy], distances[:, 1 - clusters.happy])
    profile = pitch_classes(key_down["pitch"])
    by_key = agreements(profile)
    key = int(by_key.argmax())
    mode = _mode(profile, key % 12)
    mean, deviation = _posterior(mode, sounding)
    return EmotionEstimate(
        kind="music",
        valence=float(np.clip(mean[0], -1, 1)),
        arousal=float(np.clip(mean[1], -1, 1)),
        confidence=math.erf(abs(mean[0]) / deviation[0] / math.sqrt(2)),
        cluster="happy" if scores.mean() > 0.5 else "sad",
        key=f"{TONICS[key % 12]} {'major' if key < 12 else 'minor'}",
        evidence={
            "notes": len(key_down),
            "emotion_score": float(scores.mean()),
            "happy_windows": float((scores > 0.5).mean()),
            "key_correlation": float(by_key[key]),
            "mode": mode,
            "onset_rate": len(key_down) / max(float(np.ptp(key_down["onset"])), 0.05),
            "duration": float(np.exp(np.log(np.maximum(sounding["duration"], 0.01)).mean())),
            "pitch": float(key_down["pitch"].mean()),
            "velocity": float(key_down["velocity"].mean()),
            "valence_deviation": float(deviation[0]),
            "arousal_deviation": float(deviation[1]),
        },
    )


def _mode(profile: Floats, tonic: int) -> float:
    """How far a pitch-class profile [12] is from the map's minor profile (-1) to its major one (1)."""
    from emoray.compose.conditions import fitted_map, key_profile

    major, minor = key_profile(tonic, fitted_map()), key_profile(tonic + 12, fitted_map())
    way = major - minor
    return float(np.clip(2 * (profile - minor) @ way / (way @ way) - 1, -1, 1))


def _posterior(mode: float, sounding: Notes) -> tuple[Floats, Floats]:
    """Mean [2] and standard deviation [2] of valence and arousal, given the mode and the attributes."""
    from emoray.compose.conditions import fitted_map
    from emoray.dataset.attributes import GROUPS, attributes_ahead

    emotion_map = fitted_map()
    ahead = attributes_ahead(sounding, LOOKAHEAD)
    attributes = ahead[: max(1, len(sounding) - LOOKAHEAD // 2) : 8].mean(axis=0)
    seen = [name for name in GROUPS if name != "profile"]
    if np.ptp(sounding["velocity"]) == 0:  # a score, not a performance: it does not say how loud it is
        seen.remove("velocity")
    observed = np.array([mode, *(float(attributes[GROUPS[name]][0]) for name in seen)])
    slopes = np.array(  # [observations, 2]
        [
            (1.0, 0.0),
            *((emotion_map.valence.get(name, 0.0), emotion_map.arousal.get(name, 0.0)) for name in seen),
        ]
    )
    covariance = np.linalg.inv(slopes.T @ slopes + np.eye(2))
    return covariance @ slopes.T @ observed, np.sqrt(np.diag(covariance))
