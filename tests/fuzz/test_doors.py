"""Every door, with good input and with what a fuzzer or its writer found: each broke a promise once."""

import pytest
from doors import DOORS

ON_OFF = b"\0\x90\x3c\x40\x60\x80\x3c\0"
SEED = b'--B\r\nContent-Disposition: form-data; name="seed"; filename="a"\r\n\r\nMThd\r\n'


def post(head: bytes, body: bytes) -> bytes:
    return b"POST /v1/generate\r\nContent-Type: multipart/form-data; boundary=B" + head + b"\r\n\r\n" + body


def mp3_that_lies() -> bytes:
    """Four frames of silence and a Xing header of 2**31 frames: soundfile seeks past the end, then reads."""
    data = bytearray(724)
    for place, part in ((0, "ffe348c4"), (13, "58696e67 0000000f 00000080"), (288, "ffe358c4"),
                        (648, "ffe318c4"), (720, "fffb5900")):  # fmt: skip
        data[place : place + len(bytes.fromhex(part))] = bytes.fromhex(part)
    return bytes(data)


FINDINGS = {
    "a recording whose header promises far more than there is": ("audio", mp3_that_lies()),
    "a beat without ticks": ("tracks", b"\0\0" + ON_OFF),
    "a note after three days, which no MIDI file holds": ("tracks", b"\0\1\xff\xff\xff\x7f" + ON_OFF[1:]),
    "a length of more digits than Python reads": ("http", post(b"\r\nContent-Length: " + b"9" * 5_000, b"")),
    "a field whose name is half a surrogate pair": (
        "http",
        post(b"; charset=utf-7", SEED + SEED.replace(b'"seed"; filename="a"', b'"+2AA-"') + b"--B--"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.filterwarnings("error")
def test_what_was_found_is_refused_in_our_own_words(finding):
    door, data = FINDINGS[finding]
    assert DOORS[door].enter(data) is False


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_its_own_seeds_and_survives_them_cut_and_with_a_flipped_byte(door):
    taken = []
    for seed in DOORS[door].seeds():
        taken.append(DOORS[door].enter(seed))
        place = len(seed) * 2 // 3
        for damaged in (
            seed[: len(seed) // 2],
            seed[:place] + bytes([seed[place] ^ 0x55]) + seed[place + 1 :],
        ):
            assert DOORS[door].enter(damaged) in (True, False), "no exception but our own"
    assert any(taken)


def test_a_broken_promise_is_noticed(monkeypatch):
    """An exception that is not ours leaves the door, so the fuzzer stops there."""
    import doors

    monkeypatch.setattr(doors, "read_performance", lambda _: (_ for _ in ()).throw(KeyError("bug")))
    with pytest.raises(KeyError):
        DOORS["midi"].enter(b"MThd")
