"""What `busi-kd device bench` measured on a real board, joined to the files of a comparison by their SHA-256."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from convert.boards.sent import Measured, Sent
from device.errors import UserError

FOLDER = "board"  # of the files to carry to a board, one per row and variant


@dataclass(frozen=True)
class OnBoard:
    """A file's figures on a board, with `threads` threads. None: the board does not tell.

    p50, p95: ms of an inference; path_p50: with preparing the picture. fps, cpu_ms: pictures a second, and CPU time of
    one, both with preparing it; by cpu_ms goes energy where no gauge tells the watts. cpu_percent: of the process, 100
    = one core. memory_mb: MiB at most. warmer_c: degrees Celsius within a round. held_back: by heat or a weak supply.
    """

    threads: int
    p50: float | None
    p95: float | None
    path_p50: float | None
    fps: float | None
    cpu_percent: float | None
    cpu_ms: float | None
    memory_mb: float | None
    warmer_c: float | None
    held_back: bool | None


def joined(
    path: Path, sent: Sent, digests: Mapping[tuple[str, str], Set[str]], folder: Path
) -> tuple[dict[tuple[str, str], OnBoard], dict[tuple[str, str], str]]:
    """(what was measured, why other files could not be) of a result file, by (row's folder name, variant).

    digests: SHA-256 of every training's file of a row, because which one it is changes no time. Of several thread
    counts the least is taken: all else on the page is of one thread. folder: with the files to measure, for the
    sentence. Raises UserError when the result is of none of these files.
    """
    found, failed = {}, {}
    for key, own in digests.items():
        rows = [row for row in sent.rows if row.model_sha256 in own]
        measured = [row for row in rows if row.error is None]
        if measured:
            found[key] = _figures(min(measured, key=lambda row: row.threads))
        elif rows:
            failed[key] = f"on the board of {path}: {' '.join(rows[0].error.split())}"
    if found or failed:
        return found, failed
    if all(row.model_sha256 is None for row in sent.rows):
        raise UserError(
            f"{path}: was measured by an older busi-kd, which did not say of which files; copy {folder} to the board, "
            f"run busi-kd device bench {FOLDER} --result FILE there with this version, and give that file."
        )
    raise UserError(
        f"{path}: has none of this comparison's files; copy {folder} to the board, run busi-kd device bench {FOLDER} "
        "--result FILE there, and give that file."
    )


def _figures(row: Measured) -> OnBoard:
    return OnBoard(
        threads=row.threads,
        p50=row.model_p50,
        p95=row.model_p95,
        path_p50=row.path_p50,
        fps=row.fps,
        cpu_percent=row.cpu_percent,
        cpu_ms=10 * row.cpu_percent / row.fps if row.cpu_percent is not None and row.fps else None,
        memory_mb=row.memory_mb,
        warmer_c=row.warmer_c,
        held_back=None if row.valid is None else not row.valid,
    )
