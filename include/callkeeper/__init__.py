"""callkeeper keeps call recordings only as long as it may, and can prove it."""

__version__ = "0.1.0"
