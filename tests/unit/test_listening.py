"""Who may listen, for what: the matrix of purposes over the decision table (requirements, sections 1 and 2)."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from callkeeper.jobs.listening import LAWFUL_PURPOSES, PURPOSES, Refusal, Who, may_open
from callkeeper.retention import BlockerKind, Situation, Trigger, resolve

K, T = BlockerKind, Trigger
LISTENER, OFFICER, NOBODY = Who(listener=True), Who(officer=True), Who()
CLEAN = Situation()
SITUATIONS = {
    "in retention": CLEAN,
    "expired": Situation(triggers=frozenset({T.retention_expired})),
    "access open": Situation(blockers=frozenset({K.access_freeze})),
    "access open, expired": Situation(blockers=frozenset({K.access_freeze}), triggers=frozenset({T.retention_expired})),
    "erasure undecided": Situation(erasure_asked=True),
    "erasure approved": Situation(triggers=frozenset({T.erasure_approved})),
    "hold": Situation(blockers=frozenset({K.investigation})),
    "preservation": Situation(blockers=frozenset({K.authority_preservation})),
    "hold, expired": Situation(blockers=frozenset({K.legal_claim}), triggers=frozenset({T.retention_expired})),
    "restricted": Situation(blockers=frozenset({K.restriction})),
    "objection undecided": Situation(blockers=frozenset({K.objection})),
    "rectification asked": Situation(blockers=frozenset({K.rectification_pending})),
    "hold and restricted": Situation(blockers=frozenset({K.complaint, K.restriction})),
    "quarantined": Situation(blockers=frozenset({K.quarantine})),
    "unlawful confirmed": Situation(triggers=frozenset({T.unlawful_confirmed}), blockers=frozenset({K.quarantine})),
    "blockers unknown": Situation(blockers=frozenset({K.unknown})),
    "gone": Situation(gone=True),
}
MATRIX = {
    # (the notice's four by a listener; subject_request; legal_claim and authority; security by an officer)
    "in retention": (True, True, True, True),
    "expired": (False, True, False, False),
    "access open": (True, True, True, True),
    "access open, expired": (False, True, False, False),
    "erasure undecided": (False, True, False, False),
    "erasure approved": (False, False, False, False),
    "hold": (False, True, True, True),
    "preservation": (False, True, True, True),
    "hold, expired": (False, True, True, True),
    "restricted": (False, True, True, False),
    "objection undecided": (False, True, True, False),
    "rectification asked": (False, True, True, False),
    "hold and restricted": (False, True, True, True),
    "quarantined": (False, True, False, False),
    "unlawful confirmed": (False, True, False, False),
    "blockers unknown": (False, True, False, False),
    "gone": (False, False, False, False),
}


@pytest.mark.parametrize("name", MATRIX)
def test_the_matrix_of_purposes(name):
    outcome = resolve(SITUATIONS[name])
    staff, request, claims, security = MATRIX[name]

    def may(purpose: str, who: Who) -> bool:
        return may_open(outcome, purpose, who, asked_for=True) is None

    assert {may(purpose, LISTENER) for purpose in PURPOSES} == {staff}
    assert may("subject_request", OFFICER) is request
    assert {may("legal_claim", OFFICER), may("authority", OFFICER)} == {claims}
    assert may("security", OFFICER) is security


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_purpose_is_its_roles_own_and_no_others(name):
    outcome = resolve(SITUATIONS[name])

    for purpose in PURPOSES:
        assert may_open(outcome, purpose, OFFICER, asked_for=True) is Refusal.no_listener
        assert may_open(outcome, purpose, NOBODY, asked_for=True) is Refusal.no_listener
    for purpose in LAWFUL_PURPOSES:
        assert may_open(outcome, purpose, LISTENER, asked_for=True) is Refusal.no_officer
    for purpose in ("", "curiosity", "Quality", "subject request"):
        assert may_open(outcome, purpose, Who(listener=True, officer=True), asked_for=True) is Refusal.purpose_unknown


def test_a_request_is_named_by_whoever_listens_for_one():
    assert may_open(resolve(CLEAN), "subject_request", OFFICER) is Refusal.no_request


def test_over_all_combinations_staff_hear_only_what_nothing_closes():
    """Listeners: in retention, nothing but an access freeze. What a listener is told never differs by what closes it."""
    kinds = [set(some) for some in chain.from_iterable(combinations(K, n) for n in range(4))]
    for blockers in kinds:
        for triggers in (set(), {T.retention_expired}, {T.erasure_approved}, {T.objection_upheld}):
            for asked in (False, True):
                outcome = resolve(
                    Situation(blockers=frozenset(blockers), triggers=frozenset(triggers), erasure_asked=asked)
                )
                found = may_open(outcome, "quality", LISTENER)
                is_open = not triggers and not asked and blockers <= {K.access_freeze}
                assert found is (None if is_open else Refusal.closed)
