"""The daemon's socket: strangers on it do no harm, and judging goes on whatever they do."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from page_served import ROOT, Started, configuration, play

from device.errors import UserError
from device.live.client import Away, Client
from device.live.message import HEAD, encode
from device.live.server import CLIENTS, Live


async def sequence(client: Client) -> int:
    return (await client.ask({"ask": "live"})).said["snapshot"]["sequence"]


async def goes_on(client: Client) -> None:
    """Until another frame was judged."""
    before = await sequence(client)
    while await sequence(client) == before:
        await asyncio.sleep(0.01)


def test_only_its_owner_and_group_may_connect(running) -> None:
    assert stat.S_IMODE((running.folder / "live.sock").stat().st_mode) == 0o660


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), HEAD.pack(2, 0) + b"[]", HEAD.pack(2**31, 0)])
def test_who_speaks_something_else_is_sent_away(running, data: bytes) -> None:
    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(running.folder / "live.sock"))
        writer.write(data)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        client = Client(running.folder / "live.sock")
        await goes_on(client)
        client.close()

    play(scenario)


def test_questions_that_are_none_are_sent_away_and_commands_are_told_why(running) -> None:
    async def scenario() -> None:
        client = Client(running.folder / "live.sock")
        with pytest.raises(Away):
            await client.ask({"ask": "everything"})
        said = await client.command("format")
        assert (said["ok"], said["code"]) == (False, "malformed")
        assert (await client.command("hold", held="yes"))["code"] == "malformed"
        await goes_on(client)
        client.close()

    play(scenario)


def test_a_question_that_is_none_behind_a_command_sends_its_client_away_and_nobody_else(running) -> None:
    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(running.folder / "live.sock"))
        writer.write(encode({"ask": "command", "do": "hold", "held": False}) + encode({"ask": "everything"}))
        assert await reader.read() == encode({"ok": True, "held": False}), "the command is answered, and no more"
        writer.close()
        client = Client(running.folder / "live.sock")
        await goes_on(client)
        client.close()

    play(scenario)


def test_so_many_clients_and_no_more(running) -> None:
    async def scenario() -> None:
        clients = [Client(running.folder / "live.sock") for _ in range(CLIENTS)]
        for client in clients:
            await sequence(client)
        with pytest.raises(Away):
            await sequence(Client(running.folder / "live.sock"))
        clients.pop().close()
        one = Client(running.folder / "live.sock")
        while True:  # until the daemon has heard that one has gone
            try:
                await goes_on(one)
                break
            except Away:
                await asyncio.sleep(0.01)
        for client in (*clients, one):
            client.close()

    play(scenario)


def test_a_client_that_asks_and_does_not_read_holds_nobody_up(running) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
            deaf.connect(str(running.folder / "live.sock"))
            deaf.setblocking(False)
            asked = encode({"ask": "live", "picture": True})
            with suppress(BlockingIOError):  # the daemon stops to read: what waits is bounded
                while True:
                    deaf.send(asked)
            client = Client(running.folder / "live.sock")
            for _ in range(3):
                await goes_on(client)
            client.close()

    play(scenario)


def test_two_daemons_do_not_share_a_socket_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a" / "live.sock"
    first = Live(path, say=lambda _: None)
    first._socket.listen()
    with pytest.raises(UserError, match="another daemon answers there"):
        Live(path, say=lambda _: None)
    first._socket.close()  # as a kill does: its file stays
    assert path.is_socket()
    Live(path, say=lambda _: None).close()
    assert not path.exists()
    with pytest.raises(UserError, match="cannot be made"):
        Live(Path("/proc/none/live.sock"), say=lambda _: None)


def test_a_socket_that_cannot_be_had_is_no_reason_not_to_judge(tmp_path: Path, bundle_dir: Path) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    config.write_text(config.read_text().replace(f"{tmp_path}/live.sock", "/proc/none/live.sock"))
    daemon = Started(config)
    try:
        assert "/proc/none/live.sock: cannot be made" in daemon.wait_for("page: OFF")
        daemon.wait_for(" -> ok")
    finally:
        daemon.end()


def test_without_a_page_there_is_no_socket_and_aiohttp_is_never_imported(tmp_path: Path, bundle_dir: Path) -> None:
    config = configuration(tmp_path, bundle_dir / "int8-full")
    code = "import sys; from device.main import main; main(sys.argv[1:]); print('aiohttp' in sys.modules)"
    run = ["device", "run", "--config", str(config), "--duration", "2"]
    for arguments in (run, ["device", "--help"], ["device", "page", "--help"]):
        wrapped = code if arguments is run else code.replace("main(sys.argv[1:])", "help_of(sys.argv[1:])")
        help_of = "def help_of(a):\n    try: main(a)\n    except SystemExit: pass\n"
        wrapped = wrapped.replace("from device.main import main; ", f"from device.main import main\n{help_of}")
        command = [sys.executable, "-c", wrapped, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=True)
        assert done.stdout.splitlines()[-1] == "False"
    config.write_text(config.read_text().replace("enabled = true\nfolder", "enabled = false\nfolder", 1))
    daemon = Started(config)
    try:
        daemon.wait_for(" -> ok")
        assert not (tmp_path / "live.sock").exists()
    finally:
        daemon.end()
