"""Runs in the booted machine: has the daemon save pictures and sweeps one after another, and tells each answer.

It speaks the socket's protocol by itself (device/live/message.py), so that it begins at once.
"""

import json
import socket
import struct
import sys

HEAD = struct.Struct(">II")


def main() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.connect("/run/busi-kd/live.sock")
        stream = daemon.makefile("rb")
        for number in range(1000):
            text = json.dumps({"ask": "command", "do": "save" if number % 3 == 0 else "mark"}).encode()
            daemon.sendall(HEAD.pack(len(text), 0) + text)
            length, more = HEAD.unpack(stream.read(HEAD.size))
            sys.stdout.write(stream.read(length).decode() + "\n")
            sys.stdout.flush()
            stream.read(more)


if __name__ == "__main__":
    main()
