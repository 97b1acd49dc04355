"""Runs in the installed package: imports all that device/ has, and does once what a stripped wheel could break."""

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

import device

assert Path(device.__file__).is_relative_to("/usr/lib/busi-kd"), device.__file__
loaded = []
for found in pkgutil.walk_packages(device.__path__, "device."):
    if not found.name.endswith(("__main__", "capture.child", "doctor.node")):
        importlib.import_module(found.name)
        loaded.append(found.name)

# At start nothing of these is imported; each must be there all the same.
for name in (
    "aiohttp.web",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "highdicom.sr",
    "linuxpy.video.device",
    "paho.mqtt.client",
    "pydicom.uid",
    "prometheus_client",
    "PIL.Image",
):
    importlib.import_module(name)
    assert sys.modules[name].__file__.startswith("/usr/lib/busi-kd"), sys.modules[name].__file__

import cv2  # noqa: E402
import numpy as np  # noqa: E402

picture = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
for kind in (".png", ".jpg", ".bmp"):
    coded = cv2.imencode(kind, picture)[1]
    assert cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).shape == (64, 64)
with tempfile.TemporaryDirectory() as folder:
    writer = cv2.VideoWriter(f"{folder}/clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 64), False)
    for _ in range(3):
        writer.write(picture)
    writer.release()
    assert cv2.VideoCapture(f"{folder}/clip.avi").read()[0]
assert np.linalg.svd(np.eye(4))[1].sum() == 4
assert np.random.default_rng(0).integers(9, size=3).shape == (3,)
assert np.isfinite(np.fft.fft(np.ones(8))).all()
print(
    f"{len(loaded)} modules of device/, Python {sys.version.split()[0]}, numpy {np.__version__}, cv2 {cv2.__version__}"
)
