"""Quantities with their units: exact both ways, and never anything but a value or a sentence."""

from decimal import localcontext
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.config.quantity import DURATION, KINDS, RATE, SHARE, SIZE, TEMPERATURE, Kind, WrongQuantity

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (DURATION, "500 ms", 0.5),
        (DURATION, "0.1 ms", 0.0001),
        (DURATION, " 2s ", 2.0),
        (DURATION, "5 min", 300.0),
        (DURATION, "1.5 h", 5400.0),
        (DURATION, "30 days", 2_592_000.0),
        (DURATION, "1 day", 86_400.0),
        (DURATION, "-0 s", 0.0),
        (SIZE, "500 MB", 500_000_000),
        (SIZE, "2 GB", 2_000_000_000),
        (SIZE, "2 GiB", 2_147_483_648),
        (SIZE, "0.5 KiB", 512),
        (TEMPERATURE, "75 C", 75.0),
        (TEMPERATURE, "-5.5 °C", -5.5),
        (RATE, "29.97 fps", 29.97),
        (SHARE, "20 %", 20.0),
        (SHARE, "7%", 7.0),
    ],
)
def test_what_is_written_is_what_is_meant(kind: Kind, text: str, value: float) -> None:
    parsed = kind.parse(text)
    assert (type(parsed), parsed) == (type(value), value)
    assert str(parsed) == str(value)  # 0.0 and not -0.0


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        (DURATION, "500", "has no unit: write it in s, ms, min, h, days, such as '500 ms'"),
        (DURATION, "500 MB", "is a size, where a duration is wanted"),
        (SIZE, "2 s", "is a duration, where a size is wanted"),
        (DURATION, "5 sec", "has the unknown unit 'sec'"),
        (SIZE, "5 Gb", "has the unknown unit 'Gb' (did you mean 'GB'?)"),
        (TEMPERATURE, "75 F", "has the unknown unit 'F'"),
        (DURATION, "0,5 s", "has a comma: write a point"),
        (DURATION, "soon", "is no duration: write a number and its unit"),
        (DURATION, "", "is no duration"),
        (DURATION, "1e3 s", "has the unknown unit 'e3 s'"),
        (DURATION, "nan s", "is no duration"),
        (DURATION, "٣ s", "is no duration"),  # a digit to Unicode, but not of a configuration
        (SIZE, "1.5 B", "is no whole number of B"),
        (SIZE, "0.0001 kB", "is no whole number of B"),
    ],
)
def test_a_wrong_unit_is_told_with_the_right_ones(kind: Kind, text: str, why: str) -> None:
    with pytest.raises(WrongQuantity) as error:
        kind.parse(text)
    assert why in str(error.value)


@BUSY
@given(st.sampled_from(KINDS), st.floats(min_value=-1e30, max_value=1e30))
def test_every_value_reads_back_bit_by_bit(kind: Kind, value: float) -> None:
    number = int(value) if kind.whole else value + 0.0
    text = kind.write(number)
    assert kind.parse(text) == number
    assert "e" not in text.partition(" ")[0]


@BUSY
@given(st.integers(0, 10**18), st.integers(0, 10**9), st.integers(0, 12), st.sampled_from(sorted(DURATION.units)))
def test_a_duration_is_the_nearest_float_to_the_exact_product(whole: int, part: int, zeros: int, unit: str) -> None:
    """Against Fraction, which knows nothing of Decimal."""
    decimals = f"{'0' * zeros}{part}"
    exact = (whole + Fraction(part, 10 ** len(decimals))) * Fraction(DURATION.units[unit])
    assert DURATION.parse(f"{whole}.{decimals} {unit}") == float(exact)


@BUSY
@given(
    st.sampled_from(KINDS), st.text(max_size=40) | st.from_regex(r"[-+]?[0-9.,]{1,9} ?[A-Za-z%°]{0,4}", fullmatch=True)
)
def test_any_text_is_a_value_or_a_sentence(kind: Kind, text: str) -> None:
    with localcontext() as context:  # whatever precision the caller works with
        context.prec = 3
        try:
            value = kind.parse(text)
        except WrongQuantity as error:
            said = str(error)
        else:
            said = ""
            assert kind.parse(kind.write(value)) == value
        assert "\n" not in said


def test_what_is_written_is_short() -> None:
    written = [DURATION.write(v) for v in (0.0, 0.5, 0.25, 2.0, 60.0, 90.0, 5400.0, 2_592_000.0, 0.0001)]
    assert written == ["0 s", "500 ms", "250 ms", "2 s", "1 min", "90 s", "90 min", "30 days", "0.1 ms"]
    assert [SIZE.write(v) for v in (0, 500_000_000, 2**31, 1)] == ["0 B", "500 MB", "2 GiB", "1 B"]
    assert SHARE.write(20.0) == "20 %"
    assert all(kind.units[next(iter(kind.units))] == 1 for kind in KINDS)
