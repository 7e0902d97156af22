"""Everything that can go wrong, one class each, saying what to do and whether a retry helps.

A message is read by people and printed in Airflow's logs: it never holds a number, a name, a vendor's
file name or reference, an object key, or the text of a library's own exception.
"""

from __future__ import annotations


class CallkeeperError(Exception):
    """The caller cannot go on.

    ``what`` says what went wrong, ``mend`` what a person should do, ``retry`` whether trying again may help.
    """

    retry: bool = False

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what} {self.mend}".strip()


class ConfigurationError(CallkeeperError):
    """The configuration or a setting is wrong; ``faults`` has one line a fault, each with its place."""

    def __init__(self, what: str, *, mend: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(what, mend=mend)
        self.faults = faults

    def __str__(self) -> str:
        return "\n  ".join([super().__str__(), *self.faults])


class ClockWrong(CallkeeperError):
    """The clocks do not agree, so nothing is decided by them: a term could be taken for over that is not."""


class NotAllowed(CallkeeperError):
    """A rule of the notice or the law forbids it (contract past its grace, region outside the EU/EEA, no legal basis)."""


class WrongCredentials(CallkeeperError):
    """A service answered, and refused us."""


class DatabaseUnavailable(CallkeeperError):
    """The catalogue's database did not answer, or went away in the middle of the work."""

    retry = True


class AirflowUnavailable(CallkeeperError):
    """Airflow's own API did not answer a task, or refused its account."""

    retry = True


class StoreUnavailable(CallkeeperError):
    """The object store did not answer, or failed in a way that may pass."""

    retry = True


class StoreRefused(CallkeeperError):
    """The object store is full or read-only, or refused the request; a retry alone will not help."""


class StoreConflict(CallkeeperError):
    """Another object, with other bytes, stands under the key that was to be written."""


class VendorUnavailable(CallkeeperError):
    """The vendor did not answer, or failed in a way that may pass."""

    retry = True


class DeliveryUnreadable(CallkeeperError):
    """A delivery is there, yet cannot be read as a whole (broken manifest, wrong count); nothing of it was taken."""


class AudioMissing(CallkeeperError):
    """The vendor lists a recording but its audio is not there."""


class NotAudio(CallkeeperError):
    """The bytes are no audio that can be kept; ``reason`` is the quarantine's reason code."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class CheckFailed(CallkeeperError):
    """A quality check could not be run at all (which is not the same as failing)."""

    retry = True


class KeyMissing(CallkeeperError):
    """A key for pseudonyms or sealing is not where the settings say."""


class MailUnavailable(CallkeeperError):
    """The mail server did not take the message."""

    retry = True


class NotFound(CallkeeperError):
    """What was asked for is not there."""


class NotBalanced(CallkeeperError):
    """A run's counts do not add up: something was lost or counted twice."""


class TrailBroken(CallkeeperError):
    """The trail contradicts its signature, its anchor or the database that it is in; nothing was signed."""


class SetupFailed(CallkeeperError):
    """The embedded stack cannot start; the message says what is missing on this machine."""


class LetterIncomplete(CallkeeperError):
    """A letter asks for facts that nobody gave, so it cannot be sent; ``fields`` names each of them."""

    def __init__(self, kind: str, fields: tuple[str, ...]) -> None:
        super().__init__(
            f"The letter {kind} lacks {', '.join(fields)}.", mend="Give what is missing, and print it again."
        )
        self.fields = fields
