"""Runs in the booted machine: plays a USB HDMI grabber (grabber.py, of tests/vm), as lines in /run/player tell it.

plug NAME..., show NAME...: pictures of /host/pictures in turn; silent; unplug.
"""

import os
from pathlib import Path

from grabber import Grabber

TOLD = "/run/player"


def main() -> None:
    device = None
    os.mkfifo(TOLD)
    while True:
        with open(TOLD) as lines:
            for line in lines:
                word, *names = line.split()
                frames = [Path(f"/host/pictures/{name}.jpg").read_bytes() for name in names]
                if word == "plug":
                    device = Grabber(frames)
                elif word == "unplug":
                    device.unplug()
                else:
                    device.frames = frames or None
                print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
