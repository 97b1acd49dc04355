"""The whole audit: read, look, relate, flag, draw, write."""

import os
import sys
import time
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from train import outputs
from train.audit import pages, report
from train.audit.flags import flag_all
from train.audit.folder import Folder, read_folder
from train.audit.look import Look, look
from train.audit.relate import relate
from train.audit.reviewed import Review
from train.audit.settings import Settings

MARK, WHAT = "audit.json", "audit"


def audit(folder: Path, settings: Settings, reviews: list[Review], jobs: int | None = None) -> report.Audit:
    """Audit a data folder; writes nothing. jobs: processes, one per core by default. Shows a progress bar on stderr.

    Raises UserError as read_folder and look do.
    """
    data = read_folder(folder)
    jobs = jobs or len(os.sched_getaffinity(0))
    started = time.monotonic()
    # Without a terminal a bar would fill the log with control characters: one line every ten seconds is enough.
    quiet = {} if sys.stderr.isatty() else {"mininterval": 10, "ascii": True, "ncols": 80}
    with tqdm(total=len(data.pictures), desc="pictures", unit="", file=sys.stderr, **quiet) as bar:
        looks = look_at_all(data, settings.text, jobs, bar.update)
    with tqdm(desc="pairs", unit="", file=sys.stderr, **quiet) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        relations = relate(data.pictures, looks, reviews, settings, jobs, progress)
    flags = flag_all(data.pictures, looks, settings.size_z)
    return report.Audit(data, settings, looks, relations, flags, time.monotonic() - started, jobs)


def look_at_all(data: Folder, text: bool, jobs: int, progress) -> list[Look]:
    """`look` at every picture, in parallel processes of one thread each; in the order of `data.pictures`."""
    looks = []
    work = (delayed(look)(picture, text) for picture in data.pictures)
    for one in Parallel(n_jobs=jobs, return_as="generator", batch_size=8)(work):
        looks.append(one)
        progress(1)
    return looks


def write_audit(done: report.Audit, out: Path) -> None:
    """Write the folder `out` whole or not at all. Raises UserError as check_target does."""
    with outputs.whole_folder(out, MARK, WHAT) as (aside, content):
        (aside / "sheets").mkdir()
        content |= report.write(aside, done, pages.draw_all(aside / "sheets", done))


def check_target(out: Path) -> None:
    """Raises UserError when `out` stands there and holds anything but an earlier audit (an empty folder may go)."""
    outputs.check_replaceable(out, MARK, WHAT)
