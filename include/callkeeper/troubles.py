"""What can stand in a deletion's way: each trouble's code, what it means, and what a person does about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Sentences for people."""

    means: str
    mend: str


TROUBLES: Mapping[str, Trouble] = {
    "store_unavailable": Trouble(
        means="The store did not answer, or failed: whether the audio is gone is not known.",
        mend="See that the store runs (`callkeeper doctor`). The next night deletes, or proves that it is gone.",
    ),
    "store_denied": Trouble(
        means="The store refused the destroyer's identity.",
        mend="Give it back its right to delete versions (`callkeeper doctor` says what the store keeps apart).",
    ),
    "held_in_store": Trouble(
        means="A legal hold stands on the object in the store, and no longer in the register.",
        mend="The next night brings the store in line and tries again. If it stays, run the DAG `legal_hold`.",
    ),
    "version_left": Trouble(
        means="The store said that it had deleted, and still lists a version.",
        mend="If it is there tomorrow too, look in the store who writes under this key: nobody but the import may.",
    ),
    "upload_left": Trouble(
        means="The store still lists an unfinished upload, whose parts may be audio.",
        mend="If it is there tomorrow too, end it in the store by hand.",
    ),
    "interrupted": Trouble(means="The night was stopped in its middle.", mend="The next night goes on with it."),
    "not_armed": Trouble(means="The night ended before it had decided.", mend="The next night decides."),
    "vendor_not_asked": Trouble(means="Gone here; the vendor has not been asked yet.", mend="The next night asks."),
    "vendor_gone": Trouble(
        means="Gone here; the vendor is no longer in the configuration, so nobody asks it.",
        mend="Put it back, or once its copies are gone by its contract's end: `callkeeper deletions settle --vendor`.",
    ),
    "vendor_unavailable": Trouble(
        means="Gone here; the vendor did not answer.", mend="The next night asks again. If it lasts, call the vendor."
    ),
    "vendor_credentials": Trouble(
        means="Gone here; the vendor refused our account.",
        mend="Renew the vendor's connection in Airflow; the next night asks again.",
    ),
    "vendor_pending": Trouble(
        means="Gone here; the vendor has accepted to delete, and has it still.",
        mend="Looked at again each night. If it lasts longer than its contract says, call the vendor.",
    ),
    "vendor_refused": Trouble(
        means="Gone here; the vendor refused to delete its copy.",
        mend="Ask the vendor why, by its contract. Once it is gone there: `callkeeper deletions settle`.",
    ),
    "vendor_unsupported": Trouble(
        means="Gone here; the vendor has no way to delete by request.",
        mend="Have it deleted by its own means, or wait for its term. Then: `callkeeper deletions settle`.",
    ),
    "key_missing": Trouble(
        means="Gone here; the vendor's reference cannot be opened: the key that it is sealed to is not on this machine.",
        mend="Restore the keys from their escrow, then `callkeeper deletions retry`. If they are lost, the vendor's copy ends "
        "with the vendor's own term: then `callkeeper deletions retry`, and `callkeeper deletions settle` before the next night.",
    ),
}
"""By code. A test holds them against the codes that the destroyer writes."""

UNKNOWN = Trouble(means="Nobody has described this trouble.", mend="Report it.")


def trouble(code: str) -> Trouble:
    """The code's words; for one that nobody has described, words that say so."""
    return TROUBLES.get(code, UNKNOWN)
