"""The daemon over the faulty camera, as a process: SWITCH PICTURE BUNDLE ROWS."""

import sys
from pathlib import Path

from device import record
from device.bundle import load_bundle
from device.capture.process import ProcessSource
from device.daemon import Daemon
from device.notify import Notifier
from device.over_time import OverTime
from device.runtime import open_bundle
from tests.soak.camera import FaultyCamera

if __name__ == "__main__":
    switch, picture, folder, rows = sys.argv[1:]
    bundle, how = load_bundle(Path(folder)), OverTime()
    source = ProcessSource(FaultyCamera, switch=switch, picture=picture)
    file = record.open_record(Path(rows), bundle, None, how)
    Daemon(bundle, open_bundle(bundle), source, Notifier(), file, how=how).run()
