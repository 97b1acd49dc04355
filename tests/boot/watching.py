"""Runs in the booted machine: watching.py FOLDER COMMAND...: does the command, and tells each change in the folder.

A change is a name that comes or goes, in the folder or as `whole` one deeper, or another target of a link. The last
line is `ended STATUS`.
"""

import os
import subprocess
import sys
import time


def seen(folder: str) -> set[str]:
    found = set()
    try:
        for entry in os.scandir(folder):
            target = f" -> {os.readlink(entry.path)}" if entry.is_symlink() else ""
            found.add(entry.name + target)
            if not target and os.path.exists(os.path.join(entry.path, "whole")):
                found.add(f"{entry.name}/whole")
    except FileNotFoundError:  # it, or a link in it, has just gone
        return found
    return found


def main() -> None:
    folder, *command = sys.argv[1:]
    before, process = seen(folder), subprocess.Popen(command)
    while True:
        ended = process.poll()
        now = seen(folder)
        if now != before:
            print("changed", *sorted(now ^ before), flush=True)
            before = now
        if ended is not None:
            print(f"ended {ended}", flush=True)
            return
        time.sleep(0.01)


if __name__ == "__main__":
    main()
