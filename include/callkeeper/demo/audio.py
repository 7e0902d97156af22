"""Honest audio that nobody ever spoke: bursts of voice-like tones and hiss, made from a seed, in the forms vendors deliver.

8 kHz, one channel; the same seed gives the same bytes.
"""

from __future__ import annotations

import io
import struct
from typing import Any, TypeAlias

import av
import numpy as np

RATE_HZ = 8000

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.int16]]"


def speech(seed: int, seconds: float) -> Samples:
    """Syllables of a voice between pauses, some of them hissed; two voices take turns, as on a call."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 12, round(seconds * RATE_HZ))  # a line is never quite silent
    voices, at, turn = rng.uniform(90, 240, 2).tolist(), 0.1, 0
    while at < seconds - 0.1:
        length = min(rng.uniform(0.08, 0.3), seconds - at)
        start, count = round(at * RATE_HZ), round(length * RATE_HZ)
        t = np.arange(count, dtype=np.float32) / RATE_HZ
        if rng.random() < 0.15:
            burst = rng.normal(0, 1200, count)
        else:
            glide = 2 * np.pi * voices[turn] * (t + rng.uniform(-0.15, 0.15) * t * t)
            formants = rng.uniform((300, 900), (800, 2400)).tolist()
            overtones = np.arange(1, 11, dtype=np.float32)
            near = sum(np.exp(-(((overtones * voices[turn] - f) / 250) ** 2)) for f in formants) + 0.05
            burst = 3500 * (near[:, None] * np.sin(overtones[:, None] * glide)).sum(axis=0)
        sound[start : start + count] += (burst * np.hanning(count))[: len(sound) - start]
        at += length + (rng.uniform(0.3, 0.9) if rng.random() < 0.12 else rng.uniform(0.0, 0.06))
        if rng.random() < 0.06:
            turn = 1 - turn
    return np.clip(sound, -32_000, 32_000).astype(np.int16)


def pcm_wav(samples: Samples) -> bytes:
    """A WAV of 16-bit PCM."""
    return _wav(1, 16, samples.astype("<i2").tobytes())


def mulaw_wav(samples: Samples) -> bytes:
    """A WAV of µ-law (G.711)."""
    return _wav(7, 8, mulaw(samples))


def mulaw(samples: Samples) -> bytes:
    """µ-law without a header (ITU-T G.711)."""
    size = np.minimum(np.abs(samples.astype(np.int32)), 32_635) + 132
    exponent = np.floor(np.log2(size)).astype(np.int32) - 7
    code = (exponent << 4) | ((size >> (exponent + 3)) & 15)
    return bytes((~np.where(samples < 0, code | 0x80, code) & 0xFF).astype(np.uint8))


def opus(samples: Samples) -> bytes:
    """Opus in Ogg, 16 kbit/s."""
    target = io.BytesIO()
    with av.open(target, "w", format="ogg", container_options={"fflags": "+bitexact"}) as file:
        stream: Any = file.add_stream(
            "libopus", rate=RATE_HZ, layout="mono", options={"application": "voip", "compression_level": "0"}
        )
        stream.bit_rate = 16_000
        step = stream.codec_context.frame_size or RATE_HZ // 50
        for start in range(0, len(samples), step):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + step], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return target.getvalue()


def _wav(tag: int, bits: int, data: bytes) -> bytes:
    frame = bits // 8
    form = struct.pack("<HHIIHH", tag, 1, RATE_HZ, RATE_HZ * frame, frame, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
