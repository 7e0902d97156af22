"""The copy of a recording: what is muted on it is where it was heard."""

from __future__ import annotations

import io
import math
import wave
from array import array

import av
import pytest

from callkeeper.errors import CallkeeperError
from callkeeper.media import copying
from callkeeper.tickets import Mute

RATE = 8000


def flac(seconds: int = 10) -> bytes:
    """A tone without a pause."""
    file = io.BytesIO()
    samples = array("h", (round(8000 * math.cos(i * 440 * math.tau / RATE)) for i in range(seconds * RATE)))
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def copied(file: bytes, **more: object) -> array[int]:
    target, samples = io.BytesIO(), array("h")
    copying.decode(io.BytesIO(file), "flac", target, **more)
    target.seek(0)
    with wave.open(target) as heard:
        samples.frombytes(heard.readframes(heard.getnframes()))
    return samples


def sounds(samples: array[int], from_ms: int, to_ms: int) -> bool:
    return any(samples[from_ms * RATE // 1000 : to_ms * RATE // 1000])


@pytest.fixture
def damaged() -> bytes:
    """A second is lost between the third and the sixth, and players jump over it by the file's clock."""
    file = bytearray(flac())
    middle, tenth = len(file) // 2, len(file) // 10
    file[middle : middle + tenth] = bytes(tenth)
    return bytes(file)


def test_a_mute_falls_where_a_player_plays_it_though_the_file_is_damaged_before_it(damaged):
    samples = copied(damaged, mutes=[Mute(from_ms=7000, to_ms=8000, reason="other_person")])

    assert len(samples) == 10 * RATE
    assert not sounds(samples, 7000, 8000)
    assert all(sounds(samples, ms, ms + 10) for ms in (0, 3000, 6900, 8010, 9900))


def test_sound_that_has_no_time_in_the_file_is_left_out_where_something_is_muted(damaged):
    whole = copied(damaged)
    cut = copied(damaged, mutes=[Mute(from_ms=9000, to_ms=9001, reason="other_person")])

    with av.open(io.BytesIO(damaged)) as file:
        nowhere = sum(f.samples for p in file.demux(audio=0) for f in p.decode() if f.pts is None)
    assert nowhere
    assert len(whole) == len(cut) == 10 * RATE
    assert sum(1 for a, b in zip(whole, cut, strict=True) if a and not b) >= nowhere * 0.9


def test_pieces_of_a_damaged_recording_are_the_whole_of_it(damaged):
    pieces = [copied(damaged, from_ms=ms, to_ms=ms + 2500 if ms < 7500 else None) for ms in range(0, 10_000, 2500)]

    assert [len(piece) for piece in pieces] == [2500 * RATE // 1000] * 4
    assert sum(pieces, array("h")) == copied(damaged)


def test_a_file_that_claims_to_go_on_hours_later_is_refused_before_its_silence_is_written(damaged, monkeypatch):
    monkeypatch.setattr(copying, "_LOST_AT_MOST_S", 1)

    with pytest.raises(CallkeeperError, match="missing in its middle"):
        copied(damaged)
