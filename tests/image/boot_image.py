"""The whole image, built, checked and booted in an emulated machine: `make test-image`. Half an hour, as root.

    python -m tests.image.boot_image [--image IMAGE] [--card-gb 8] [options of systemd/image/make_image.py]

1. The first boot: from the image as it is flashed to a PIN, a language, a verdict and a switched-off machine.
2. The second: everything that was set up is still there.
3. Power is cut five times, three of them while the data partition of a fresh card grows; then a boot must be well.
4. A card whose data partition is destroyed says so, and judges nothing.

Ends with status 1 when something is not as docs/image.md says.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("systemd/image", "systemd/package", "tests/image", "tests/vm", "tests/arm"):
    sys.path.insert(1, str(ROOT / _folder))

import emulator  # noqa: E402
import make_image  # noqa: E402
import partitions  # noqa: E402

BOOT_S = 900.0
# Seconds after a line of the console at which power is cut: in the initramfs, three times while the data partition
# grows, and at work. systemd shortens what it says in the middle.
GROWS = "busi-kd-grow.serv"
CUTS = (("Loading, please wait", 4.0), (GROWS, 0.3), (GROWS, 2.0), (GROWS, 3.5), ("Debian GNU/Linux 12 busi-kd", 20.0))


class Trial:
    """One folder for a card, its host folder and what was seen. wrong: what is not as it should be."""

    def __init__(self, image: Path, layout: partitions.Layout, folder: Path, size: int) -> None:
        self.host = folder / "host"
        (self.host / "out").mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("look.py"), self.host)
        self.card = emulator.insert(image, layout, folder, size)
        self.stick = emulator.a_stick(folder / "stick")
        self.wrong: list[str] = []

    def boot(self, plan: str, more: str = "") -> emulator.Machine:
        """Switch it on, with nothing seen yet."""
        shutil.rmtree(self.host / "out")
        (self.host / "out").mkdir()
        (self.host / "plan").write_text(plan)
        return emulator.switch_on(self.card, self.host, self.stick, more)

    def seen(self, name: str) -> str:
        """What look.py left; empty when it did not come so far."""
        file = self.host / "out" / name
        return file.read_text() if file.is_file() else ""

    def must(self, true: object, what: str) -> None:
        """Note down what is not as it should be."""
        print(f"  {'ok   ' if true else 'WRONG'}  {what}", flush=True)
        if not true:
            self.wrong.append(what)

    def whole_boot(self, plan: str, more: str = "") -> emulator.Machine:
        """A boot that switches itself off; its console is kept."""
        machine = self.boot(plan, more)
        done = machine.off(BOOT_S)
        self.must(done and not self.seen("missed"), f"it came to its end: {self.seen('missed').split()}")
        return machine

    def data_is_sound(self) -> None:
        """By e2fsck, as the initramfs asks it: it replays the journal and mends what it may without asking, such as the
        counters that ext4 writes at an unmount alone (status 1, e2fsck(8)). Then nothing may be left."""
        file = self.card.data()
        mended, looked = (
            subprocess.run(["e2fsck", "-f", how, file], capture_output=True, text=True) for how in ("-p", "-n")
        )
        sound = mended.returncode <= 1 and looked.returncode == 0
        self.must(
            sound, f"e2fsck finds the data partition sound{'' if sound else ': ' + mended.stdout + looked.stdout}"
        )
        file.unlink()


def first(trial: Trial) -> None:
    """The first boot of a card."""
    trial.whole_boot("first")
    must, seen = trial.must, trial.seen
    must("Active: active (running)" in seen("status"), "busi-kd.service and the page run")
    options = dict(line.split()[0::3][:2] for line in seen("mounts").replace("├─", "").replace("└─", "")
                   .replace("│", "").splitlines()[1:] if len(line.split()) == 4)  # fmt: skip
    must(options.get("/", "").split(",")[0] == "ro", "root is mounted read-only")
    must("Read-only file system" in seen("write-root"), "and nobody can write there")
    must(seen("write-as-service").count("denied") == 4, "the service's user cannot write beside its own folder")
    space = {path: int(size) for size, path in re.findall(r"^\S+\s+(\d+)\s.*\s(/\S*)$", seen("space"), re.MULTILINE)}
    must(space.get("/data", 0) > 1e9, f"the data partition has grown to {space.get('/data', 0) / 1e9:.1f} GB")
    answers = [json.loads(line) for line in seen("set-up").splitlines()] + [{}] * 5
    must(answers[0].get("pin_set") is False and answers[0].get("local"), "the page asks for a first PIN")
    must(answers[1].get("role") == "technician", "a PIN is set on the own screen, and signs in")
    must(answers[2].get("language") == "fr", "the language is set")
    must("judged=" in seen("first-verdict"), "it judges phantoms")
    must(re.search(r"^[0-9a-f]{32}$", seen("machine-id"), re.MULTILINE), "it has a machine-id of its own")
    must("pin.json" in seen("keys"), "the page's keys lie on the data partition")
    must("/media/sda" in seen("stick") and "noexec" in seen("stick"), "a memory stick is mounted, without programs")
    must("export" in seen("stick-write") and seen("stick-write").endswith("[0]\n"), "and busi-kd may write there")
    must(not re.search(r":22\s", seen("listening")), "nothing listens for ssh")
    must(seen("failed").splitlines()[1:] == ["[0]"], f"no unit has failed: {seen('failed').split()[3:]}")


def second(trial: Trial, machine_id: str) -> None:
    """What a restart keeps."""
    trial.whole_boot("again", "systemd.debug_shell")
    session = json.loads(trial.seen("session") or "{}")
    trial.must(session.get("pin_set") and session.get("language") == "fr", "PIN and language are still there")
    trial.must(trial.seen("machine-id") == machine_id, "the machine-id is the same")
    trial.must("[0]" in trial.seen("shell"), "with systemd.debug_shell there is a shell on terminal 9")
    boots = len(re.findall(r"^ *-?\d+ [0-9a-f]{32}", trial.seen("journal-boots"), re.MULTILINE))
    trial.must(boots >= 2, f"the journal holds {boots} boots")
    trial.must("judged=" in trial.seen("first-verdict"), "it judges by itself")
    print(f"  first verdict: {trial.seen('first-verdict').splitlines()[1:2]}")


def cut(trial: Trial) -> None:
    """Power goes, again and again."""
    for line, seconds in CUTS:
        machine = trial.boot("wait")
        came = machine.wait_for(line, BOOT_S)
        with machine.said:
            machine.said.wait_for(lambda m=machine: m.process.poll() is not None, seconds)
        machine.cut_power()
        trial.must(came, f"power is cut {seconds:g} s after '{line}', {machine.lines[-1][0]:.0f} s after the start")
    trial.data_is_sound()
    trial.whole_boot("first")
    trial.must("judged=" in trial.seen("first-verdict"), "it judges after all that")
    trial.must("Active: active (running)" in trial.seen("status"), "and everything runs")
    trial.data_is_sound()


def destroyed(trial: Trial) -> None:
    """Nothing is judged on a card that keeps nothing."""
    part = trial.card.layout.of(partitions.DATA)
    with open(trial.card.image, "r+b") as stream:
        stream.seek(part.start)
        stream.write(bytes(part.size))
    machine = trial.boot("again")
    trial.must(machine.wait_for("The data partition of the card cannot be used", BOOT_S), "it says that it cannot")
    machine.cut_power()
    trial.must(not trial.seen("status"), "and starts nothing")


def main() -> int:
    """Run all four parts; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="an image that is there (default: build one)")
    parser.add_argument("--card-gb", type=float, default=8.0, help="of the emulated card (default: 8)")
    parser.add_argument("--keep", type=Path, help="a folder for what was seen")
    args, building = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="busi-kd-booted-") as folder:
        image = args.image
        if image is None:
            if make_image.main([*building, "--compression", "none", "--out", folder]):
                return 1
            image = Path(folder) / make_image.NAME
        size = image.stat().st_size
        layout = partitions.layout(size - partitions.ALIGN - partitions.FIRMWARE_BYTES - partitions.DATA_BYTES)
        wrong = []
        fresh = Trial(image, layout, Path(folder) / "fresh", int(args.card_gb * 1e9) // 512 * 512)
        print("The first boot", flush=True)
        first(fresh)
        _keep(fresh, args.keep, "first")
        fresh.data_is_sound()
        print("The second boot", flush=True)
        second(fresh, fresh.seen("machine-id"))
        _keep(fresh, args.keep, "second")
        wrong += fresh.wrong
        for name, part in (("Power is cut", cut), ("A destroyed data partition", destroyed)):
            print(name, flush=True)
            trial = Trial(image, layout, Path(folder) / part.__name__, int(args.card_gb * 1e9) // 512 * 512)
            part(trial)
            _keep(trial, args.keep, part.__name__)
            trial.card.image.unlink()
            wrong += trial.wrong
    print(f"{len(wrong)} wrong: {'; '.join(wrong)}" if wrong else "All is as it should be.")
    return 1 if wrong else 0


def _keep(trial: Trial, folder: Path | None, name: str) -> None:
    if folder is not None:
        shutil.copytree(trial.host, folder / name, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
