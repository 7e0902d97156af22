"""What can be wrong with a call that comes in, what it means, what mends it, and how it is counted.

The predicates on metadata are one SQL view, ``staging_fault``: Great Expectations counts with it, and quarantine names
its rows with it. No value of a call is in any result: names of checks and counts only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from callkeeper.errors import CheckFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a call waits in quarantine.

    ``mend`` says what would mend it; ``releasable``: a person may let it pass all the same (the check is waived for it).
    ``gate`` is False for what is only counted, ``staged`` for what the view finds (else the audio told).
    """

    means: str
    mend: str
    releasable: bool = False
    gate: bool = True
    staged: bool = True


REASONS: Mapping[str, Reason] = {
    "record_invalid": Reason(
        means="The vendor's record cannot be read.", mend="Ask the vendor to deliver the record again."
    ),
    "metadata_missing": Reason(
        means="There is audio without call details.",
        mend="Ask the vendor for the call's record; else mark it for deletion.",
    ),
    "line_missing": Reason(
        means="The record names no line of ours.",
        mend="Ask the vendor to deliver the record again with the service number.",
    ),
    "line_undesignated": Reason(
        means="The line was not designated for recording on the day of the call.",
        mend="If the register is wrong, mend it in config/callkeeper.toml and apply it: the next run looks again. "
        "If it is right, the call must not be kept: mark it for deletion, and report the vendor's incident.",
    ),
    "time_naive": Reason(
        means="The time has no offset: it could be one of two hours.",
        mend="Ask the vendor to deliver times with an offset.",
    ),
    "time_missing": Reason(means="The record has no usable time.", mend="Ask the vendor to deliver the record again."),
    "time_in_future": Reason(
        means="The call starts more than an hour in the future.",
        mend="Check the vendor's clock; ask for the record again.",
        releasable=False,
    ),
    "direction_unknown": Reason(
        means="Neither inbound nor outbound (an internal call, or a word we don't know).",
        mend="Internal calls are not covered by the notice: mark it for deletion. Else ask the vendor for the record again.",
    ),
    "duration_invalid": Reason(
        means="The duration is missing, negative or above 24 hours.", mend="Ask the vendor for the record again."
    ),
    "media_path_unsafe": Reason(
        means="The audio's path leaves the delivery's folder.", mend="Report it to the vendor: it may be an attack."
    ),
    "encrypted_without_key": Reason(
        means="The audio is encrypted and no key is configured.", mend="Agree on the key with the vendor."
    ),
    "audio_absent": Reason(
        means="The vendor has call details but no audio.",
        mend="Ask the vendor; if the audio is lost, mark it for deletion.",
    ),
    "changed_bytes": Reason(
        means="The vendor delivers other audio under a known recording's id.",
        mend="Compare both with the vendor; the first stays in the catalogue.",
    ),
    "caller_unusable": Reason(
        means="The caller is no telephone number (a SIP name, an extension).",
        mend="Nothing: it is kept without a number.",
        gate=False,
    ),
    "day_differs": Reason(
        means="The call starts on another Helsinki day than its delivery's.",
        mend="Nothing: its own start counts.",
        gate=False,
    ),
    "audio_empty": Reason(
        means="The audio has no sound in it.", mend="Ask the vendor for the audio again.", staged=False
    ),
    "not_audio": Reason(
        means="The file is no audio (an error page, for example).",
        mend="Ask the vendor for the audio again.",
        staged=False,
    ),
    "codec_unknown": Reason(
        means="The audio's format is not known.", mend="Ask the vendor for WAV, Opus or MP3.", staged=False
    ),
    "checksum_mismatch": Reason(
        means="The audio is not what its checksum says.", mend="Ask the vendor for the audio again.", staged=False
    ),
    "size_mismatch": Reason(
        means="The audio has another size than the record says.",
        mend="Ask the vendor for the audio again.",
        staged=False,
    ),
    "audio_truncated": Reason(
        means="The audio ends before its container says.",
        mend="Ask for it again, or release it: what is there is kept.",
        releasable=True,
        staged=False,
    ),
    "duration_mismatch": Reason(
        means="Audio and call details differ by more than two seconds.",
        mend="Ask the vendor which is right, or release it: the audio is kept as it is.",
        releasable=True,
        staged=False,
    ),
}

DURATION_TOLERANCE_MS = 2000
"""Between call details and audio (measured on a real Asterisk: -1.0 to +0.9 s)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """One check's result: how many calls fail it. Nothing that tells which."""

    reason: str
    gate: bool
    failing: int


def run_suite(database_url: str, *, run: int, vendor: str) -> tuple[Checked, ...]:
    """Runs the Great Expectations suite over what a run has staged from a vendor, in Postgres.

    ``database_url`` is a SQLAlchemy URL over TCP. Results hold counts only (``BASIC``, no unexpected values).
    The import of Great Expectations takes seconds: it is done here, in the task.
    """
    import logging
    import os

    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations import UnexpectedRowsExpectation
    from great_expectations.expectations.metadata_types import FailureSeverity

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_postgres("catalogue", connection_string=database_url)
    # The view's faults of one run and vendor: a number and a configured id, never a text from outside.
    asset = source.add_query_asset(
        "staging_fault",
        query=f"select reason from callkeeper.staging_fault where run = {int(run)} and vendor = '{_plain_id(vendor)}'",  # noqa: S608
    )
    batch = asset.add_batch_definition_whole_table("whole")
    staged = {code: reason for code, reason in REASONS.items() if reason.staged}
    suite = context.suites.add(
        gx.ExpectationSuite(
            name="staging",
            expectations=[
                UnexpectedRowsExpectation(
                    unexpected_rows_query=f"select reason from {{batch}} where reason = '{code}'",  # noqa: S608  # our own codes
                    description=reason.means,
                    severity=FailureSeverity.CRITICAL if reason.gate else FailureSeverity.WARNING,
                    meta={"reason": code},
                )
                for code, reason in staged.items()
            ],
        )
    )
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="staging", data=batch, suite=suite))
    outcome = definition.run(result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    found: list[Checked] = []
    for result in outcome.results:
        config = result.expectation_config
        assert config is not None
        code = config.meta["reason"]
        if "observed_value" not in result.result:
            # What Great Expectations kept of the exception holds SQL: it stays where it is.
            raise CheckFailed(
                f"The check {code} could not be run.", mend="Look whether the database answers; then clear the task."
            )
        found.append(Checked(reason=code, gate=staged[code].gate, failing=int(result.result["observed_value"])))
    return tuple(found)


def _plain_id(vendor: str) -> str:
    if not vendor.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a vendor's id has letters, digits, - and _ only")
    return vendor
