"""What an audio file really holds: read by FFmpeg (PyAV), from memory or a spool, without trust in its header or name.

FFmpeg sees one nameless stream and one container format, chosen here by the first bytes: nothing that a file says
makes it open another file or an address.
"""

from __future__ import annotations

import io
import math
import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, NoReturn

import av
import av.logging

from callkeeper.errors import NotAudio
from callkeeper.media import AudioFacts

SAMPLE_SECONDS = 1.0
"""How much is decoded at the beginning and at the end."""
LOST_SECONDS = 0.1
"""How much less than a container claims may be there: an encoder's padding is that long."""

_HEAD_BYTES = 4096
_BLOCK_BYTES = 4096
_RANDOM_BITS = 7.93
"""Entropy a byte above which bytes are no speech. Measured on 12 KiB: speech in A-law and µ-law 5.3 to 7.83, with gain
and clipping; encrypted or compressed bytes 7.98."""

_MAGIC = (
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"fLaC", "flac"),
    (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"#!AMR\n", "amr"),
)
_RAW = {
    "pcm_alaw": "alaw",
    "alaw": "alaw",
    "pcma": "alaw",
    "pcm_mulaw": "mulaw",
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
}
_SILENCE = {"alaw": b"\xd5\x55\x54\xd4", "mulaw": b"\xff\x7f\xfe\x7e"}
_FOREIGN = (b"RIFF", b"PK\x03\x04", b"%PDF", b"\x89PNG", b"GIF8", b"\x1f\x8b", b"\xff\xd8\xff", b"BM", b"\x7fELF")

_STREAMING = 0x7FFF_F000
"""WAV data sizes from here on mean "not known yet"."""

_LETTERS = bytes(range(32, 127))
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r"))

_NO_OTHERS = {"protocol_whitelist": "none"}
_RAW_RATE = {"sample_rate": "8000", "ch_layout": "mono"}


def probe(body: BinaryIO, *, claimed_codec: str | None, content_type: str | None) -> AudioFacts:
    """Demuxes the file and decodes its first and last second. ``body`` must be seekable, and is read from its start.

    What the vendor claims counts only where the bytes carry no header: 8 kHz mono A-law or µ-law. Raises NotAudio
    (audio_empty, not_audio, codec_unknown), worded without anything from the file.
    """
    size = body.seek(0, io.SEEK_END)
    body.seek(0)
    head = body.read(_HEAD_BYTES)
    if not head:
        raise NotAudio("audio_empty", "The file is empty.")
    container = container_of(body, head, size, raw_format(claimed_codec, content_type))
    av.logging.set_level(None)  # FFmpeg would speak on stderr, which is a log
    try:
        heard = _demux(body, container, size)
    except av.error.EOFError:
        raise NotAudio("audio_empty", "The file has headers and no sound.") from None
    except (av.FFmpegError, ValueError):
        raise NotAudio("not_audio", "The file begins like audio, and is none.") from None
    if heard.end_s <= 0:
        raise NotAudio("audio_empty", "The file has a header and no sound.")
    if not (heard.decoded_head and heard.decoded_tail):
        raise NotAudio("not_audio", "The file's sound cannot be decoded.")
    return AudioFacts(
        duration_ms=round(heard.end_s * 1000),
        codec=heard.codec,
        channels=heard.channels,
        sample_rate_hz=heard.sample_rate_hz,
        truncated=_truncated(body, container, size, head, heard),
    )


# --- which format -----------------------------------------------------------------------------------------------------


def raw_format(claimed_codec: str | None, content_type: str | None) -> str | None:
    """FFmpeg's name of the headerless format that the vendor claims."""
    media_type = (content_type or "").split(";")[0].strip().lower()
    claims = ((claimed_codec or "").strip().lower(), media_type.removeprefix("audio/").removeprefix("x-"))
    return next((_RAW[claim] for claim in claims if claim in _RAW), None)


def container_of(body: BinaryIO, head: bytes, size: int, raw: str | None) -> str:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return name
    if _is_text(head) or head.startswith(_FOREIGN):
        _not_audio()
    if raw is not None:
        _refuse_noise(body, head, size, raw)
        return raw
    if _is_mp3_frame(head):
        return "mp3"
    if not any(head):
        _not_audio()
    raise NotAudio("codec_unknown", "The file has no header of an audio format that is known here.")


def _not_audio() -> NoReturn:
    raise NotAudio("not_audio", "The file holds no audio.")


def _is_text(head: bytes) -> bool:
    """An error page, JSON, XML: hardly a control character, in UTF-8 or Latin-1.

    Near silence in A-law is letters too, but neither blanks nor brackets.
    """
    letters = len(head) - len(head.translate(None, _LETTERS))
    return (
        len(head.translate(None, _CONTROLS)) == len(head)
        and letters >= 0.7 * len(head)
        and any(mark in head for mark in b" \n<{")
    )


def _refuse_noise(body: BinaryIO, head: bytes, size: int, raw: str) -> None:
    """Any bytes are A-law: what is one byte over and over, or as random as encryption makes it, is no speech."""
    blocks = [head]
    for start in (size // 2, size - _BLOCK_BYTES):
        if start >= _BLOCK_BYTES:
            body.seek(start)
            blocks.append(body.read(_BLOCK_BYTES))
    for block in blocks:
        if block.count(block[0]) == len(block) and block[0] not in _SILENCE[raw]:
            _not_audio()
    sample = b"".join(blocks)
    if len(sample) < 3 * _BLOCK_BYTES:
        return
    entropy = -sum(n / len(sample) * math.log2(n / len(sample)) for n in Counter(sample).values())
    if entropy > _RANDOM_BITS:
        _not_audio()


def _is_mp3_frame(head: bytes) -> bool:
    """MPEG audio layer III without a tag before it: sync, bit rate and sample rate that exist."""
    return (
        len(head) > 2
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] >> 4 not in (0, 15)
        and head[2] & 12 != 12
    )


# --- reading it -------------------------------------------------------------------------------------------------------


class _Nameless:
    """The stream as FFmpeg sees it: no name to guess a format by or to print."""

    def __init__(self, body: BinaryIO) -> None:
        self.read, self.seek, self.tell = body.read, body.seek, body.tell


@dataclass(slots=True)
class _Heard:
    """What demuxing and decoding found; ``claimed_s`` is the container's own length as FFmpeg reads or guesses it."""

    codec: str
    channels: int
    sample_rate_hz: int
    claimed_s: float
    end_s: float = 0.0
    decoded_head: bool = False
    decoded_tail: bool = False


def opened(body: BinaryIO, container: str) -> Any:
    """The file as FFmpeg reads it, in that format and no other; to be closed."""
    body.seek(0)
    options = dict(_NO_OTHERS)
    if container in ("wav", "alaw", "mulaw"):
        options["probesize"] = "32"  # the header says it all; analysing would read a megabyte
    if container in ("alaw", "mulaw"):
        options |= _RAW_RATE
    return av.open(_Nameless(body), "r", format=container, container_options=options, io_open=_refuse_to_open)


def _demux(body: BinaryIO, container: str, size: int) -> _Heard:
    with opened(body, container) as file:
        if not file.streams.audio:
            _not_audio()
        stream = file.streams.audio[0]
        context = stream.codec_context
        if context is None or context.name == "none":
            raise NotAudio("codec_unknown", "The audio is in a codec that is not known here.")
        tick = float(stream.time_base or Fraction(1, 48_000))
        heard = _Heard(
            codec=context.codec.canonical_name,
            channels=context.channels,
            sample_rate_hz=context.sample_rate,
            claimed_s=stream.duration * tick if stream.duration else (file.duration or 0) / av.time_base,
        )
        # Times are counted in the stream's ticks: this loop sees every packet of Opus, three thousand a minute.
        sample, last = round(SAMPLE_SECONDS / tick), 0
        tail: deque[tuple[int, Any]] = deque()
        for packet in _packets(file, stream, size, tick):
            start = packet.pts or 0
            last = max(last, start + (packet.duration or 0))
            if start < sample:
                heard.decoded_head |= _decodes(context, packet)
            tail.append((start, packet))
            if tail[0][0] < last - sample and len(tail) > 2:
                tail.popleft()
        heard.end_s = last * tick
        context.flush_buffers()
        heard.decoded_tail = any(_decodes(context, packet) for _, packet in tail)
    return heard


def _packets(file: Any, stream: Any, size: int, tick: float) -> Iterator[Any]:
    """Every packet; of uncompressed audio, whose packets are but slices of bytes, those of the first and last seconds."""
    context, leap = stream.codec_context, 0.0
    if context.name.startswith("pcm_") and context.bit_rate:
        # By the bytes that are there, not by what the header says; FFmpeg gives the times of what it then finds.
        leap = size * 8 / context.bit_rate - 1.25 * SAMPLE_SECONDS
    for packet in _demuxed(file, stream):
        yield packet
        if leap > SAMPLE_SECONDS and (packet.pts or 0) * tick >= SAMPLE_SECONDS:
            break
    else:
        return
    file.seek(int(leap / tick), stream=stream)
    found = False
    for packet in _demuxed(file, stream):
        found = True
        yield packet
    if not found:  # the last seconds of the file are not of its sound
        file.seek(0, stream=stream)
        yield from _demuxed(file, stream)


def _demuxed(file: Any, stream: Any) -> Iterator[Any]:
    return (packet for packet in file.demux(stream) if packet.size)


def _decodes(context: Any, packet: Any) -> bool:
    """Whether a packet gives samples. One broken packet, or one that wants its predecessors, is not the end."""
    try:
        return any(frame.samples for frame in context.decode(packet))
    except av.FFmpegError:
        return False


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a recording may not name another file")


# --- cut short? -------------------------------------------------------------------------------------------------------


def _truncated(body: BinaryIO, container: str, size: int, head: bytes, heard: _Heard) -> bool:
    """Whether the container claims more than is there, where it claims anything."""
    if container == "wav":
        return _wav_claims_more(body, size)
    if container == "ogg":
        return _ogg_page_cut(body, size)
    if container == "mp3" and not (b"Xing" in head or b"Info" in head):
        return False  # FFmpeg's length is a guess from the bit rate
    return container in ("mp3", "flac", "mov", "matroska") and heard.claimed_s - heard.end_s > LOST_SECONDS


def _wav_claims_more(body: BinaryIO, size: int) -> bool:
    at = 12
    while at + 8 <= size:
        body.seek(at)
        name: bytes
        length: int
        name, length = struct.unpack("<4sI", body.read(8))
        if name == b"data":
            # 0 and the largest sizes are written while the end is not known yet: no claim.
            return 0 < length < _STREAMING and at + 8 + length > size
        at += 8 + length + length % 2
    return False


def _ogg_page_cut(body: BinaryIO, size: int) -> bool:
    start = max(0, size - 65_307)  # the largest page
    body.seek(start)
    last = body.read()
    at = last.rfind(b"OggS")
    segments = last[at + 26] if 0 <= at < len(last) - 26 else 255
    table = last[at + 27 : at + 27 + segments]
    return len(table) < segments or at + 27 + segments + sum(table) > len(last)
