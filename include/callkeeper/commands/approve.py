"""``callkeeper approve``: what waits for a person's yes, and the yes."""

from __future__ import annotations

import click

from callkeeper import settings, wiring
from callkeeper.jobs.approving import Proposal, Subject

NAMES = {subject.value.replace("_", "-"): subject for subject in Subject}

_ASKS = {
    Subject.go_live: "From the next night on, what is due is deleted for good. Go live?",
    Subject.surplus: "They became due without a forecast having foreseen them. Delete all {n}?",
    Subject.orphans: "No row explains these objects. Delete all {n}?",
    Subject.unlawful: "Their line was not designated on the day of the call. Delete all {n}, here and at the vendor?",
}
_KEEPS = "Keep all {n} for a month?"


@click.command()
@click.argument("subject", type=click.Choice(list(NAMES)), required=False)
@click.option("--controller", help="One controller's only.")
@click.option("--keep", is_flag=True, help="Say no to orphans: they stay, and are asked about again in a month.")
@click.option("--as", "account", help="Your Airflow account.")
@click.option("--yes", type=int, metavar="N", help="Don't ask: N is the number that you have seen.")
def approve(subject: str | None, controller: str | None, keep: bool, account: str | None, yes: int | None) -> None:
    """What waits for a person's yes, and the yes to it: the next night carries it out.

    For the privacy officer and her deputies; approvers may say yes to a surplus, too.
    """
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import approving

    if controller and NAMES.get(subject or "") in (None, Subject.go_live):
        raise click.UsageError("--controller narrows surplus, orphans or unlawful.")
    if keep and subject != "orphans":
        raise click.UsageError("--keep is a no to orphans; what else waits, goes on waiting.")
    app = wiring.build(settings.load())
    with app.connect() as conn:
        waiting = [approving.propose(conn, NAMES[subject], controller)] if subject else approving.proposals(conn)
    for proposal in waiting:
        _show(proposal)
    if not any(p.n or p.subject is Subject.go_live for p in waiting):
        click.echo("Nothing waits for a person's yes.")
        return
    if subject is None:
        return
    (seen,) = waiting
    if yes is None:
        click.confirm((_KEEPS if keep else _ASKS[seen.subject]).format(n=seen.n), abort=True)
    elif yes != seen.n:
        raise approving.ScopeChanged
    who = sign_in(app, account, approving.APPROVERS[seen.subject])
    with app.connect() as conn:
        decide = approving.keep if keep else approving.approve
        decision = decide(conn, seen, who, app.actor(conn, account=who))
    what = "they stay, and are asked about again in a month" if keep else "the next night carries it out"
    click.secho(f"Decision {decision} is recorded: {what}.", fg="green")


def _show(proposal: Proposal) -> None:
    name = proposal.subject.value.replace("_", "-")
    what = "due in the last rehearsal" if proposal.subject is Subject.go_live else "waiting"
    click.secho(f"{name}: {proposal.n} {what}", bold=True)
    for figure in proposal.figures:
        click.echo(f"    {figure.controller:16} {figure.what:28} {figure.n:>9}")
    if proposal.subject is Subject.orphans and proposal.n:
        click.echo(
            "    Was an older database restored? Then they may be the audio of calls whose rows it has lost: a yes is their end."
        )
        click.echo("    `callkeeper restore-check` first; a no is `callkeeper approve orphans --keep`.")
