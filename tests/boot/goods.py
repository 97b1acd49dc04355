"""What the booted machine is given: packages, updates, models, pictures, and programs that play its surroundings."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import updating
import virtual
from debian import TARGET
from packages import NEXT, Packages, later_checkout

from device import __version__
from device.bundle import load_bundle, sign_bundle, write_bundle
from device.capture.pixels import Layout, picture
from device.phantom import CLASSES, make_phantom
from device.preprocess import prepare
from device.region.region import parse
from device.region.screen import LEAST
from device.runtime import open_bundle
from device.shipped import default_bundle

SIZE = (480, 640)  # of the grabber's frames
# Just the model's input: so nothing is resampled, which rounds otherwise on other processors (docs/arm.md).
SIDE = 256  # of the default model's input: nothing is resampled
REGION = f"{SIDE}x{SIDE}+192+112@640x480"
BUILT = 1_700_000_000
UPDATES = ("0.2.0", "0.3.0")
MODELS = ("one", "two")
HERE = Path(__file__).parent
PROGRAMS = ("agent.py", "player.py", "saving.py", "watching.py", "looking.py")


@dataclass(frozen=True)
class Goods:
    """share: the folder that the machine sees as /host. key: the private key of whoever makes models and updates."""

    share: Path
    key: Path
    packages: Packages

    def package(self, later: bool = False) -> str:
        """The .deb of this checkout, or of a later version, as the machine names it."""
        folder = self.share / ("second" if later else "first")
        if not folder.is_dir() and later:
            self.packages.build(TARGET, folder, later_checkout(self.share.parent / "later"))
        elif not folder.is_dir():
            self.packages.build(TARGET, folder)
        (found,) = folder.glob("*.deb")
        assert f"_{NEXT if later else __version__}~" in found.name
        return f"/host/{folder.name}/{found.name}"

    def update(self, version: str) -> str:
        """An update file of this checkout under another version, with the libraries of the package below it.

        So it is the real program, and has the size that an emulated processor unpacks, hashes and compiles in seconds.
        """
        found = list((self.share / "updates").glob(f"busi-kd_{version}_*.update"))
        if not found:
            home = self.share.parent / f"update-{version}"
            site = home / f"lib/python{TARGET.suite.python}/site-packages"
            source = later_checkout(home / "source", version)
            shutil.copytree(source / "device", site / "device", ignore=shutil.ignore_patterns("__pycache__"))
            (site / "libraries.pth").write_text(f"/{TARGET.site}\n")
            (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.11\n")
            made = updating.pack(home, self.share / "updates", TARGET, version, __version__, BUILT, self.key)
            found = [made]
        return f"/host/updates/{found[0].name}"

    def model(self, name: str) -> tuple[str, str]:
        """A bundle of the network that ships under another name, signed: its folder and its id."""
        folder = self.share / "models" / name
        if not folder.is_dir():
            ships = load_bundle(default_bundle())
            write_bundle(folder, ships.model_path, replace(ships.meta, name=f"busi-{name}"))
            sign_bundle(folder, self.key)
        return f"/host/models/{name}", load_bundle(folder).id


def make(folder: Path, key: Path) -> Goods:
    """Lay out what is always needed; packages, updates and models are made when they are asked for."""
    share = folder / "host"
    (share / "updates").mkdir(parents=True)
    (share / "keys").mkdir()
    for name in PROGRAMS:
        shutil.copy(HERE / name, share)
    (share / "phantoms").mkdir()
    for label in CLASSES:
        assert cv2.imwrite(str(share / "phantoms" / f"{label}.png"), make_phantom(label, 4, (384, 512)).image)
    shutil.copy(Path(virtual.HERE) / "grabber.py", share)
    shutil.copy(key.with_name(f"{key.name}.pub"), share / "keys" / "maker.pub")
    return Goods(share, key, Packages(folder / "packages"))


def draw(share: Path, busi: Path | None) -> dict[str, bytes]:
    """Frames of a grabber as JPEG by name, on disk in /host/pictures: phantoms, black, and pictures of BUSI.

    Each is a machine's screen: the picture at the region, a bar of grey beside it.
    """
    shown = {f"phantom-{label}": make_phantom(label, 3, (SIDE, SIDE)).image for label in CLASSES}
    if busi is not None:
        for label in CLASSES:
            for path in sorted(path for path in (busi / label).glob("*.png") if "mask" not in path.name)[:2]:
                grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                name = path.stem.replace(" ", "").replace("(", "-").replace(")", "")
                shown[f"busi-{name}"] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    region, frames = parse(REGION), {}
    (share / "pictures").mkdir(exist_ok=True)
    for name, grey in shown.items():
        screen = np.full(SIZE, 12, np.uint8)
        screen[40:440, 20:60] = 128
        screen[region.y : region.bottom, region.x : region.right] = grey
        frames[name] = screen
    frames["black"] = np.zeros(SIZE, np.uint8)
    coded = {}
    for name, screen in frames.items():
        colour = cv2.cvtColor(screen, cv2.COLOR_GRAY2BGR)  # grabbers send three components, also of grey
        coded[name] = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        (share / "pictures" / f"{name}.jpg").write_bytes(coded[name])
    return coded


def answers(frames: dict[str, bytes]) -> dict[str, np.ndarray]:
    """What this machine's interpreter answers to the same JPEG data: (classes,) int8 by name."""
    ships = load_bundle(default_bundle())
    model, region, found = open_bundle(ships), parse(REGION), {}
    for name, data in frames.items():
        luma = picture(data, Layout("MJPG", *SIZE), LEAST).luma
        assert luma.shape == SIZE, "it was decoded smaller, so the region would be another one"
        part = luma[region.y : region.bottom, region.x : region.right]
        given = prepare(part, ships.meta.preprocess)
        assert np.array_equal(given, part), "the model takes another size, so pixels would be resampled"
        found[name] = model.raw(given).copy()
        assert found[name].dtype == np.int8
    return found
