"""An HDMI input, as the kernel's driver vivid plays it: frames are judged, and each fault has its name everywhere."""

import pytest
import service
from booted import Guest

pytestmark = pytest.mark.timeout(1800)
VIVID = "modprobe vivid n_devs=1 input_types=0x3 num_inputs=1"
# dv_timings_signal_mode of vivid (kernel: admin-guide/media/vivid.rst), and what busi-kd calls it.
FAULTS = {"no signal": (1, "no cable"), "no lock": (2, "no sync"), "out of range": (3, "unsupported")}


def control(guest: Guest, **values: int) -> None:
    """Set controls of vivid."""
    guest.well("v4l2-ctl -d /dev/video0 " + " ".join(f"-c {name}={value}" for name, value in values.items()))


def plug_in(guest: Guest) -> None:
    """A scanner of 640 x 480 at the other end of the cable."""
    guest.well(f"{VIVID} && udevadm settle")
    control(guest, dv_timings=0, dv_timings_signal_mode=4, osd_text_mode=2)


@pytest.fixture(scope="module")
def hdmi(guest: Guest) -> Guest:
    """busi-kd reads it."""
    plug_in(guest)
    service.configure(guest, service.HDMI)
    return guest


def test_frames_are_judged(hdmi: Guest) -> None:
    line = service.judging(hdmi)
    said = service.state_of(hdmi, "ok")
    assert "signal=ok" in line
    assert 'source="v4l2 /dev/video0"' in said.journal
    assert any(name.startswith('busi_kd_verdicts_total{verdict="') for name in said.metrics)
    assert said.metrics["busi_kd_frames_judged_total"] > 0
    record = hdmi.well(f"tail -1 {service.RECORD}")
    assert record.split(",")[1].startswith("video0#")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_signal_has_its_name_and_is_recovered_from(hdmi: Guest, fault: str) -> None:
    mode, name = FAULTS[fault]
    control(hdmi, dv_timings_signal_mode=mode)
    said = service.state_of(hdmi, name, "ok")
    assert [state for state in said.metrics if state.startswith("busi_kd_signal")] == [
        f'busi_kd_signal{{state="{name}"}}'
    ]
    assert "busi_kd_shown" not in {metric.partition("{")[0] for metric in said.metrics}, "a verdict without a picture"
    control(hdmi, dv_timings_signal_mode=4)
    service.state_of(hdmi, "ok", name)
    assert "signal=ok" in service.judging(hdmi)


def test_a_grabber_that_goes_away_is_named_and_found_again(hdmi: Guest) -> None:
    hdmi.well("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    said = service.state_of(hdmi, "no device")
    assert "Active: active (running)" in said.status
    hdmi.until("modprobe -r vivid && echo gone", "^gone$")
    plug_in(hdmi)
    service.state_of(hdmi, "ok")
    assert "signal=ok" in service.judging(hdmi)
    assert service.properties(hdmi, "NRestarts") == {"NRestarts": "0"}
