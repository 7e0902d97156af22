"""What people are told after a night: a note on its run, a mail to the data team, and to those whose yes it waits for.

Counts, codes, days and case numbers only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callkeeper import db
from callkeeper.clock import helsinki_day
from callkeeper.deletions import OVERDUE_HOURS, TERMS
from callkeeper.errors import MailUnavailable
from callkeeper.jobs.pages import day_in_words, render, time_in_words
from callkeeper.jobs.reporting import Report, horizons, in_words
from callkeeper.notify import Message, Notifier
from callkeeper.troubles import trouble

ESCALATION_AFTER = timedelta(days=3)
"""A yes that was asked for so long ago, and nobody answered, is told to somebody else (architecture, rule 14)."""
OUTAGES = ("vendor_unavailable", "vendor_credentials")
_APPROVE = {
    "surplus": "`callkeeper approve surplus`",
    "approval": "`callkeeper approve orphans`",
    "unlawful": "`callkeeper approve unlawful`, if that is meant; else mend the register",
}
_WAITING = {
    "surplus": "more recordings than the forecast had foreseen",
    "approval": "objects that no row explains",
    "unlawful": "recordings of a line that is not designated",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A sentence: somebody has to act. Red ones make the run red.

    ``deciders``: the privacy officer and her deputies are told, too; ``late``: nobody has answered for three days.
    """

    text: str
    red: bool = True
    deciders: bool = False
    late: bool = False


def alarms(report: Report, *, failures: Sequence[str], unwritten: str, now: datetime) -> tuple[Alarm, ...]:
    """What somebody has to do about a night. ``failures`` name tasks; ``unwritten`` says why its report is not in the store."""
    found = [Alarm(text=f"Task failed: {name}.") for name in failures]
    found += [
        Alarm(text=f"{c.controller}: the night does not balance, {c.difference:+d} of {c.due} recordings.")
        for c in report.controllers
        if c.difference
    ]
    found += [
        Alarm(text=f"The night of {day_in_words(day)} was cut off; this one closed it.") for day in report.cut_off
    ]
    if report.live:
        found += [
            Alarm(
                text=f"{o.controller}: {o.n} recordings are past their term by more than 48 hours and not blocked, the oldest "
                f"since {time_in_words(o.oldest_due_at)}."
            )
            for o in report.overdue
        ]
    elif report.overdue:
        n, oldest = sum(o.n for o in report.overdue), min(o.oldest_due_at for o in report.overdue)
        text = (
            f"Nights rehearse, and {n} recordings are past their term by more than 48 hours, the oldest since "
            f"{time_in_words(oldest)}: `callkeeper approve go-live`."
        )
        late = now - oldest >= timedelta(hours=OVERDUE_HOURS) + ESCALATION_AFTER
        found.append(Alarm(text=text, red=False, deciders=True, late=late))
    for a in report.awaiting:
        late = now - a.since >= ESCALATION_AFTER
        text = (
            f"{a.n} {_WAITING.get(a.waits, 'recordings')} wait for a person's yes since {time_in_words(a.since)}: "
            f"{_APPROVE.get(a.waits, '`callkeeper approve`')}."
            + (" Nobody has answered for three days." if late else "")
        )
        found.append(Alarm(text=text, deciders=True, late=late))
    failed: Counter[str] = Counter()
    for w in report.reasons:
        if w.outcome == "failed":
            failed[w.reason] += w.n
    found += [Alarm(text=f"{n} not deleted. {trouble(r).means} {trouble(r).mend}") for r, n in sorted(failed.items())]
    found += [
        Alarm(
            text=f"{o.vendor}: {o.n} open since {day_in_words(helsinki_day(o.since))}. {trouble(o.reason).means} {trouble(o.reason).mend}",
            red=o.reason in OUTAGES,
        )
        for o in report.open_lines
    ]
    if unwritten:
        found.append(Alarm(text=f"The night's report is not in the store yet: {unwritten}"))
    if report.hold_alarms:
        text = (
            f"The hold register has {report.hold_alarms} matter(s) for the privacy officer: watch_deadlines tells her."
        )
        found.append(Alarm(text=text, red=False))
    return tuple(found)


def word(report: Report, found: Sequence[Alarm]) -> str:
    """The night in one word, for a subject line."""
    if any(alarm.red for alarm in found):
        return "ALARM"
    return "balanced" if report.live else "rehearsal"


def message(report: Report, found: Sequence[Alarm], *, link: str) -> Message:
    """The mail to the data team. ``link`` leads to the runbook."""
    facts = {
        "report": report,
        "alarms": found,
        "terms": TERMS,
        "in_words": in_words,
        "horizons": horizons(report),
        "link": link,
        "word": word(report, found),
    }
    return Message(
        subject=f"callkeeper deletion {report.day}: {facts['word']}, {report.total('due')} due, {report.total('done')} done",
        text=render("night.txt", **facts),
        html=render("night.html", **facts),
    )


def to_deciders(report: Report, texts: Sequence[str], *, late: bool = False) -> Message:
    """The mail to those who have to decide; ``late``: to the one who is told when they do not."""
    what = "nobody has answered" if late else f"{len(texts)} for you"
    return Message(
        subject=f"callkeeper ALARM, deletion {report.day}: {what}",
        text=render("deciders.txt", texts=texts, report=report, late=late),
    )


def note(report: Report, found: Sequence[Alarm]) -> str:
    """The night as a note on its run: Markdown, what became of what was due, then what somebody has to do."""
    terms = [term for term in ("withdrawn", *TERMS) if report.total(term)]
    sums = ", ".join(f"{report.total(t)} {t.replace('_', ' ')}" for t in terms) or "nothing"
    lines = [f"**{report.day}: {word(report, found)}**, {report.total('due')} due: {sums}", ""]
    if report.controllers:
        head = ["controller", "due", *(t.replace("_", " ") for t in terms)]
        lines += [" | ".join(head), " | ".join("---" for _ in head)]
        lines += [
            " | ".join([c.controller, str(c.due), *(str(getattr(c, t)) for t in terms)]) for c in report.controllers
        ]
        lines.append("")
    lines += [f"- {alarm.text}" for alarm in sorted(found, key=lambda alarm: not alarm.red)]
    return "\n".join(lines)


def mail(
    conn: db.Connection,
    notifier: Notifier,
    report: Report,
    found: Sequence[Alarm],
    *,
    link: str,
    privacy: str,
    escalation: str,
) -> int:
    """Sends the night's mails, once, but a red night's again each time it is balanced; commits, and returns how many.

    ``privacy`` and ``escalation`` are addresses; whom nobody is named for, the data team is told. Raises MailUnavailable.
    """
    mailed = db.queries().night_was_mailed(conn, night=report.night)
    conn.rollback()
    if mailed and not any(alarm.red for alarm in found):
        return 0
    asked = [a.text for a in found if a.deciders]
    late = [a.text for a in found if a.late]
    # One address that is refused keeps no other from being told: an escalation least of all.
    refused: MailUnavailable | None = None
    letters = [(message(report, found, link=link), "")]
    letters += [(to_deciders(report, asked), privacy)] if asked else []
    letters += [(to_deciders(report, late, late=True), escalation)] if late else []
    for letter, to in letters:
        try:
            notifier.send(letter, to=to)
        except MailUnavailable as wrong:
            refused = wrong
    if refused is not None:
        raise refused
    db.queries().night_mailed(conn, night=report.night)
    conn.commit()
    return 1 + bool(asked) + bool(late)
