"""A small Debian to install a package into: made once by mmdebstrap, kept in `.cache/deb` as a tar file, booted."""

import shutil
import subprocess
from pathlib import Path

from fetching import ROOT, kept, recipe_name, run
from target import Target

from device.errors import UserError

CACHE = ROOT / ".cache" / "deb"
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "shellcheck": "shellcheck",
    "lintian": "lintian",
    "readelf": "binutils",
    "systemd-analyze": "systemd",
}
MEND = "it needs a Debian machine, root, and the package sources that apt knows"
# What the package depends on: the guest has no network. minbase has no systemd, and no udev.
INSIDE = ("systemd-sysv", "udev", "libstdc++6", "dbus")
DATE = 1_700_000_000  # of everything in the tarball, so that two of them can be compared


def program(name: str) -> str:
    """The path of a program of the machine. Raises UserError with the package that has it."""
    found = shutil.which(name)
    if found is None:
        raise UserError(f"{name} is missing; run: apt install {PROGRAMS[name]}")
    return found


def mirror(suite: str) -> str:
    """The line of sources.list for a suite, from the mirror that this machine's apt uses. Raises UserError."""
    listed = run(
        "apt-get", ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"], MEND
    )
    known = dict(reversed(line.split()) for line in reversed(listed.splitlines()) if len(line.split()) == 2)
    own = next((known[name] for name in known if name in ("bookworm", "trixie")), None)
    if own is None:
        raise UserError(f"apt knows no package source of Debian 12 or 13 here (apt-get indextargets); {MEND}.")
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    return f"deb [signed-by={keys}] {own} {suite} main"


def tarball(target: Target) -> Path:
    """The Debian of a target as a tar file, made at the first call (one to two minutes)."""
    make = program("mmdebstrap")

    def build(folder: Path) -> None:
        python = f"python{target.suite.python}"
        command = [make, "--mode=root", "--variant=minbase", f"--architectures={target.arch.name}"]
        command += [f"--include={','.join((python, *INSIDE))}", "--aptopt=Acquire::Languages none"]
        command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc-base")]
        command += [target.suite.name, folder / "root.tar", mirror(target.suite.name)]
        run(f"mmdebstrap, which makes a small {target}", command, MEND)

    folder = kept(CACHE / f"root-{target.suite.name}-{target.arch.name}", recipe_name(Path(__file__)), build)
    return folder / "root.tar"


def unpacked(target: Target, root: Path) -> Path:
    """A fresh copy of it in the new folder `root`."""
    root.mkdir(parents=True)
    run("tar", ["tar", "--extract", "--file", tarball(target), "--directory", root, "--exclude=./dev/*"], MEND)
    return root


UNIT = """\
[Unit]
Description=what the host wants to be done
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /host/guest.sh
StandardOutput=journal
ExecStopPost=systemctl poweroff --no-block
"""


def boot(root: Path, host: Path, within_s: float) -> str:
    """Boot the Debian in `root` with systemd, as it would on a machine, until `host`/guest.sh has ended.

    `host` is its /host. It has no network. Returns what systemd wrote to the console. Raises UserError when it does
    not end in time.
    """
    (root / "etc/systemd/system/what-to-do.service").write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "what-to-do.service").symlink_to("../what-to-do.service")
    for unneeded in ("systemd-firstboot.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"):
        (root / "etc/systemd/system" / unneeded).symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("uninitialized\n")
    (root / "etc/dpkg/dpkg.cfg.d/quick").write_text("force-unsafe-io\n")  # nobody cuts its power
    command = [program("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--directory", root]
    command += ["--private-network", "--console=pipe", f"--bind={host}:/host", "--boot"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=within_s
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")[-2000:]
        raise UserError(
            f"the booted Debian did not end within {within_s:.0f} s; the end of its console: {said}"
        ) from None
    return done.stdout + done.stderr
