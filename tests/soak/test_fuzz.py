"""A short run of the fuzzer, and that it would notice."""

import pytest

from tests.soak import fuzz


@pytest.mark.parametrize("name", list(fuzz.TARGETS))
def test_broken_input_is_refused_or_judged(name: str) -> None:
    report = fuzz.fuzz(name, 300)
    assert report["inputs"] >= 300
    assert len(report["outcomes"]) >= 2, "both what is taken and what is refused were drawn"


def test_a_crash_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: bytes, how: tuple) -> bytes:
        if len(how[0]) >= 2:
            raise IndexError("as a reader does that trusts its input")
        return text

    monkeypatch.setattr(fuzz, "_mutated", broken)
    with pytest.raises(IndexError):
        fuzz.fuzz("sessions", 300)


def test_a_hang_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "HANG_S", 0.0)
    with pytest.raises(AssertionError, match="took"):
        fuzz.fuzz("sessions", 5)
