"""`busi-kd convert publish BUNDLE --site DIR --key KEY`: put a bundle on an update server, a folder of plain files.

What is written is read by device/fleet/index.py; any static web server serves it (docs/fleet.md).
"""

import argparse
import datetime
import io
import json
import tarfile
from pathlib import Path

from device import RESEARCH_NOTICE, __version__, files, schema, signing
from device.bundle import META_FILE, load_bundle
from device.errors import UserError
from device.fleet import index
from device.fleet.index import Entry, Index


def main(arguments: list[str]) -> int:
    """Publish, and say what is published now; returns 0. Raises UserError for a bundle or folder that is not right."""
    parser = argparse.ArgumentParser(
        prog="busi-kd convert publish", description=f"Put a signed bundle on an update server. {RESEARCH_NOTICE}"
    )
    parser.add_argument("bundle", type=Path, help="bundle folder, signed with the same key")
    parser.add_argument("--site", type=Path, required=True, metavar="DIR", help="the folder that the web server serves")
    parser.add_argument(
        "--key", type=Path, required=True, help="private key from convert keygen; KEY.pub lies beside it"
    )
    parser.add_argument("--percent", type=int, default=100, metavar="N", help="of the units, 0 to 100 (default: 100)")
    oldest = f"of busi-kd that may run it (default: this one, {__version__})"
    parser.add_argument("--minimum-version", default=__version__, metavar="V", help=oldest)
    args = parser.parse_args(arguments)
    made = publish(args.bundle, args.site, args.key, args.percent, args.minimum_version)
    what = f"index {made.sequence}, bundle {made.bundle.id}, {made.percent} % of the units"
    print(f"{args.site / index.INDEX_FILE}: {what}.")
    return 0


def publish(bundle: Path, site: Path, key: Path, percent: int = 100, minimum_version: str = __version__) -> Index:
    """Write the bundle's archive and an index, with the next number, that names it; returns the index.

    The archive stands before the index names it, so that a unit that asks meanwhile gets the old bundle or the new one.
    Raises UserError for a bundle that this key did not sign, and for an index in `site` that this key did not sign.
    """
    public = (key.parent,)
    loaded = load_bundle(bundle, public)
    before = _before(site, public)
    archive = _archive(bundle, [META_FILE, signing.SIGNATURE_FILE, *sorted(loaded.meta.files)])
    path = f"bundles/{loaded.id}.tar"
    files.write_bytes(site / path, archive)
    meta, packed = loaded.meta, files.sha256_file(site / path)
    try:
        entry = Entry(loaded.id, meta.name, meta.variant, meta.created, path, len(archive), packed, minimum_version)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        made = Index(index.SCHEMA_VERSION, index.KIND, RESEARCH_NOTICE, before + 1, now, percent, entry)
    except ValueError as error:
        raise UserError(f"{bundle}: cannot be published: {error}") from error
    written = json.dumps(schema.dump(made), indent=2, ensure_ascii=False).encode() + b"\n"
    files.write_bytes(site / index.SIGNATURE_FILE, signing.signature_of(written, key))
    files.write_bytes(site / index.INDEX_FILE, written)
    return made


def _before(site: Path, public: tuple[Path, ...]) -> int:
    """The number of the index that stands there, 0 where there is none."""
    file = site / index.INDEX_FILE
    if not file.exists():
        return 0
    try:
        return index.read(file.read_bytes(), (site / index.SIGNATURE_FILE).read_bytes(), str(file), public).sequence
    except FileNotFoundError as error:
        raise UserError(f"{site}: has an index without its signature; put {index.SIGNATURE_FILE} back.") from error


def _archive(folder: Path, names: list[str]) -> bytes:
    """A tar archive of the files, the same bytes for the same files: no times, no owners."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            data = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
