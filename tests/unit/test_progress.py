import io

from emoray.progress import Meter


def test_without_a_terminal_progress_is_plain_lines_with_an_eta():
    log = io.StringIO()
    with Meter("train", 4, "epochs", stream=log) as meter:
        meter.advance(1, "loss 0.5")
        meter.advance(3)
    first, last = log.getvalue().splitlines()
    assert first.startswith("train: 1 of 4 epochs (25 %) in 0 s, ")
    assert first.endswith(" s left, loss 0.5")
    assert last == "train: 4 of 4 epochs (100 %) in 0 s"


def test_work_that_never_began_prints_nothing():
    log = io.StringIO()
    with Meter("train", 4, "epochs", stream=log):
        pass
    assert log.getvalue() == ""


def test_an_eta_is_never_later_than_the_work_may_last():
    log = io.StringIO()
    with Meter("train", 1_000_000, "epochs", at_most=7.0, stream=log) as meter:
        meter.started -= 5
        meter.advance(1, "loss 0.5")
    assert "2 s left" in log.getvalue()


def test_what_was_done_before_does_not_make_the_rest_look_fast():
    log = io.StringIO()
    with Meter("train", 10, "epochs", before=6, stream=log) as meter:
        meter.started -= 20
        meter.advance(2, "loss 0.5")
    assert log.getvalue() == "train: 8 of 10 epochs (80 %) in 20 s, 20 s left, loss 0.5\n"
