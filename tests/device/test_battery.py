"""Batteries: sysfs made of files, a real UNIX socket in PiSugar's place, and a gauge at the level of the ioctl."""

import ctypes
import errno
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import PATIENCE_S

from device.telemetry import gauge, pisugar
from device.telemetry.battery import Battery, Gauges, from_gauge, from_pisugar, power_supply

UPS = {"type": "Battery", "capacity": "57", "voltage_now": "3812500", "status": "Discharging"}


def supply(root: Path, name: str = "ups", **files: str) -> Path:
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text + "\n")
    return folder


# --- power_supply


def test_a_battery_of_the_kernel(tmp_path: Path) -> None:
    supply(tmp_path, "ac", type="Mains", online="0")
    supply(tmp_path, "mouse", **UPS | {"scope": "Device", "capacity": "3"})
    supply(tmp_path, **UPS, scope="System")
    assert power_supply(tmp_path) == Battery(57.0, 3.8125, False, None, None, "power_supply:ups")


@pytest.mark.parametrize(
    ("files", "watts", "minutes"),
    [
        ({"power_now": "5000000", "energy_now": "10000000"}, 5.0, 120.0),
        ({"current_now": "-1600000", "charge_now": "800000"}, pytest.approx(6.1), 30.0),  # 1.6 A at 3.8125 V
        ({"power_now": "5000000", "energy_now": "10000000", "time_to_empty_avg": "5400"}, 5.0, 90.0),
        ({"power_now": "0", "energy_now": "10000000"}, 0.0, None),
        ({"power_now": "much", "time_to_empty_now": "0"}, None, None),
    ],
)
def test_what_is_drawn_and_how_long_it_lasts(tmp_path: Path, files: dict, watts: float, minutes: float) -> None:
    supply(tmp_path, **UPS | files)
    found = power_supply(tmp_path)
    assert (found.watts, found.minutes_left) == (watts, minutes)
    supply(tmp_path, status="Charging")
    found = power_supply(tmp_path)
    assert (found.charging, found.watts, found.minutes_left) == (True, None, None)


@pytest.mark.parametrize(
    ("status", "charging"), [("Full", True), ("Not charging", False), ("Unknown", None), ("", None)]
)
def test_what_a_status_means(tmp_path: Path, status: str, charging: bool | None) -> None:
    supply(tmp_path, **UPS | {"status": status})
    assert power_supply(tmp_path).charging is charging


@pytest.mark.parametrize("rubbish", ["", "nan", "-1", "101", "full"])
def test_rubbish_is_unknown(tmp_path: Path, rubbish: str) -> None:
    supply(tmp_path, **UPS | {"capacity": rubbish})
    assert power_supply(tmp_path) == Battery(None, 3.8125, False, None, None, "power_supply:ups")


def test_a_battery_that_is_not_there(tmp_path: Path) -> None:
    assert power_supply(tmp_path) is None
    supply(tmp_path, **UPS | {"present": "0"})
    assert power_supply(tmp_path) is None
    supply(tmp_path, "bare", type="Battery")
    assert power_supply(tmp_path) is None


@settings(deadline=None)
@given(st.sampled_from([*UPS, "scope", "present", "power_now", "energy_now"]), st.binary(max_size=40))
def test_no_bytes_raise(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        (supply(Path(root), **UPS) / name).write_bytes(data)
        found = power_supply(Path(root))
        assert found is None or found.percent is None or 0 <= found.percent <= 100


# --- PiSugar


@contextmanager
def server(root: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server at PiSugar's place that serves one client."""
    (root / "tmp").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(root / pisugar.SOCKET))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(10)
        assert not thread.is_alive()


def talking(said: dict[str, str], events: str = "") -> Callable[[socket.socket], None]:
    """Answers each `get NAME` by its line, as the real server does, after what it tells everybody."""

    def answer(client: socket.socket) -> None:
        client.sendall(events.encode())
        with client.makefile("r") as lines:
            for _ in range(5):  # then it closes, so that no client waits for what it does not know
                verb, _, name = lines.readline().strip().partition(" ")
                assert verb == "get"
                client.sendall(f"{name}: {said[name]}\n".encode() if name in said else b"Invalid request.\n")

    return answer


def test_pisugar_is_asked_over_its_socket(tmp_path: Path) -> None:
    said = {"battery": "84.52", "battery_v": "4.1", "battery_i": "0.5", "battery_charging": "false"}
    with server(tmp_path, talking(said | {"battery_power_plugged": "false"}, events="single\nlong\n")):
        found = pisugar.ask(tmp_path / pisugar.SOCKET, PATIENCE_S)
    assert found == said | {"battery_power_plugged": "false"}


def test_a_pisugar_that_does_not_know_all_questions(tmp_path: Path) -> None:
    with server(tmp_path, talking({"battery": "12.5", "battery_v": "3.5", "battery_charging": "false"})):
        found = from_pisugar(tmp_path, PATIENCE_S)
    assert found == Battery(12.5, 3.5, False, None, None, "pisugar")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (b"battery: 50\nbattery_v: 4.0\nbattery_i: 0.5\nbattery_charging: false\n", (50.0, 4.0, False, 2.0)),
        (b"battery: 50\nbattery_v: 4.0\nbattery_i: 0\nbattery_charging: false\n", (50.0, 4.0, False, None)),
        (b"battery: 50\nbattery_charging: false\nbattery_power_plugged: true\n", (50.0, None, True, None)),
        (b"battery: 50\nbattery_charging: false\nbattery_power_plugged: false\n", (50.0, None, False, None)),
        (b"battery: 50\nbattery_charging: maybe\n", (50.0, None, None, None)),
        (b"battery: 50\nbattery: 140\nbattery_v: 4.0", None),  # implausible, and a line without its end
        (b"I2C not connected.\n", None),
        (b"battery_v: 3.9\n", (None, 3.9, None, None)),
        (b"\xff\xfe\n", None),
        (b"", None),
    ],
)
def test_what_pisugars_answers_mean(tmp_path: Path, said: bytes, wanted: tuple | None) -> None:
    def answer(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(said)

    with server(tmp_path, answer):
        found = from_pisugar(tmp_path, PATIENCE_S)
    assert (None if found is None else (found.percent, found.volts, found.charging, found.watts)) == wanted


def test_a_server_that_says_nothing_or_chatters_does_not_hold_up(tmp_path: Path) -> None:
    over = threading.Event()
    with server(tmp_path, lambda client: over.wait(10)):
        assert from_pisugar(tmp_path) is None
        over.set()

    def chatter(client: socket.socket) -> None:
        try:
            while True:
                client.sendall(b"single\n" * 100)
        except OSError:
            return

    (tmp_path / "other").mkdir()
    with server(tmp_path / "other", chatter):
        assert from_pisugar(tmp_path / "other") is None


def test_a_server_that_accepts_nobody_does_not_hold_up(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / pisugar.SOCKET))
        listening.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(str(tmp_path / pisugar.SOCKET))  # the queue of those that wait is full
            assert not pisugar.ask(tmp_path / pisugar.SOCKET), "and it came back at all"
    assert from_pisugar(tmp_path) is None, "a socket that nobody listens at"
    assert pisugar.ask(Path("/nowhere/" + "x" * 200)) is None
    assert pisugar.ask(Path("/nul\0")) is None


@given(st.binary(max_size=200) | st.text("batery_vi:. 0123456789\n").map(str.encode))
def test_no_answer_raises(said: bytes) -> None:
    assert set(pisugar.parse(said)) <= {f"battery{end}" for end in ("", "_v", "_i", "_charging", "_power_plugged")}


# --- MAX17040 family


class Chip:
    """A bus with one chip at `address`, as the kernel's i2c-dev shows it: registers of two bytes, upper one first."""

    def __init__(self, registers: dict[int, bytes], address: int = 0x36, taken: bool = False) -> None:
        self._registers, self._address, self._taken = registers, address, taken
        self._chosen: int | None = None

    def ioctl(self, descriptor: int, request: int, argument: object) -> int:
        assert descriptor >= 0
        if request == 0x0703:  # I2C_SLAVE
            if self._taken:
                raise OSError(errno.EBUSY, "a driver has it")
            self._chosen = argument
            return 0
        assert request == 0x0720  # I2C_SMBUS
        # The kernel's view: struct i2c_smbus_ioctl_data {__u8 read_write; __u8 command; __u32 size; union *data;}
        raw = bytes(argument)
        assert len(raw) == 16 if ctypes.sizeof(ctypes.c_void_p) == 8 else 12
        read_write, register, size = raw[0], raw[1], int.from_bytes(raw[4:8], "little")
        assert (read_write, size) == (1, 3)  # I2C_SMBUS_READ, I2C_SMBUS_WORD_DATA
        if self._chosen != self._address:
            raise OSError(errno.EREMOTEIO, "nobody acknowledges")
        # The first byte on the wire is an SMBus word's lower one.
        word = int.from_bytes(self._registers[register], "little")
        ctypes.c_uint16.from_address(int.from_bytes(raw[8:], "little")).value = word
        return 0


@pytest.mark.parametrize(
    ("vcell", "soc", "wanted"),
    [
        # MAX17040 and 17043: 3000 steps of 1.25 mV = 3.75 V, in the upper 12 bits: 3000 << 4 = 0xBB80.
        (b"\xbb\x80", b"\x64\x00", (100.0, 3.75)),
        # MAX17048: 48000 steps of 78.125 uV = 3.75 V as well, 48000 = 0xBB80; 57 % and 128/256 %.
        (b"\xbb\x80", b"\x39\x80", (57.5, 3.75)),
        (b"\xd2\x00", b"\x65\x40", (100.0, 4.2)),  # 3360 * 1.25 mV; 101.25 %: it may overshoot
        (b"\x9c\x40", b"\x00\x00", (0.0, 3.125)),  # 2500 * 1.25 mV, empty
        (b"\xbb\x80", b"\xff\xff", (None, 3.75)),
        (b"\xff\xff", b"\x39\x80", None),  # 5.12 V: a line that is pulled up
        (b"\x00\x00", b"\x00\x00", None),
        (b"\x80\xbb", b"\x39\x80", (57.5, 32955 * 78.125e-6)),  # 0x80BB = 32955, not 0xBB80: the upper byte first
    ],
)
def test_golden_words_of_the_gauge(tmp_path: Path, vcell: bytes, soc: bytes, wanted: tuple | None) -> None:
    (tmp_path / "bus").touch()
    assert gauge.ask(tmp_path / "bus", Chip({2: vcell, 4: soc}).ioctl) == wanted


def test_another_chip_a_kernel_driver_and_no_bus_are_no_gauge(tmp_path: Path) -> None:
    bus, registers = tmp_path / "bus", {2: b"\xbb\x80", 4: b"\x39\x80"}
    assert gauge.ask(bus, Chip(registers).ioctl) is None
    bus.touch()
    assert gauge.ask(bus, Chip(registers, address=0x48).ioctl) is None
    assert gauge.ask(bus, Chip(registers, taken=True).ioctl) is None
    assert gauge.ask(bus) is None, "the real ioctl on what is no bus"
    (tmp_path / "dev").mkdir()
    (tmp_path / gauge.BUS).touch()
    assert from_gauge(tmp_path) is None


@given(st.integers(0, 0xFFFF))
def test_volts_and_percent_stay_in_their_range(word: int) -> None:
    volts, percent = gauge.volts_of(word), gauge.percent_of(word)
    assert volts is None or 2.5 <= volts <= 5.0
    assert percent is None or 0.0 <= percent <= 100.0


# --- which one counts, and how often it is asked


def test_gauges_are_asked_seldom_and_one_that_vanishes_is_unknown(tmp_path: Path) -> None:
    now = 0.0
    folder = supply(tmp_path, **UPS)
    gauges = Gauges(tmp_path, every_s=10.0, clock=lambda: now)
    assert gauges.sample().percent == 57.0
    supply(tmp_path, capacity="56")
    now = 9.9
    assert gauges.sample().percent == 57.0
    now = 10.0
    assert gauges.sample().percent == 56.0
    for file in folder.iterdir():
        file.unlink()
    now = 20.0
    assert gauges.sample() is None


def test_the_first_gauge_that_answers_counts(tmp_path: Path) -> None:
    first, second = (Battery(p, None, None, None, None, "x") for p in (10.0, 20.0))
    answers = [None, first, second]
    gauges = Gauges(tmp_path, readers=tuple(lambda root, answer=answer: answer for answer in answers))
    assert gauges.sample() is first


def test_this_very_machine() -> None:
    found = Gauges().sample()
    assert found is None or found.source
