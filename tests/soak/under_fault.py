"""The daemon over the faulty camera, as a process: SWITCH PICTURE BUNDLE TIMES ROWS.

TIMES multiplies the silence after which the daemon calls a source hung, stalled or without data.
"""

import sys
from pathlib import Path

from device import daemon, record
from device.bundle import load_bundle
from device.capture import process, pump
from device.notify import Notifier
from device.over_time import OverTime
from device.runtime import open_bundle
from tests.soak.camera import FaultyCamera

if __name__ == "__main__":
    switch, picture, folder, times, rows = sys.argv[1:]
    for module, name in ((process, "HANG_S"), (pump, "NO_DATA_S"), (daemon, "STALL_S")):
        setattr(module, name, float(times) * getattr(module, name))
    bundle, how = load_bundle(Path(folder)), OverTime()
    source = process.ProcessSource(FaultyCamera, switch=switch, picture=picture)
    file = record.open_record(Path(rows), bundle, None, how)
    daemon.Daemon(bundle, open_bundle(bundle), source, Notifier(), file, how=how).run()
