"""Scores: the embedded pieces in the compact text in which they were written down, as note arrays.

The text
--------
A head of ``name: value`` lines, then sections. A section starts with its name in brackets; its lines give
bars to a voice, ``right``, ``left`` or ``middle``. ``|`` divides bars; every bar must be exactly as long as
the meter says, and the voices of a section must have equally many. ``form`` lists the sections as played.

    tempo: 120              quarter notes a minute
    meter: 3/4
    form: A A B             default: each section once, in order

    [A]
    right: D5/q G4/e A4 B4 C5 | D5/q G4 G4        two bars
    left: G3+B3+D4/h A3/q | B3/h.                  a chord, then a dotted half note

A note is a pitch (``C4`` is middle C, ``#`` and ``b`` behind the letter); ``+`` makes a chord, ``r`` is a
rest and ``-`` holds on what sounded before. ``/`` gives a length: ``w h q e s`` from whole to sixteenth,
``t`` a third of a quarter, a dot for half as much again, or a number of quarters; without it the last one of
the voice in the section goes on (a quarter at its start). ``*4`` plays it four times.

The notes
---------
Played with a plain musician's touch and no chance in it: the first beat is stressed, the melody is louder
than what goes with it, and each four bars swell and fade. Of a unison the longer note stays.
Silence before the first note is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import numpy as np

from emoray.errors import CorpusError
from emoray.notes import Notes, as_notes, starting_at

LENGTHS = {
    name: Fraction(*n) for name, n in zip("whqest", [(4,), (2,), (1,), (1, 2), (1, 4), (1, 3)], strict=True)
}
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
VOICES = {"right": 8, "middle": -8, "left": -6}
"""Each voice and how much louder than the touch it is played."""
TOUCH = {"excited": 76, "calm": 54}
HELD = {"excited": 0.88, "calm": 0.98}
"""Share of its written length that a note sounds."""
HEAD = ("title", "composer", "year", "emotion", "arousal", "split", "tempo", "meter")
_TOKEN = re.compile(r"(?P<what>[^/*]+)(/(?P<length>[^*]+))?(\*(?P<times>\d+))?")
_PITCH = re.compile(r"([A-G])([#b]?)(-?\d)")


@dataclass(frozen=True, kw_only=True)
class DemoPiece:
    """A piece of music and what is known of it."""

    name: str
    title: str
    composer: str
    year: int
    valence: int
    """+1 happy, -1 sad."""
    arousal: int
    """+1 excited, -1 calm."""
    split: str
    notes: Notes
    melody: Notes
    """The notes of the right hand alone."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One note or chord on paper: pitches, place and length in quarters, and its voice."""

    voice: str
    pitches: tuple[int, ...]
    start: Fraction
    length: Fraction


def read_score(text: str, *, name: str) -> DemoPiece:
    """A piece from its text.

    Raises:
        CorpusError: the text breaks a rule; the reason names the section and the bar.
    """
    head, _, body = text.partition("\n[")
    fields = dict(re.findall(r"^(\w+): *(.*?)\s*$", head, flags=re.M))
    if missing := [key for key in HEAD if key not in fields]:
        raise CorpusError(name, f"has no line {missing[0]!r} in its head; write one")
    beats, unit = map(int, fields["meter"].split("/"))
    bar = Fraction(4 * beats, unit)
    sections = {key: _section(lines, bar, f"{name} [{key}]") for key, lines in _sections("[" + body)}
    written, start = [], Fraction(0)
    for key in fields.get("form", " ".join(sections)).split():
        if key not in sections:
            raise CorpusError(name, f"its form names section {key!r}, which is not there")
        length, notes = sections[key]
        written += [replace(note, start=note.start + start) for note in notes]
        start += length
    play = {"bar": bar, "tempo": float(fields["tempo"]), "manner": fields["arousal"], "name": name}
    return DemoPiece(
        name=name,
        title=fields["title"],
        composer=fields["composer"],
        year=int(fields["year"]),
        valence=1 if fields["emotion"] == "happy" else -1,
        arousal=1 if fields["arousal"] == "excited" else -1,
        split=fields["split"],
        notes=_played(written, **play),
        melody=_played([note for note in written if note.voice == "right"], **play),
    )


def _sections(body: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for key, lines in re.findall(r"^\[(\w+)\]$([^\[]*)", body, flags=re.M):
        yield key, re.findall(r"^(\w+): *(.*?)\s*$", lines, flags=re.M)


def _section(lines: list[tuple[str, str]], bar: Fraction, subject: str) -> tuple[Fraction, list[Written]]:
    """(length in quarters, notes) of a section."""
    bars: dict[str, list[str]] = {}
    for voice, line in lines:
        bars.setdefault(voice, []).extend(line.split("|"))
    if unknown := bars.keys() - VOICES.keys():
        raise CorpusError(subject, f"unknown voice {unknown.pop()!r}; known are {', '.join(VOICES)}")
    if len({len(voice) for voice in bars.values()}) != 1:
        counts = ", ".join(f"{voice} {len(of_voice)}" for voice, of_voice in bars.items())
        raise CorpusError(subject, f"its voices have different numbers of bars: {counts}")
    found = [_voice(voice, of_voice, bar, subject) for voice, of_voice in bars.items()]
    return bar * len(next(iter(bars.values()))), list(chain.from_iterable(found))


def _voice(voice: str, bars: list[str], bar: Fraction, subject: str) -> list[Written]:
    found: list[Written] = []
    now, length = Fraction(0), Fraction(1)
    for number, tokens in enumerate(bars):
        where = f"{subject} {voice}, bar {number + 1}"
        for token in tokens.split():
            parts = _TOKEN.fullmatch(token)
            if not parts:
                raise CorpusError(where, f"cannot read {token!r}")
            length = _length(parts["length"], where) if parts["length"] else length
            for _ in range(int(parts["times"] or 1)):
                if parts["what"] == "-" and found:
                    found[-1] = replace(found[-1], length=found[-1].length + length)
                elif parts["what"] != "r":
                    pitches = tuple(_pitch(pitch, where) for pitch in parts["what"].split("+"))
                    found.append(Written(voice=voice, pitches=pitches, start=now, length=length))
                now += length
        if now != bar * (number + 1):
            raise CorpusError(
                where, f"lasts {float(now - bar * number):g} quarters instead of {float(bar):g}"
            )
    return found


def _length(text: str, where: str) -> Fraction:
    plain = text.rstrip(".")
    try:
        length = LENGTHS[plain] if plain in LENGTHS else Fraction(text)
    except ValueError as err:
        raise CorpusError(where, f"cannot read the length {text!r}") from err
    return length * (Fraction(3, 2) if plain in LENGTHS and text.endswith(".") else 1)


def _pitch(text: str, where: str) -> int:
    """A MIDI number: ``_pitch("C4", "")`` is 60."""
    parts = _PITCH.fullmatch(text)
    if not parts:
        raise CorpusError(where, f"cannot read the note {text!r}")
    letter, sign, octave = parts.groups()
    return 12 * (int(octave) + 1) + SEMITONES[letter] + {"#": 1, "b": -1, "": 0}[sign]


def _played(written: list[Written], *, bar: Fraction, tempo: float, manner: str, name: str) -> Notes:
    """Paper to sound: seconds, velocities, and one note where two voices meet on a key."""
    quarter = 60 / tempo
    keys: dict[tuple[Fraction, int], tuple[float, int]] = {}
    for note in written:
        velocity = TOUCH[manner] + VOICES[note.voice] + _stress(note.start, bar)
        sound = (float(note.length) * quarter * HELD[manner], velocity)
        for pitch in note.pitches:
            keys[note.start, pitch] = max(sound, keys.get((note.start, pitch), sound))
    rows = [(float(start) * quarter, length, pitch, loud) for (start, pitch), (length, loud) in keys.items()]
    return starting_at(as_notes(*np.array(rows, dtype=float).reshape(-1, 4).T, subject=name), 0.0)


def _stress(start: Fraction, bar: Fraction) -> int:
    """How much louder a place in the bar is, and a swell over four bars."""
    place = start % bar
    beat = 6 if place == 0 else 2 if place == bar / 2 else 0 if place.denominator == 1 else -4
    return beat + round(5 * math.sin(math.pi * float(start % (4 * bar) / (4 * bar))))
