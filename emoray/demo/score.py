"""Scores: piano pieces written down as text, one line a few bars, and turned into note arrays.

The format
----------
Header lines come first, then sections. ``#`` after a space, or at the start of a line, opens a comment.

    title: Frere Jacques
    composer: Traditional (France)
    year: 1780                      # of composition or first print
    emotion: happy                  # or sad
    tempo: 132                      # quarter notes a minute, whatever the metre
    metre: 4/4
    key: F major
    loudness: 76                    # middle MIDI velocity; optional
    form: A A B                     # sections in the order they are played; optional, default as written

    section: A
    right: F4q G4 A4 F4   | %                # % plays the bar before once more
    left:  F3h     C3     | F2+F3w

- A **note** is a name, an octave (C4 is middle C) and a length: ``w h q e s`` are whole, half, quarter, eighth
  and sixteenth; ``.`` makes it half as long again and ``3`` makes it a third of a triplet. A note without
  a length has that of the note before it in its line.
- ``C4+E4+G4q`` is a chord, ``rq`` a rest, ``C4h~ C4q`` a tie (the second note is not struck).
- ``|`` ends a bar and every bar must be full: an upbeat is written with rests before it. Bar lines are the
  check, so a missing note is found where it is missing. A bar line at the end of a line may be left out.
- The voices are ``right`` and ``left``, and ``right2`` and ``left2`` where a hand holds two lines. Lines of one voice
  follow each other; all voices of a section are equally long.

Units: positions and lengths are exact fractions of a quarter note until they become seconds. Silence before
the first note is dropped. Loudness follows the bar (first beat, beats, the rest), swells over four bars and
favours the top of a chord in the right hand: the same text is always the same notes.
"""
