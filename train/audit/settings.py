"""What an audit was asked to do, and the limits that decide; all of it travels in audit.json."""

from dataclasses import dataclass

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """hamming: pHash distance up to which two pictures count as near-copies (of 64 bits). similarity: verified
    measure from which they do. text: whether to read burned-in text. size_z: robust z-score from which a size is
    unusual.
    """

    hamming: int = 4
    similarity: float = 0.18
    text: bool = True
    size_z: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.hamming <= 16:
            raise ValueError(f"--hamming must lie in 0..16 of 64 bits, not {self.hamming}.")
        if not 0.05 <= self.similarity <= 1:
            raise ValueError(f"--similarity must lie in 0.05..1, not {self.similarity}.")
