"""The command line as a user meets it: one line for each mistake, and the exit code to script by."""

import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from emoray.batch.folder import ENGINES
from emoray.cli import main
from emoray.cli.batch import Engine
from emoray.cli.learning import Preset
from emoray.config import GUIDANCE_MODES, PRESETS
from emoray.emotion import EMOTION_WORDS
from emoray.notes import as_notes
from emoray.readers.midi import read_midi
from emoray.request import GuidanceName
from emoray.writers.midi import midi_bytes

TUNE = as_notes(np.arange(40) * 0.25, [0.2] * 40, 60 + np.arange(40) % 12, [80] * 40)


@pytest.fixture
def emoray(monkeypatch, capsys):
    """Run a command line; (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["emoray", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def seed(tmp_path):
    (tmp_path / "seed.mid").write_bytes(midi_bytes(TUNE))
    return tmp_path / "seed.mid"


def test_choices_on_the_command_line_are_those_of_the_package():
    assert (get_args(GuidanceName), get_args(Preset), get_args(Engine)) == (GUIDANCE_MODES, PRESETS, ENGINES)


def test_music_begins_with_the_seed_and_goes_on_with_what_was_composed(emoray, seed, tmp_path):
    code, out, err = emoray(
        "generate", "--seed", seed, "--emotion", "happy", "--notes", 12, "--out", tmp_path / "a.mid"
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'a.mid'}: 40 seed notes, 12 composed, happy, random seed ")
    notes = read_midi((tmp_path / "a.mid").read_bytes())
    assert notes["pitch"][:40].tolist() == TUNE["pitch"].tolist()
    assert len(notes) == 52


def test_the_seed_can_be_left_out_and_sound_and_picture_made(emoray, seed, tmp_path):
    options = ["--emotion", -0.5, "--notes", 9, "--without-seed", "--wav", "--png"]
    code, out, _ = emoray("generate", "--seed", seed, *options, "--out", tmp_path / "b.mid")
    assert (code, "0 seed notes, 9 composed, sad" in out) == (0, True)
    assert len(read_midi((tmp_path / "b.mid").read_bytes())) == 9
    assert (tmp_path / "b.wav").read_bytes().startswith(b"RIFF")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_is_taken_from_a_file_and_needs_no_emotion(emoray, seed, tmp_path):
    (tmp_path / "curve.json").write_text("[[0, 1], [3, -1]]")
    options = ["--curve", f"@{tmp_path / 'curve.json'}", "--notes", 12, "--random-seed", 3]
    code, out, _ = emoray("generate", "--seed", seed, *options, "--out", tmp_path / "c.mid")
    assert (code, out.strip()) == (
        0,
        f"{tmp_path / 'c.mid'}: 40 seed notes, 12 composed, happy, random seed 3",
    )


def test_the_same_command_writes_the_same_bytes(emoray, seed, tmp_path):
    for name in ("one", "two"):
        emoray(
            "generate",
            "--seed",
            seed,
            "--emotion",
            "sad",
            "--random-seed",
            7,
            "--out",
            tmp_path / f"{name}.mid",
        )
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--emotion", "joyful"],
            f"emotion: 'joyful' is not an emotion; write {', '.join(EMOTION_WORDS)} or a number from -1 to 1",
        ),
        (["--curve", "[[9, 1], [0, 1]]"], "curve: goes from 9 to 0 seconds; put its points in order"),
        (["--curve", "@none.json"], "none.json: cannot be read (No such file or directory); check the path"),
        (["--emotion", "happy", "--arousal", 2], "arousal: must be a number from -1 to 1, got 2"),
        (["--emotion", "happy", "--notes", 0], "notes: must be a whole number from 1 to 20000, got 0"),
        (["--emotion", "happy", "--strength", "nan"], "strength: must be a number from 0 to 10, got nan"),
        ([], "emotion: is missing, and so is an image; give one of them"),
        (["--image", "none.jpg"], "none.jpg: cannot be read (No such file or directory); check the path"),
        (["--emotion", "sad", "--checkpoint", "none"], "none: is not a checkpoint (no config.json)"),
    ],
)
def test_each_mistake_is_one_line_and_exit_code_2(emoray, seed, tmp_path, options, message):
    code, out, err = emoray("generate", "--seed", seed, "--out", tmp_path / "c.mid", *options)
    assert (code, out) == (2, "")
    assert err.startswith("emoray: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "c.mid").exists()


def test_a_picture_without_a_face_is_an_error_unless_there_is_a_fallback(emoray, seed, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    picture = [
        "--seed",
        seed,
        "--image",
        tmp_path / "grey.png",
        "--out",
        tmp_path / "d.mid",
        "--faces",
        "fer-mini",
    ]
    code, _, err = emoray("generate", *picture)
    assert (code, "or give an emotion as a fallback" in err) == (2, True)
    code, out, _ = emoray("generate", *picture, "--emotion", "sad")
    assert (code, "sad (fer-mini" in out) == (0, True)


def test_an_unknown_guidance_is_refused_with_the_known_ones(emoray, seed, tmp_path):
    code, _, err = emoray(
        "generate", "--seed", seed, "--emotion", "sad", "--guidance", "magic", "--out", tmp_path / "e.mid"
    )
    assert code == 2
    assert all(mode in err for mode in GUIDANCE_MODES)


def test_render_needs_something_to_render_and_a_readable_file(emoray, seed, tmp_path):
    assert emoray("render", seed)[0] == 2
    (tmp_path / "text.mid").write_text("no music")
    code, _, err = emoray("render", tmp_path / "text.mid", "--png", tmp_path / "x.png")
    assert (code, "is not a MIDI file" in err) == (2, True)
    code, out, _ = emoray("render", seed, "--png", tmp_path / "x.png", "--seed-notes", 10)
    assert (code, out.strip()) == (0, str(tmp_path / "x.png"))


def test_a_folder_that_cannot_be_written_is_named(emoray, seed, tmp_path):
    code, _, err = emoray("generate", "--seed", seed, "--emotion", "sad", "--out", seed / "under" / "f.mid")
    assert (code, "cannot be written" in err) == (2, True)


def test_batch_commands_refuse_what_is_no_batch_folder(emoray, tmp_path):
    for command in ("status", "results", "verify"):
        code, _, err = emoray("batch", command, tmp_path)
        assert code == 2
        assert str(tmp_path) in err


def test_doctor_finds_everything_that_is_needed(emoray):
    code, out, _ = emoray("doctor")
    assert "MISSING" not in out
    assert code == 0
    assert all(name in out for name in ("python", "torch", "ray", "pretrained checkpoint", "face detector"))


def test_a_bug_keeps_its_traceback():
    code = (
        "import sys, emoray.cli as cli, emoray.doctor as doctor\n"
        "doctor.examine = lambda: 1 / 0\n"
        "sys.argv = ['emoray', 'doctor']\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
