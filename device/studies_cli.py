"""`busi-kd device studies`: what the recorder has saved; show, export, verify and delete it."""

import argparse
import sqlite3
from pathlib import Path

from device import RESEARCH_NOTICE, schema
from device.errors import Refused, UserError
from device.store import AUDIT, FOLDER, database
from device.store.audit_check import verify
from device.store.check import check
from device.store.leaving import Leaving, as_json
from device.store.store import Store, because, is_open


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `busi-kd device studies`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (call, what) in _ACTIONS.items():
        action = actions.add_parser(name, help=what, description=f"{what.capitalize()}. {RESEARCH_NOTICE}")
        text = f"the folder of studies (default: {FOLDER})"
        action.add_argument("--store", type=Path, default=FOLDER, metavar="DIR", help=text)
        if name in ("show", "export", "delete"):
            action.add_argument("study", metavar="STUDY", help="the study's id, or how it begins")
        if name == "export":
            to = action.add_mutually_exclusive_group(required=True)
            to.add_argument(
                "--zip", type=Path, metavar="FILE", help="write a ZIP file: pictures, rows, verdicts, hashes"
            )
            to.add_argument(
                "--dicom", type=Path, metavar="DIR", help="write DICOM into a new folder: images and a report"
            )
        if name == "verify":
            text = "also look for this line of the audit log, noted down from `studies head`"
            action.add_argument("--head", metavar="N:SHA256", help=text)
        action.set_defaults(act=call)


def main(args: argparse.Namespace) -> int:
    """Do what the action says. Raises UserError for what a person can mend; Refused (3) where something is damaged."""
    try:
        store = Store(args.store)
    except OSError as error:
        raise UserError(f"{args.store}: cannot be used ({because(error)}); run it as root, with sudo.") from error
    try:
        return args.act(store, args)
    except sqlite3.Error as error:
        raise UserError(f"{args.store}: the database cannot be used ({because(error)}); try again.") from error
    finally:
        store.close()


def _list(store: Store, _: argparse.Namespace) -> int:
    print(RESEARCH_NOTICE)
    sized = store.sized()
    for one in sized:
        study = one.study
        items = len(database.items(store.connection, study.id))
        state = "ended" if study.ended else "interrupted" if study.interrupted else "open"
        exported = f", exported {study.exported[:10]}" if study.exported else ", not exported"
        notes = "" if study.clock_synchronised is True else ", clock not known to be set"
        notes += ", SYNTHETIC: shows nobody" if study.synthetic else ""
        print(
            f"{study.id}  {study.begun[:19]}Z  {items} items, {one.bytes / 1e6:.1f} MB, {state}{exported}{notes}, "
            f"model {study.model} {study.bundle}" + (f"  {study.label}" if study.label else "")
        )
    print(f"{len(sized)} studies, {database.used_bytes(store.connection) / 1e6:.1f} MB")
    return 0


def _show(store: Store, args: argparse.Namespace) -> int:
    study = database.study(store.connection, args.study)
    items = database.items(store.connection, study.id)
    data = {"notice": RESEARCH_NOTICE, "study": schema.dump(study), "items": [schema.dump(item) for item in items]}
    print(as_json(data).decode(), end="")
    return 0


def _export(store: Store, args: argparse.Namespace) -> int:
    from device.store.export_dicom import export_dicom
    from device.store.export_zip import export_zip

    study = database.study(store.connection, args.study)
    leaving: Leaving = export_zip(store, study, args.zip) if args.zip else export_dicom(store, study, args.dicom)
    target = args.zip or args.dicom
    if leaving.damaged:
        named = " ".join(damage.why for damage in leaving.damaged)
        raise Refused(f"{target}: written, but without the damaged pictures: {named}")
    print(f"{target}: {len(leaving.items)} items of study {study.id}. {RESEARCH_NOTICE}")
    return 0


def _verify(store: Store, args: argparse.Namespace) -> int:
    noted = _noted(args.head) if args.head else {}
    found = check(store, noted)
    for sentence in found.wrong:
        print(sentence)
    if found.torn:
        print(f"audit log: {found.torn} bytes of an entry cut off at its end; the next entry sets them aside.")
    print(f"{found.pictures} pictures and {found.entries} audit entries looked at; faults: {len(found.wrong)}.")
    if found.wrong:
        raise Refused(f"{args.store}: not as it was saved: {found.wrong[0]}")
    return 0


def _noted(text: str) -> dict[int, str]:
    n, _, digest = text.partition(":")
    if not n.isdecimal() or len(digest) != 64:
        raise UserError(f"--head {text}: give it as `studies head` prints it, a number, a colon and 64 digits.")
    return {int(n): digest.lower()}


def _head(store: Store, _: argparse.Namespace) -> int:
    chain = verify(store.folder / AUDIT)
    print(f"{chain.last}:{chain.head}")
    return 0


def _delete(store: Store, args: argparse.Namespace) -> int:
    study = database.study(store.connection, args.study)
    if is_open(store, study):
        raise UserError(f"study {study.id}: is still open in the daemon; end it there first.")
    store.delete(study, "asked for")
    store.settle()
    if (store.pictures / study.id).exists():
        raise UserError(f"{store.pictures / study.id}: could not be deleted; delete it as root.")
    print(f"deleted: study {study.id}" + ("" if study.exported else ", which was not exported"))
    return 0


_ACTIONS = {
    "list": (_list, "list the saved studies"),
    "show": (_show, "print a study's rows as JSON"),
    "export": (_export, "write a study as a ZIP file or as DICOM"),
    "verify": (_verify, "check every saved file, the database and the audit log"),
    "head": (_head, "print number and hash of the audit log's last line, to be noted down"),
    "delete": (_delete, "delete a study; the audit log keeps that it was there"),
}
