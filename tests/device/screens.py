"""Screens of ultrasound machines as an HDMI grabber hands them over: drawn layouts round a real or phantom picture.

A layout (`draw_layout(seed)`) says where things stand: menus, patient line, logo, clock, grey bar, depth scale,
thumbnails, and the B-mode picture, a rectangle or a convex sector. A `Screen` plays it: the picture moves and its
speckle changes, the clock runs, everything gets the grabber's noise and goes through real JPEG at quality 80.
Nothing here is any maker's design, and no name is anybody's.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from device.region.region import Region

FPS = 5.0  # of the frames that a Screen gives
QUALITY = 80  # of MJPEG, as cheap grabbers send it
MOTIONS = ("sweep", "held", "frozen")
NAMES = ("MUSTER, ANNA", "DOE JANE", "BEISPIEL-LANG, MARGARETE", "ROE, M", "PROBE BERTA")


@dataclass(frozen=True)
class Layout:
    """Where things stand on one machine's screen; lengths in pixels of the frame. box: x, y, width, height that the
    picture may fill. patient: where the patient's line stands. noise, haze:
    standard deviations in grey levels, of the grabber all over and of the scanner's electronics in the picture."""

    seed: int
    width: int
    height: int
    shape: str  # linear, convex
    background: int
    panel: int
    ink: int
    left: int
    right: int
    top: int
    bottom: int
    box: tuple[int, int, int, int]
    patient: str  # bar, above, menu, corner
    grey_bar: str  # left, right, none
    scale: str  # left, right
    scale_gap: int
    cine: bool
    calipers: bool
    pointer: bool
    noise: float
    haze: float


def draw_layout(seed: int) -> Layout:
    """The layout of that number; the same for the same number."""
    rng = np.random.default_rng([seed, 77])
    width, height = ((1280, 720), (1920, 1080))[int(rng.random() < 0.4)]
    unit = height / 720

    def length(low: float, high: float) -> int:
        return round(rng.uniform(low, high) * unit)

    sides = int(rng.integers(0, 4))  # menus: none, left, right, both
    left = length(130, 230) if sides & 1 else length(10, 60)
    right = length(130, 260) if sides & 2 else length(10, 60)
    top, bottom = length(44, 90), length(24, 90)
    room_w, room_h = width - left - right, height - top - bottom
    box_h = round(room_h * rng.uniform(0.62, 0.95))
    box_w = round(min(room_w - 170 * unit, room_w * rng.uniform(0.7, 0.95)))
    x = left + round((room_w - box_w) * rng.uniform(0.4, 0.6))
    y = top + round((room_h - box_h) * rng.uniform(0.35, 0.95))
    shape = "convex" if rng.random() < 0.3 else "linear"
    background = int(rng.choice([0, 0, 6, 14, 28, 45]))
    places = ["bar", "above", "menu"] + ["corner"] * (shape == "convex")
    return Layout(
        seed=seed,
        width=width,
        height=height,
        shape=shape,
        background=background,
        panel=background + int(rng.integers(0, 50)),
        ink=int(rng.integers(130, 240)),
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        box=(x, y, box_w, box_h),
        patient=str(rng.choice(places)),
        grey_bar=str(rng.choice(["left", "right", "none"])),
        scale=str(rng.choice(["left", "right"])),
        scale_gap=length(2, 16),
        cine=bool(rng.random() < 0.25),
        calipers=bool(rng.random() < 0.25),
        pointer=bool(rng.random() < 0.3),
        noise=float(rng.choice([0.0, 1.0, 2.0])),
        haze=float(rng.choice([0.0, 0.5, 1.2])),
    )


class Screen:
    """One layout with one picture (grey uint8) in it. region: where the picture really is. patient_text, text: (H, W)
    bool, the pixels of the patient's line and of all writing. motion: one of MOTIONS. jpeg: False leaves MJPEG out."""

    def __init__(self, layout: Layout, picture: np.ndarray, motion: str = "sweep", patient: int = 0, jpeg: bool = True):
        self.layout, self.motion, self.jpeg = layout, motion, jpeg
        self._unit = layout.height / 720
        self._rng = np.random.default_rng([layout.seed, 78])
        self._base = np.full((layout.height, layout.width), layout.background, np.uint8)
        self.patient_text, self.text = (np.zeros(self._base.shape, np.uint8) for _ in range(2))
        x, y, width, height = self._place(picture.shape)
        self.region = Region(x, y, width, height, layout.width, layout.height)
        self._picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        rng = np.random.default_rng([layout.seed, 79])
        grain = rng.standard_normal((height + 64, width + 64)).astype(np.float32)
        self._speckle = cv2.GaussianBlur(grain, (0, 0), 1.3 * self._unit)
        self._speckle /= self._speckle.std()
        self._hiss = rng.standard_normal((layout.height + 32, layout.width + 32)).astype(np.float32) * layout.noise
        if layout.shape == "convex":
            self._polar = _sector(width, height)
        self._furniture(patient)
        self.patient_text, self.text = self.patient_text > 0, self.text > 0

    def _place(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """The picture within its box, as wide as its aspect allows, centred and at the top."""
        x, y, width, height = self.layout.box
        aspect = 1.45 if self.layout.shape == "convex" else shape[1] / shape[0]
        wide = min(width, round(height * aspect))
        high = min(height, round(wide / aspect))
        return x + (width - wide) // 2, y, wide, high

    def _write(self, text: str, x: float, y: float, size: float = 0.45, mask: np.ndarray | None = None) -> None:
        for target, ink in ((self._base, self.layout.ink), (self.text, 255), (mask, 255)):
            if target is not None:
                at, scale = (round(x), round(y)), size * self._unit
                cv2.putText(target, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(self._unit)))

    def _furniture(self, patient: int) -> None:
        at, u, ink = self.layout, self._unit, self.layout.ink
        for x, y, right, bottom in (
            (0, 0, at.width, round(36 * u)),
            (0, at.height - round(20 * u), at.width, at.height),
            *([(0, 0, at.left - round(12 * u), at.height)] if at.left > 100 * u else []),
            *([(at.width - at.right + round(12 * u), 0, at.width, at.height)] if at.right > 100 * u else []),
        ):
            cv2.rectangle(self._base, (x, y), (right, bottom), at.panel, -1)
        for x, menu in ((8 * u, at.left), (at.width - at.right + 20 * u, at.right)):
            if menu > 100 * u:
                for line, word in enumerate(
                    ("Gain 62", "Freq 12M", "DR 65", "Persist 2", "Map E", "Focus 1", "THI On")
                ):
                    cv2.rectangle(
                        self._base, _at(x, (60 + 58 * line) * u), _at(x + 100 * u, (98 + 58 * line) * u), 90, 1
                    )
                    self._write(word, x + 8 * u, (84 + 58 * line) * u)
        cv2.ellipse(self._base, _at(30 * u, 18 * u), _at(20 * u, 11 * u), 0, 0, 360, ink, 2)
        self._write("ACME Sono X", 60 * u, 24 * u, 0.5)
        x, y, width, height = self.region.x, self.region.y, self.region.width, self.region.height
        name = f"{NAMES[patient % len(NAMES)]}  {19450213 + 731 * patient}  F"
        places = {
            "bar": (at.width * 0.33, 24 * u),
            "above": (x + 4, y - 5 * u),
            "menu": (6 * u, 52 * u),
            "corner": (x + 2, y + 16 * u),
        }
        self._write(name[: 9 if at.patient == "corner" else None], *places[at.patient], mask=self.patient_text)
        edge = x - at.scale_gap if at.scale == "left" else x + width + at.scale_gap
        outward = -1 if at.scale == "left" else 1
        for tick in range(11):
            long = (8 if tick % 5 else 14) * u
            high = y + tick * (height - 1) / 10
            cv2.line(self._base, _at(edge, high), _at(edge + outward * long, high), ink, 1)
            if tick % 5 == 0:
                self._write(str(tick // 2), edge + outward * 22 * u - 8 * u * (outward < 0), high + 5 * u, 0.4)
        if at.grey_bar != "none":
            bar = x - 62 * u if at.grey_bar == "left" else x + width + 50 * u
            grey = np.linspace(255, 0, max(2, round(height * 0.45))).astype(np.uint8)[:, None]
            top, low = y + round(10 * u), round(bar)
            self._base[top : top + len(grey), low : low + round(12 * u)] = grey
        for line, word in enumerate(("L12-4", "MI 0.9 TIs 0.2", "2D 58%", "D 4.0cm")):
            self._write(word, at.left + 2 * u, at.height - at.bottom - (70 - 18 * line) * u, 0.4)
        self._thumb = (round(at.width - 84 * u), round(at.height - 84 * u), round(76 * u), round(57 * u))
        self._base[self._thumb[1] :, self._thumb[0] :][: self._thumb[3], : self._thumb[2]] = self._small(self._picture)

    def _small(self, picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture, self._thumb[2:], interpolation=cv2.INTER_AREA)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, (H, W) uint8 luma; FPS of them make a second."""
        at, u, seconds = self.layout, self._unit, number / FPS
        screen = self._base.copy()
        scan, inside = self._scan(0 if self.motion == "frozen" else number)
        if at.calipers:
            for dx, dy in ((0.4, 0.45), (0.6, 0.55)):
                cv2.drawMarker(scan, _at(scan.shape[1] * dx, scan.shape[0] * dy), 255, cv2.MARKER_CROSS, 15, 1)
        r = self.region
        place = screen[r.y : r.y + r.height, r.x : r.x + r.width]
        np.copyto(place, scan, where=inside)
        self._text_back(screen)
        if at.cine:
            x, y, width, height = self._thumb
            screen[y : y + height, x : x + width] = self._small(scan)
        clock = f"{10 + int(seconds) // 60}:{34 + int(seconds) % 26:02d}:{int(seconds * 7) % 60:02d}"
        cv2.putText(screen, clock, _at(at.width - 150 * u, 24 * u), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * u, at.ink, 1)
        rate = f"HR {60 + int(seconds * 3) % 25}" if number % 4 else ""
        cv2.putText(screen, rate, _at(at.left + 4 * u, at.top + 14 * u), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * u, at.ink, 1)
        if at.pointer:
            tip = _at(at.width * (0.9 - 0.03 * (number % 9)), at.height * (0.5 + 0.02 * (number % 7)))
            cv2.drawMarker(screen, tip, 255, cv2.MARKER_TRIANGLE_UP, round(14 * u), 2)
        if at.noise:
            dy, dx = number * 7 % 32, number * 13 % 32
            hiss = self._hiss[dy : dy + at.height, dx : dx + at.width]
            screen = np.clip(screen + hiss + 0.5, 0, 255).astype(np.uint8)
        return mjpeg(screen) if self.jpeg else screen

    def _text_back(self, screen: np.ndarray) -> None:
        """The writing stands before the picture, as on machines that draw it last."""
        np.copyto(screen, self._base, where=self.text)

    def _scan(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture of one moment, and where in its rectangle it is."""
        height, width = self._picture.shape
        seconds = number / FPS
        reach = 0.10 if self.motion == "sweep" else 0.004
        across = reach * width * np.sin(2 * np.pi * seconds / 4.3)
        down = 0.15 * reach * height * np.sin(2 * np.pi * seconds / 1.7)
        press = 1 + 0.2 * reach * np.sin(2 * np.pi * seconds / 2.9)
        how = np.float32([[1, 0.1 * reach * np.sin(seconds), across], [0, press, down]])
        moved = cv2.warpAffine(self._picture, how, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        dy, dx = number * 23 % 61, number * 37 % 59
        grain = self._speckle[dy : dy + height, dx : dx + width]
        moved *= 1 + (0.10 if self.motion == "sweep" else 0.06) * grain
        moved += self.layout.haze * self._speckle[dx : dx + height, dy : dy + width]
        scan = np.clip(moved, 0, 255).astype(np.uint8)
        if self.layout.shape == "linear":
            return scan, np.ones(scan.shape, bool)
        across_map, down_map, inside = self._polar
        return cv2.remap(scan, across_map, down_map, cv2.INTER_LINEAR), inside


def _at(x: float, y: float) -> tuple[int, int]:
    return round(x), round(y)


def _sector(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps from a convex sector that fills width x height to the rectangle it shows, and where it is."""
    half = np.deg2rad(33)
    far = width / 2 / np.sin(half)
    near = (far - height) / np.cos(half)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x -= (width - 1) / 2
    y += near * np.cos(half)
    radius, angle = np.hypot(x, y), np.arctan2(x, y)
    inside = (radius >= near) & (radius <= far) & (np.abs(angle) <= half)
    across = (angle / half + 1) / 2 * (width - 1)
    down = (radius - near) / (far - near) * (height - 1)
    return across.astype(np.float32), down.astype(np.float32), inside


def mjpeg(luma: np.ndarray) -> np.ndarray:
    """What is left of a frame after JPEG at QUALITY."""
    data = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
