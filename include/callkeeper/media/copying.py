"""A copy of a recording's audio that any browser plays; on it, and never on the original, time is muted or a channel left out.

What browsers play goes through as it is, byte by byte. The rest is decoded to PCM16 in WAV: nothing of its sound is lost.
"""

from __future__ import annotations

import io
import math
import wave
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import av
import av.logging

from callkeeper.errors import CallkeeperError
from callkeeper.media import probe
from callkeeper.tickets import Mute

CHUNK_BYTES = 1 << 20

_HEAD_BYTES = 4096
_LOST_AT_MOST_S = 3600
"""A file that claims to go on later than this lies about its times: the silence would fill the disk."""
_AS_IT_IS = {
    ("wav", "pcm_s16le"): ("audio/wav", "wav"),
    ("wav", "pcm_u8"): ("audio/wav", "wav"),
    ("mp3", "mp3"): ("audio/mpeg", "mp3"),
    ("flac", "flac"): ("audio/flac", "flac"),
    ("mov", "aac"): ("audio/mp4", "m4a"),
    ("ogg", "opus"): ("audio/ogg", "ogg"),
    ("ogg", "vorbis"): ("audio/ogg", "ogg"),
    ("matroska", "opus"): ("audio/webm", "webm"),
}
"""(container, codec) that Chromium, Firefox and Safari play, with media type and ending (docs/adr/0222)."""
WAV = ("audio/wav", "wav")


def played_as(head: bytes, codec: str | None) -> tuple[str, str, bool]:
    """Media type and ending of the copy, and whether it is the original's own bytes. ``head``: the file's first bytes."""
    container = _container(head, codec)
    found = _AS_IT_IS.get((container, codec or ""))
    return (*found, True) if found else (*WAV, False)


def bytes_at_most(*, size_bytes: int, codec: str, audio_ms: int, rate_hz: int, channels: int, cut: bool) -> int:
    """How large a copy can get, by what the catalogue knows of a recording. ``cut``: something is left out on it."""
    if not cut and codec in {known for _, known in _AS_IT_IS}:
        return size_bytes
    return 44 + (audio_ms // 1000 + 2) * rate_hz * channels * 2


def decoded_bytes(head: bytes, codec: str | None, size_bytes: int | None) -> int | None:
    """How large the whole recording is as WAV, where its size alone says it: A-law or µ-law without a header; else None."""
    raw = size_bytes is not None and _container(head, codec) in ("alaw", "mulaw")
    return 44 + 2 * size_bytes if raw and size_bytes is not None else None


def decode(
    body: BinaryIO,
    codec: str | None,
    target: BinaryIO,
    *,
    mutes: Sequence[Mute] = (),
    channel: int | None = None,
    from_ms: int = 0,
    to_ms: int | None = None,
) -> None:
    """Writes the recording, from a time to before another, as PCM16 in WAV, silent where it is muted; only that channel, if one is named.

    The copy keeps the file's own clock, as players do: what is lost of the file is silence in it, so that a mute is where it was
    heard. Where something is muted, sound whose time nobody knows is left out. Both files are seekable; nothing but sound is taken
    over: a file's tags may hold names. Raises CallkeeperError.
    """
    body.seek(0)
    head = body.read(_HEAD_BYTES)
    container = _container(head, codec)
    av.logging.set_level(None)  # FFmpeg would speak on stderr, which is a log
    try:
        with probe.opened(body, container) as file:
            stream = file.streams.audio[0]
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
            if channel is not None and channel >= channels:
                raise CallkeeperError("The recording has no such channel.", mend="Look at it again.")
            width = channels if channel is None else 1
            tick = math.ceil(stream.time_base * rate)
            first, last = from_ms * rate // 1000, None if to_ms is None else to_ms * rate // 1000
            with wave.open(target, "wb") as out:
                out.setparams((width, 2, rate, 0, "NONE", ""))
                at = 0
                for begins, samples in _samples(file, stream):
                    if begins is None and mutes:
                        continue
                    if begins is not None and begins - at > _LOST_AT_MOST_S * rate:
                        raise CallkeeperError(
                            "More than an hour of a recording's audio is missing in its middle.",
                            mend="Leave it out, or give it by hand.",
                        )
                    # A container's times may be a little off: what is lost is longer than one of their ticks.
                    if begins is not None and begins - at > tick:
                        lost = range(max(at, first), begins if last is None else min(begins, last))
                        for done in range(0, len(lost), rate):
                            out.writeframesraw(bytes(len(lost[done : done + rate]) * width * 2))
                        at = begins
                    kept = samples if channel is None else samples[channel::channels]
                    for where in {at, at if begins is None else begins}:
                        _silence(kept, width, where, rate, mutes)
                    n = len(kept) // width
                    begin, end = max(first - at, 0), n if last is None else min(last - at, n)
                    if begin < end:
                        out.writeframesraw(kept[begin * width : end * width].tobytes())
                    at += n
    except (av.FFmpegError, wave.Error, ValueError, IndexError):
        raise CallkeeperError(
            "The audio of a recording could not be decoded.", mend="Leave it out, or give it by hand."
        ) from None


def _samples(file: Any, stream: Any) -> Iterator[tuple[int | None, array[int]]]:
    """The sound as interleaved 16-bit samples, each piece with the place of its first one by the file's clock; None: not known.

    A packet that does not decode is passed over, as players do.
    """
    resampler = av.AudioResampler(format="s16")
    origin = (stream.start_time or 0) * stream.time_base
    rate = stream.codec_context.sample_rate
    for packet in file.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        place: int | None = None
        for frame in frames:
            if frame.pts is not None:
                place = round((frame.pts * frame.time_base - origin) * rate)
            for piece in map(_plain, resampler.resample(frame)):
                yield place, piece
                # What a packet holds beside its first frame follows that.
                place = None if place is None else place + len(piece) // stream.codec_context.channels
    for piece in map(_plain, resampler.resample(None)):
        yield None, piece


def _plain(frame: Any) -> array[int]:
    samples = array("h")
    # The plane may be longer than what is in it.
    samples.frombytes(memoryview(frame.planes[0])[: frame.samples * frame.layout.nb_channels * 2])
    return samples


def _silence(samples: array[int], width: int, at: int, rate: int, mutes: Sequence[Mute]) -> None:
    """Zeroes what is muted of samples that begin with the recording's ``at``-th, a whole sample more on both sides."""
    n = len(samples) // width
    for mute in mutes:
        first = max(mute.from_ms * rate // 1000 - at, 0)
        last = min(-(-mute.to_ms * rate // 1000) - at, n)
        if first < last:
            samples[first * width : last * width] = array("h", bytes((last - first) * width * 2))


def _container(head: bytes, codec: str | None) -> str:
    return probe.container_of(io.BytesIO(head), head, len(head), probe.raw_format(codec, None))
