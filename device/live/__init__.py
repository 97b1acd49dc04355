"""The daemon's Unix socket: what it shows now, its newest picture on request, and a few commands from a person.

The page (device/page) is a process of its own, so that watchers take nothing of the judge's, and what faces a network
has no camera. The socket is served by a thread (server.py) that reads what the judging thread has replaced whole;
commands go to the judging thread through a bounded queue (commands.py) and are answered with what really happened.
"""

from pathlib import Path

SOCKET = Path("/run/busi-kd/live.sock")
