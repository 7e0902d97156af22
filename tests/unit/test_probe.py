"""What is in an audio file: length, codec and damage, whatever its header, name or vendor says."""

from __future__ import annotations

import io
import os
import re
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from callkeeper.errors import NotAudio
from callkeeper.media import AudioFacts
from callkeeper.media.probe import probe

CORPUS = Path(__file__).parents[1] / "corpus" / "asterisk"
RAW = {".alaw": "pcm_alaw", ".ulaw": "pcm_mulaw"}
SECONDS = 12.34
CANARY = "+358401234501"


def facts(data: bytes, codec: str | None = None, content_type: str | None = None) -> AudioFacts:
    return probe(io.BytesIO(data), claimed_codec=codec, content_type=content_type)


def refusal(data: bytes, codec: str | None = None, content_type: str | None = None) -> NotAudio:
    with pytest.raises(NotAudio) as caught:
        facts(data, codec, content_type)
    return caught.value


def speechlike(seconds: float = SECONDS, rate: int = 8000) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A tone that swells and falls, far from silence and from noise."""
    t = np.arange(round(seconds * rate)) / rate
    return np.asarray(9000 * np.sin(2 * np.pi * 300 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t)), dtype=np.int16)


def wav(
    data: bytes, *, claim: int | None = None, tag: int = 1, bits: int = 16, channels: int = 1, rest: bytes = b""
) -> bytes:
    frame = bits // 8 * channels
    head = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * frame, frame, bits)
    size = len(data) if claim is None else claim
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 0xFFFFFFFF))
        + b"WAVEfmt \x10\0\0\0"
        + head
        + b"data"
        + struct.pack("<I", size)
        + data
        + rest
    )


def encoded(container: str, codec: str, rate: int = 16000) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(speechlike(rate=rate)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        resampler = av.AudioResampler(
            format=context.format, layout="mono", rate=rate, frame_size=context.frame_size or 0
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(piece))
    return target.getvalue()


def corpus_rows() -> list[Any]:
    """File and true seconds of every recording, from the corpus' own table."""
    rows = re.findall(
        r"^\|.*\| ([\d.]+) \| \d+ \| [^|]+ \| `(2026/[^`]+)` \|", (CORPUS / "README.md").read_text(), re.M
    )
    return [pytest.param(CORPUS / name, float(seconds), id=f"{n:02}") for n, (seconds, name) in enumerate(rows)]


def test_the_table_names_every_recording_of_the_corpus() -> None:
    assert sorted(row.values[0] for row in corpus_rows()) == sorted(
        p for p in (CORPUS / "2026").rglob("*") if p.is_file()
    )
    assert len(corpus_rows()) == 32


@pytest.mark.parametrize(("path", "seconds"), corpus_rows())
def test_a_real_recording_has_its_true_length(path: Path, seconds: float) -> None:
    codec = RAW.get(path.suffix)
    if seconds == 0:
        assert refusal(path.read_bytes(), codec).reason == "audio_empty"
        return

    found = facts(path.read_bytes(), codec)

    assert found.duration_ms == pytest.approx(seconds * 1000, abs=50)
    assert not found.truncated
    assert found.sample_rate_hz == 8000


@pytest.mark.parametrize(
    "path", [row.values[0] for row in corpus_rows() if row.values[0].suffix == ".wav" and row.values[1]]
)
def test_libsndfile_agrees(path: Path) -> None:
    second_opinion = soundfile.info(str(path))

    found = facts(path.read_bytes())

    assert found.duration_ms == pytest.approx(second_opinion.duration * 1000, abs=1)
    assert found.channels == second_opinion.channels


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("40.wav", (4049, True)),
        ("43.wav", (2048, False)),
        ("46.wav", (10720, False)),
        ("41.wav", "audio_empty"),
        ("47.wav", "audio_empty"),
        ("42.wav", "not_audio"),
    ],
)
def test_a_damaged_recording_is_told_for_what_it_is(ending: str, expected: object) -> None:
    [path] = [p for p in (CORPUS / "broken").rglob("*.wav") if p.name.endswith(ending)]

    try:
        found = facts(path.read_bytes())
        outcome: object = (found.duration_ms, found.truncated)
    except NotAudio as wrong:
        outcome = wrong.reason

    assert outcome == expected


@pytest.mark.parametrize(
    ("container", "codec", "name", "tolerance_ms"),
    [
        ("ogg", "libopus", "opus", 1),
        ("mp3", "libmp3lame", "mp3", 120),
        ("flac", "flac", "flac", 1),
        ("mp4", "aac", "aac", 70),
        ("webm", "libopus", "opus", 10),
        ("wav", "adpcm_ms", "adpcm_ms", 150),
        ("wav", "libmp3lame", "mp3", 120),
        ("amr", "libopencore_amrnb", "amr_nb", 20),
    ],
)
def test_compressed_audio_is_measured_by_its_packets(container: str, codec: str, name: str, tolerance_ms: int) -> None:
    data = encoded(container, codec, rate=8000 if container == "amr" else 16000)

    found = facts(data)

    assert (found.codec, found.channels, found.truncated) == (name, 1, False)
    assert found.duration_ms == pytest.approx(SECONDS * 1000, abs=tolerance_ms)


@pytest.mark.parametrize(
    ("container", "codec"), [("ogg", "libopus"), ("mp3", "libmp3lame"), ("flac", "flac"), ("webm", "libopus")]
)
def test_compressed_audio_cut_short_is_truncated(container: str, codec: str) -> None:
    whole = encoded(container, codec)

    found = facts(whole[: len(whole) * 6 // 10])

    assert found.truncated
    assert 5000 < found.duration_ms < 9000


@pytest.mark.parametrize(("tag", "bits", "name"), [(1, 16, "pcm_s16le"), (6, 8, "pcm_alaw"), (7, 8, "pcm_mulaw")])
def test_a_wav_cut_short_is_truncated_and_what_is_there_counts(tag: int, bits: int, name: str) -> None:
    frames = speechlike(10).tobytes()[: 10 * 8000 * bits // 8]

    found = facts(wav(frames[: len(frames) // 2], claim=len(frames), tag=tag, bits=bits))

    assert found == AudioFacts(duration_ms=5000, codec=name, channels=1, sample_rate_hz=8000, truncated=True)


@pytest.mark.parametrize("claim", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_written_before_the_end_was_known_claims_nothing(claim: int) -> None:
    found = facts(wav(speechlike().tobytes(), claim=claim))

    assert (found.duration_ms, found.truncated) == (12340, False)


def test_two_channels_are_one_length() -> None:
    both = np.repeat(speechlike(), 2)

    found = facts(wav(both.tobytes(), channels=2))

    assert (found.duration_ms, found.channels) == (12340, 2)


def test_bytes_after_the_sound_are_no_sound() -> None:
    notes = b"LIST" + struct.pack("<I", 400_000) + bytes(400_000)

    found = facts(wav(speechlike().tobytes(), rest=notes))

    assert (found.duration_ms, found.truncated) == (12340, False)


def test_the_content_decides_not_the_claim() -> None:
    assert facts(encoded("ogg", "libopus"), "pcm_alaw", "audio/wav").codec == "opus"


@pytest.mark.parametrize(
    ("codec", "content_type", "name"),
    [
        ("pcm_alaw", None, "pcm_alaw"),
        (None, "audio/PCMU; rate=8000", "pcm_mulaw"),
        ("ulaw", "application/octet-stream", "pcm_mulaw"),
    ],
)
def test_audio_without_a_header_is_what_the_vendor_says(codec: str | None, content_type: str | None, name: str) -> None:
    encoded_bytes = (speechlike(7) >> 8).astype(np.int8).tobytes()

    found = facts(encoded_bytes, codec, content_type)

    assert found == AudioFacts(duration_ms=7000, codec=name, channels=1, sample_rate_hz=8000, truncated=False)


@pytest.mark.parametrize("silence", [b"\xd5", b"\x55"])
def test_digital_silence_is_audio(silence: bytes) -> None:
    assert facts(silence * 16000, "pcm_alaw").duration_ms == 2000


HTML = (
    b"<!DOCTYPE html><html><body>" + b"<p>Istunto on vanhentunut. Kirjaudu uudelleen.</p>\r\n" * 200 + b"</body></html>"
)


@pytest.mark.parametrize("claim", [None, "pcm_alaw", "pcm_mulaw"])
@pytest.mark.parametrize(
    "data",
    [
        HTML,
        HTML.replace(b"Istunto", "Pääsy estetty".encode("latin-1")),
        b'{"error": "expired"}',
        bytes(20_000),
        b"PK\x03\x04" + bytes(range(256)) * 50,
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(range(256)),
    ],
    ids=["html", "latin-1", "json", "zeros", "zip", "webp"],
)
def test_what_is_no_audio_is_not_taken_for_any(data: bytes, claim: str | None) -> None:
    assert refusal(data, claim).reason == "not_audio"


@pytest.mark.parametrize("claim", ["pcm_alaw", "pcm_mulaw"])
def test_encrypted_bytes_are_no_headerless_audio(claim: str) -> None:
    assert refusal(os.urandom(200_000), claim).reason == "not_audio"


def test_one_byte_over_and_over_is_no_headerless_audio() -> None:
    assert refusal(b"\x01" * 20_000, "pcm_alaw").reason == "not_audio"


def test_bytes_without_a_header_or_a_claim_are_of_an_unknown_codec() -> None:
    assert refusal((speechlike(7) >> 8).astype(np.int8).tobytes()).reason == "codec_unknown"


def test_a_codec_that_nobody_knows_is_said_to_be_so() -> None:
    assert refusal(wav(os.urandom(16000), tag=0x7ABC)).reason == "codec_unknown"


@pytest.mark.parametrize(
    "data",
    [b"", wav(b""), b"OggS".join(encoded("ogg", "libopus").split(b"OggS")[:3])],
    ids=["nothing", "wav header", "ogg headers"],
)
def test_a_file_without_sound_is_empty(data: bytes) -> None:
    assert refusal(data).reason == "audio_empty"


def test_a_broken_stream_behind_a_good_beginning_is_refused_in_our_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"in-{CANARY}.m4a"
    path.write_bytes(encoded("mp4", "aac")[:5000])

    with path.open("rb") as body, pytest.raises(NotAudio) as caught:
        probe(body, claimed_codec=None, content_type=None)

    assert caught.value.reason == "not_audio"
    assert caught.value.__suppress_context__
    assert CANARY not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav(speechlike().tobytes()))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{other}\n#EXT-X-ENDLIST\n".encode()
    concat = f"ffconcat version 1.0\nfile '{other}'\n".encode()

    assert [refusal(playlist).reason, refusal(concat).reason] == ["not_audio", "not_audio"]


def test_only_what_is_needed_of_an_hour_is_read() -> None:
    hour = wav(np.tile(speechlike(60), 60).tobytes())
    read = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal read
            data = super().read(size)
            read += len(data)
            return data

    found = probe(Counting(hour), claimed_codec=None, content_type=None)

    assert found.duration_ms == 3_600_000
    assert read < 500_000
