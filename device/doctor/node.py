"""The child that asks a video device: `python -m device.doctor.node /dev/video0`; prints JSON.

Asks only, and starts no stream: a daemon that is reading from the same device is not disturbed (V4L2 API, "Opening and
Closing Devices", kernel.org/doc/html/latest/userspace-api/media/v4l/open.html).
"""

import errno
import json
import os
import sys


def look(path: str) -> dict:
    """What the driver says. {"error": name of the errno} when it cannot be opened or is no V4L2 device.

    capture, streaming: what the node can do. input_status: bits of ENUMINPUT, None where it has no inputs. timings:
    [width, height] of the signal that is there now, the errno's name when there is none, None when the driver cannot
    tell. edid_bytes: what the sender sees, None when the driver has no EDID.
    """
    from linuxpy.ioctl import ioctl
    from linuxpy.video import raw
    from linuxpy.video.device import get_edid, get_input, read_capabilities

    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return {"error": errno.errorcode.get(error.errno, str(error.errno))}
    try:
        try:
            capabilities = read_capabilities(handle)
        except OSError as error:
            return {"error": errno.errorcode.get(error.errno, str(error.errno))}
        can = raw.Capability(
            capabilities.device_caps
            if capabilities.capabilities & raw.Capability.DEVICE_CAPS
            else capabilities.capabilities
        )

        def asked(question):
            try:
                return question()
            except OSError as error:
                return None if error.errno in (errno.ENOTTY, errno.EINVAL) else errno.errorcode.get(error.errno, "?")

        def status() -> int:
            one = raw.v4l2_input()
            one.index = get_input(handle)
            ioctl(handle, raw.IOC.ENUMINPUT, one)
            return one.status

        def timings() -> list[int]:
            found = raw.v4l2_dv_timings()
            ioctl(handle, raw.IOC.QUERY_DV_TIMINGS, found)
            return [found.bt.width, found.bt.height]

        return {
            "driver": capabilities.driver.decode(errors="replace"),
            "card": capabilities.card.decode(errors="replace"),
            "capture": bool(can & (raw.Capability.VIDEO_CAPTURE | raw.Capability.VIDEO_CAPTURE_MPLANE)),
            "streaming": bool(can & raw.Capability.STREAMING),
            "input_status": asked(status),
            "timings": asked(timings),
            "edid_bytes": asked(lambda: len(get_edid(handle))),
        }
    finally:
        os.close(handle)


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1])))
