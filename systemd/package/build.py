"""Builds busi-kd's Debian packages: `make deb`. Two builds of one commit are the same to the byte.

Needs Python 3.11 with pip, and dpkg-deb; no root. Any machine builds for any other: what is compiled comes in wheels.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # busi-kd need not be installed where it is packaged

import archive
import staging
import wheels
from target import ARCHES, ROOT, SUITES, Target

from device.errors import UserError

CACHE = ROOT / ".cache" / "deb"


def main(arguments: list[str] | None = None) -> int:
    """Build what the options ask for, and name each package with its size. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make deb", description=__doc__)
    add = parser.add_argument
    add("--suite", action="append", choices=SUITES, help="of Debian (default: each)")
    add("--arch", action="append", choices=ARCHES, help="processor (default: each)")
    add("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="where the packages go (default: dist)")
    add("--cache", type=Path, default=CACHE, metavar="DIR", help="where wheels are kept (default: .cache/deb)")
    add("--source", type=Path, default=ROOT, metavar="DIR", help="the checkout to be packaged (default: this one)")
    add("--compression", choices=archive.COMPRESSIONS, default="xz", help="none is quick and large (default: xz)")
    add("--update", type=Path, metavar="KEY", help="make update files, signed with this private key, and no packages")
    add("--minimum-version", metavar="V", help="of the package below an update (default: the version itself)")
    args = parser.parse_args(arguments)
    try:
        built = build_date(args.source)
        for suite in args.suite or SUITES:
            for arch in args.arch or ARCHES:
                target = Target(SUITES[suite], ARCHES[arch])
                found = wheels.fetch(target, args.cache)
                with tempfile.TemporaryDirectory(prefix="busi-kd-deb-") as work:
                    if args.update is None:
                        how = (built, args.compression)
                        package = archive.build(target, args.source, found, args.out, Path(work), *how)
                    else:
                        import updating  # it reads bundles: this needs what busi-kd needs, packing does not

                        how = (built, args.update, args.minimum_version or staging.version_of(args.source))
                        package = updating.build(target, args.source, found, args.out, Path(work), *how)
                print(f"{package}: {package.stat().st_size / 1e6:.1f} MB", flush=True)
    except UserError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def build_date(source: Path) -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH where it is set, else the date of the checkout's last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdecimal():
        return int(given)
    command = ["git", "-C", source, "log", "-1", "--format=%ct"]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise UserError(
            f"{source}: git knows no last commit here; set SOURCE_DATE_EPOCH to a date in seconds."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
