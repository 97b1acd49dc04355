"""HDMI grabbers and cameras through V4L2, as they are: unplugged, re-plugged, without a signal, in another mode.

Streaming with mapped buffers; before every dequeue there is a wait with a time-out, because a grabber whose source goes
away mostly just stops. Whatever changes, the answer is a named failure, and opening again is the way back. The calls
are linuxpy's; it is imported when a device is opened. Kernel's documentation: userspace API, Video for Linux.
"""

import contextlib
import errno
import mmap
import os
import select
import time
from pathlib import Path
from typing import Any

from device.capture import Busy, CaptureError, Changed, Frame, NoData, NoDevice, Undecodable, Unsupported
from device.capture.choice import COSTS, RANGES, absence, choose_offer, is_limited
from device.capture.decoder import Decoder
from device.capture.edid import default_edid
from device.capture.find import AUTO, await_end, card, controller, open_device
from device.capture.offers import offers
from device.capture.pace import checked_fps
from device.capture.pixels import Layout
from device.errors import UserError

BUFFERS = 4  # the driver fills some while one is copied out
LEAST = (224, 224)
CHECK_S = 1.0  # how often the input is asked while frames come: without a signal some go on with noise, or blue
_OLDEST_S = 60.0  # a time stamp further back is no time stamp; buffers may lie for a while
_NOT_OFFERED = (errno.ENOTTY, errno.EINVAL, errno.ENODATA)  # how drivers say that they do not know a call


class V4L2Source:
    """A capture device; pixels are luma, (H, W) uint8, 0..255.

    device: /dev/videoN, a path of /dev/v4l/by-id, or `auto`, looked for at every opening. least: (height, width) that
    frames must have at least; MJPEG is decoded no larger than that needs, or whole when `full`. size: (width, height),
    fps and pixel_format (V4L2's four characters) narrow down what is chosen (device.capture.choice). range: `limited`
    when black is 16 and white 235, `full` when 0 and 255, `auto`: as the driver says.
    """

    synthetic = None
    live = True
    skipped = 0

    def __init__(
        self,
        device: str = AUTO,
        least: tuple[int, int] = LEAST,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        pixel_format: str | None = None,
        range: str = "auto",
        full: bool = False,
    ) -> None:
        if range not in RANGES:
            raise UserError(f"the range of a grabber is '{range}': give one of {', '.join(RANGES)}.")
        if pixel_format is not None and pixel_format not in COSTS:
            raise UserError(f"the pixel format is '{pixel_format}': give one of {', '.join(COSTS)}.")
        if fps is not None and checked_fps(fps) == 0:
            raise UserError("--fps is 0, but a grabber has a pace of its own: give 1 or more, or leave it out.")
        self.device, self.description = device, f"v4l2 {device}"
        self.identity = self.description  # once it was open: by the device's own name
        self._decoder: Decoder | None = None  # of the opened device
        self._least, self._size, self._fps = tuple(least), size, fps
        self._pixel_format, self._range, self._full = pixel_format, range, full
        self._sequence = 0
        self._forget()

    @property
    def layout(self) -> Layout | None:
        """What the buffers of the device hold that was opened last; None before the first."""
        return self._decoder and self._decoder.layout

    def _forget(self) -> None:
        self._descriptor: int | None = None
        self._path = ""
        self._controller: Path | None = None
        self._maps: list[mmap.mmap] = []
        self._input: int | None = None
        self._timings: Any | None = None  # v4l2_bt_timings that were set
        self._came: tuple[int, int] | None = None  # size of the first frame
        self._checked = time.monotonic()

    def open(self) -> None:
        """Find the device, take up what its source sends, start to stream. Raises UserError or a CaptureError."""
        self.close()
        self._descriptor, self._path = open_device(self.device)
        self._controller = controller(self._path)
        try:
            self.identity = f"v4l2 {card(self._descriptor)}"
            self._start()
        except OSError as error:
            failure = self._failure(error)
            self.close()
            raise failure from error
        except CaptureError:
            self.close()
            raise

    def _start(self) -> None:
        from linuxpy.video import device as v4l

        fd, kind = self._descriptor, v4l.BufferType.VIDEO_CAPTURE
        with _if_offered():
            self._input = v4l.get_input(fd)
        with _if_offered():  # first of all: what changes from here on is not missed
            v4l.subscribe_event(fd, v4l.EventType.SOURCE_CHANGE, self._input or 0)
        self._show_edid()
        why, timings = self._source_state()
        if why is not None:
            raise why
        if timings is not None:
            v4l.ioctl(fd, v4l.IOC.S_DV_TIMINGS, timings)
            self._timings = timings.bt
        chosen = choose_offer(offers(fd, self._timings), self._least, self._size, self._fps, self._pixel_format)
        pix = v4l.set_format(fd, kind, chosen.width, chosen.height, chosen.pixel_format.ljust(4)).fmt.pix
        name = pix.pixelformat.to_bytes(4, "little").decode("latin-1").rstrip(" \0")
        if name not in COSTS:
            raise Unsupported(f"asked for {chosen.pixel_format}, the device gives {name}")
        limited = is_limited(name, pix.colorspace, pix.quantization, self._range)
        try:
            layout = Layout(name, pix.height, pix.width, pix.bytesperline, limited)
            self._decoder = Decoder(layout, self._least, self._full)
        except ValueError as error:
            raise Unsupported(f"the device's format does not add up: {error}") from error
        if self._timings is None and (self._fps or chosen.fps):
            with _if_offered():
                v4l.set_fps(fd, kind, self._fps or chosen.fps)
        given = v4l.request_buffers(fd, kind, v4l.Memory.MMAP, BUFFERS).count
        for index in range(given):
            told = v4l.query_buffer(fd, kind, v4l.Memory.MMAP, index)
            self._maps.append(mmap.mmap(fd, told.length, offset=told.m.offset))
            v4l.enqueue_buffer(fd, kind, v4l.Memory.MMAP, 0, index)
        v4l.stream_on(fd, kind)

    def _show_edid(self) -> None:
        """Give a bridge that has no EDID the default one; others keep theirs."""
        from linuxpy.video import device as v4l

        with _if_offered():
            held = v4l.raw.v4l2_edid(pad=self._input or 0)
            try:
                v4l.ioctl(self._descriptor, v4l.IOC.G_EDID, held)  # no blocks are asked for: it says how many there are
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
                held.blocks = 0
            if held.blocks == 0:
                v4l.set_edid(self._descriptor, default_edid())

    def _source_state(self) -> tuple[CaptureError | None, Any | None]:
        """Why no frame comes, if the input says so; and the v4l2_dv_timings that it receives, if it has such."""
        from linuxpy.video import device as v4l

        if self._input is None:
            return None, None
        told = v4l.raw.v4l2_input(index=self._input)
        with _if_offered():
            v4l.ioctl(self._descriptor, v4l.IOC.ENUMINPUT, told)
        powered = failed = timings = None
        if told.capabilities & v4l.InputCapabilities.DV_TIMINGS:
            with _if_offered():
                powered = bool(v4l.get_control(self._descriptor, v4l.ControlID.DV_RX_POWER_PRESENT))
            timings, failed = v4l.raw.v4l2_dv_timings(), 0
            try:
                v4l.ioctl(self._descriptor, v4l.IOC.QUERY_DV_TIMINGS, timings)
            except OSError as error:
                if error.errno not in (errno.ENOLINK, errno.ENOLCK, errno.ERANGE, *_NOT_OFFERED):
                    raise
                timings, failed = None, error.errno
        return absence(told.status, failed, powered), timings

    def grab(self, timeout: float) -> Frame:
        """The next frame. Raises Undecodable for a broken one, NoData when none came in time and nothing says why, and
        any other CaptureError when the device has to be opened again."""
        if self._descriptor is None:
            raise NoDevice(f"{self.description} is not open")
        try:
            data, captured, broken = self._take(timeout)
        except OSError as error:
            raise self._failure(error) from error
        if broken:
            raise Undecodable(f"{self._path}: the driver marks the frame as broken")
        if not data:
            raise Undecodable(f"{self._path}: the frame is empty")
        found = self._decoder.picture(data, captured)
        if self._came not in (None, found.size):
            raise Changed(f"frames are {found.size[1]} x {found.size[0]} now, not {self._came[1]} x {self._came[0]}")
        self._came = found.size
        self._sequence += 1
        number = self._sequence - 1
        return Frame(found.luma, number, captured, f"{os.path.basename(self._path)}#{number}", found.places, found.size)

    def _take(self, timeout: float) -> tuple[bytes, float, bool]:
        """A buffer's bytes, time.monotonic() of its picture, and whether the driver calls it broken."""
        from linuxpy.video import device as v4l

        fd, kind = self._descriptor, v4l.BufferType.VIDEO_CAPTURE
        waiting = select.poll()
        waiting.register(fd, select.POLLIN | select.POLLPRI)
        until = time.monotonic() + timeout
        while True:
            found = dict(waiting.poll(max(0.0, until - time.monotonic()) * 1000)).get(fd, 0)
            if not found & select.POLLPRI or found & (select.POLLERR | select.POLLHUP):
                break
            v4l.deque_event(fd)
            if self._timings is None:
                raise Changed("the source has changed its picture")
            if (why := self._lost()) is not None:  # else it has told of what is set already
                raise why
        if found and time.monotonic() - self._checked >= CHECK_S:
            self._checked = time.monotonic()
            if (why := self._lost()) is not None:
                raise why
        if not found:
            raise self._lost() or NoData(f"{self._path}: no frame came, and the device does not say why")
        buffer = v4l.dequeue_buffer(fd, kind, v4l.Memory.MMAP)
        now = time.monotonic()
        # Copied at once: the buffer is the driver's again, and the CPU may have to read its memory without a cache.
        data = self._maps[buffer.index][: buffer.bytesused]
        v4l.enqueue_buffer(fd, kind, v4l.Memory.MMAP, 0, buffer.index)
        captured = now
        if buffer.flags & v4l.BufferFlag.TIMESTAMP_MASK == v4l.BufferFlag.TIMESTAMP_MONOTONIC:
            stamp = buffer.timestamp.secs + buffer.timestamp.usecs * 1e-6
            captured = stamp if now - _OLDEST_S <= stamp <= now else now
        return data, captured, bool(buffer.flags & v4l.BufferFlag.ERROR)

    def _lost(self) -> CaptureError | None:
        """What the input says of a source that has gone, or that sends another picture than the one that was set."""
        why, timings = self._source_state()
        if why is None and timings is not None and self._timings is not None:
            was, now = (self._timings.width, self._timings.height), (timings.bt.width, timings.bt.height)
            if was != now:
                return Changed(f"the source sends {now[0]} x {now[1]} now, not {was[0]} x {was[1]}")
        return why

    def _failure(self, error: OSError) -> CaptureError:
        """What a failed call means."""
        number, said = error.errno, f"{self._path}: {error.strerror or error}"
        if number == errno.EAGAIN:
            return NoData(f"{self._path}: no frame came")
        if number in (errno.ENODEV, errno.ENXIO, errno.ENOENT) or not os.path.exists(self._path):
            await_end(self._controller)  # who is told of it will close the node
            return NoDevice(f"{self._path} is gone")
        if number == errno.EBUSY:
            return Busy(f"{self._path} is held by another program")
        if number == errno.ENOSPC:
            return Busy(f"{self._path}: the USB bus has no room left for its pictures")
        if number == errno.EPIPE:
            return Changed(f"{self._path}: the stream has ended")
        return absence(0, number, None) or CaptureError(said)

    def close(self) -> None:
        """Let go of the device, also of one that is gone."""
        if self._descriptor is None:
            return
        from linuxpy.video import device as v4l

        for mapped in self._maps:
            mapped.close()
        with contextlib.suppress(OSError):
            v4l.stream_off(self._descriptor, v4l.BufferType.VIDEO_CAPTURE)
        os.close(self._descriptor)
        self._forget()


@contextlib.contextmanager
def _if_offered():
    """A call that many drivers do not know: that is no failure."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
