"""The steps of a worker, measured for real at a small size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from emoray.model.preset import PRETRAINED
from emoray.planning import measurement
from emoray.planning.measurement import Setting, embedded_samples, measured


@pytest.fixture
def costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, small in {"FEW": 2, "MANY": 4, "FEW_NOTES": 1, "MORE_NOTES": 3}.items():
        monkeypatch.setattr(measurement, name, small)
    samples = embedded_samples(voices=False, pictures=True)
    return measured(
        Setting(
            samples=samples, checkpoint=PRETRAINED / "baseline", guidance=None, faces="auto", folder=tmp_path
        )
    )


def test_every_step_that_was_tried_has_a_cost_and_no_other(costs, tmp_path):
    figures = {name: value for name, value in dataclasses.asdict(costs).items() if name != "intake"}
    assert figures.pop("voice") == {"first": 0.0, "each": 0.0}
    assert all(value > 0 for value in figures.values() if isinstance(value, float))
    assert costs.midi.each > 0
    assert costs.picture.each > 0
    assert costs.few.prefill + costs.few.note > 0
    assert 0 < costs.share <= 1
    assert not list(tmp_path.iterdir()), "what was committed to time the storage is removed"


def test_a_damaged_sample_does_not_end_the_plan(monkeypatch, tmp_path):
    for name, small in {"FEW": 2, "MANY": 4, "FEW_NOTES": 1, "MORE_NOTES": 3}.items():
        monkeypatch.setattr(measurement, name, small)
    good = embedded_samples(voices=False, pictures=False).midi
    for midi in ((b"MThd and no more", good[0]), (b"text",)):
        samples = measurement.Samples(midi=midi, voice=(b"RIFF and no more",))
        setting = Setting(
            samples=samples, checkpoint=PRETRAINED / "baseline", guidance=None, faces="auto", folder=tmp_path
        )
        costs = measured(setting)
        assert costs.midi.each > 0
        assert costs.voice.each > 0
        assert costs.seed_notes > 1
