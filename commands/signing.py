"""Commands that sign versions, and that say whether a signature holds.

Parse, ask for a password, call, print. A password comes from a prompt or a variable, never from an argument.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Cell, count_of, iso, when
from ..storage.errors import InvalidInput, NotFound, VerifyError
from .invocation import AsJson, Invocation, invocation
from .output import onto

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..display import Value
    from ..lineage.signing.bundle import Named
    from ..lineage.signing.verify import Verified
    from ..store import Store

__all__ = ["register"]

_MAKE, _LOOK = "Make and fetch versions", "Look around"
_SHOWN = 6  # inputs or outputs that people are told of
SignRef = Annotated[
    str, typer.Argument(metavar="REF", help=r"\[project/]name[:version-or-alias]; without a version: latest.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("sign", rich_help_panel=_MAKE)(sign)
    app.command("verify-signature", rich_help_panel=_LOOK)(verify_signature)


def sign(
    context: typer.Context,
    ref: SignRef,
    private_key: Annotated[
        Path, typer.Option(metavar="FILE", help="The private key, in PEM: on the curve P-256, P-384 or P-521.")
    ],
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key's certificate, in PEM; the signature is in its name.")
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Certificates between it and the root; may be repeated."),
    ] = None,
    password_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The variable with the key's password; else it is asked for."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the signature to a file, too.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the history.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version: its files, and what its run used and made (OpenSSF model signing)."""
    call = invocation(context)
    with call.open() as store, onto(call.screen, output) as file:  # what cannot be written is not signed
        found = store.sign(
            ref,
            private_key=private_key,
            password=lambda: _password(call, private_key, password_env),
            certificate=certificate,
            chain=chain or (),
            reason=reason,
        )
        if output is not None:
            file.raw([store.signature_bundle(found)])
        run = store.logged_by(store.resolve(found.ref))
    if run is not None and run.state == "running":
        call.screen.note(f"run {run.id} has not finished; once it uses more, this signature does not hold: sign again")
    if as_json:
        call.screen.document(found.to_json())
    elif call.screen.terminal:
        call.screen.line(f"{found.ref}  signed by {found.signatory}")
        if output is not None:
            call.screen.remark(f"the signature is in {output}, too")
    else:
        call.screen.tabbed([found.ref, found.signatory.fingerprint, found.signatory.identity or ""])


def verify_signature(
    context: typer.Context,
    ref: SignRef,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The public key of whom you believe, in PEM.")
    ] = None,
    certificate_chain: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Certificates of those whom you believe to vouch; may be repeated."),
    ] = None,
    signature: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A signature in a file, instead of those in the store.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Read the files of a folder, too: they must be the version's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the signature that holds to a file.")
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what was signed of its run to a file: SLSA provenance.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say who signed a version, when and over what; exit code 5 if it does not hold, 3 if there is none.

    What was signed is compared with what the store says of the version. No file is read, but those of --folder.
    """
    if (public_key is None) == (not certificate_chain):
        raise InvalidInput("name whom you believe: --public-key FILE, or --certificate-chain FILE")
    call = invocation(context)
    with call.open() as store:
        found = store.verify_signature(
            call.resolve(store, ref),
            public_key=public_key,
            certificates=certificate_chain or (),
            signature=signature,
        )
        if folder is not None:
            _compare(store, found, folder)
    if output is not None:
        _write(call, output, found.bundle)
    if provenance is not None:
        if found.provenance is None:
            raise NotFound(f"{found.version.ref}: no run was signed with it in this store, so there is no provenance")
        _write(call, provenance, found.provenance)
    if as_json:
        call.screen.document({**found.to_json(), "folder": None if folder is None else str(folder.absolute())})
        return
    call.screen.title(found.version.ref, "the signature holds")
    call.screen.pairs(_pairs(found, folder))
    for note in found.notes:
        call.screen.note(note)


def _compare(store: Store, found: Verified, folder: Path) -> None:
    """Raise VerifyError, with its report, where a folder's files are not those of the version."""
    from ..artifacts.logged import LoggedVersion

    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder" if folder.exists() else f"{folder} does not exist")
    try:
        LoggedVersion(found.version, store).verify(folder)
    except VerifyError as error:
        raise VerifyError(f"the signature holds, but {error}", error.report) from None


def _write(call: Invocation, output: Path, data: bytes) -> None:
    with onto(call.screen, output) as file:
        file.raw([data])


def _password(call: Invocation, key: Path, variable: str | None) -> str:
    """Return the password of a private key, which has one."""
    from ..environment import secret

    if variable is not None:
        return secret(variable)
    if call.screen.ask is None:
        raise InvalidInput(f"{key} is encrypted and there is nobody to ask here: give --password-env NAME")
    answer: str = typer.prompt(f"art: the password of {key}", hide_input=True, err=True)
    return answer


def _pairs(found: Verified, folder: Path | None) -> list[tuple[str, Value]]:
    from ..storage.digest import Digest

    digest = Digest(found.version.digest)
    pairs: list[tuple[str, Value]] = [("signed by", str(found.signatory))]
    if found.time is not None:
        pairs.append(("recorded", Cell(f"{when(found.time)}, {found.actor}", f"{iso(found.time)}, {found.actor}")))
    rest = found.version.file_count - found.files
    more = f"; {rest:,} more by the digest" if rest > 0 and found.claim is not None else ""
    pairs.append(
        ("files", Cell(f"{count_of(found.files, 'file')}, whose digests are those signed{more}", str(found.files)))
    )
    unread = "no file was read; `--folder DIR` compares a folder with it"
    pairs.append(
        ("compared", unread if folder is None else f"{folder}: every file is the version's, and there is no other")
    )
    claim = found.claim
    if claim is None:
        return pairs
    pairs.append(("digest", Cell(f"{digest.short}…   (--json for all)", str(digest))))
    run = claim.run
    if run is None:
        return [*pairs, ("made by", "no run")]
    commit = [] if run.commit is None else [run.commit[:7] + (" + diff" if run.dirty else "")]
    pairs.append(("made by", ", ".join([run.id, *commit])))
    if run.inputs:
        pairs.append(("from", _names(run.inputs)))
    others = [one for one in run.outputs if one.version != found.version.ref]
    if others:
        pairs.append(("beside", _names(others)))
    return pairs


def _names(versions: Sequence[Named]) -> Cell:
    names = [one.version for one in versions]
    rest = len(names) - _SHOWN
    more = [f"{rest} more (--json for all)"] if rest > 0 else []
    return Cell("  ".join([*names[:_SHOWN], *more]), "  ".join(names))
