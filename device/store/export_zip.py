"""A study as a ZIP file: pictures, rows, verdicts, audit entries, hashes. The same study gives the same bytes."""

import hashlib
import zipfile
from pathlib import Path

from device import RESEARCH_NOTICE
from device.files import sha256_file
from device.store.database import Study
from device.store.leaving import UNVERIFIED, Leaving, as_json, file_beside, gather, verdict_table
from device.store.store import Store

README = f"""{RESEARCH_NOTICE}
{UNVERIFIED}

One study of busi-kd, saved on the device and exported as it was saved.

study.json    every saved row; null is unknown. Probabilities are calibrated, 0 to 1. "outline", where a row has one:
              polygons of [x, y], shares 0 to 1 of the picture's width and height.
verdicts.csv  the verdicts as a table: "shown" is the one over time that was on the screen, "verdict" that of the frame.
pictures/     the saved pictures, without loss.
audit.jsonl   the lines of the device's audit log about this study, as they stand there.
SHA256SUMS    the hash of every file here.

To verify the files:       sha256sum -c SHA256SUMS
To verify a line of audit.jsonl: "own" is the SHA-256 of the line without the member "own".
"before" is the SHA-256 of the line before it in the device's log, where lines of other studies may stand in between;
study.json names the number and the hash of the last line ("head"). On the device
`busi-kd device studies verify` goes through the whole chain. A hash chain shows what was changed within it; it does not
show that somebody who could write to the device rewrote all of it.

Times are UTC. A device without a battery for its clock may have had a wrong one: "clock_synchronised" says whether the
clock was known to be set (true), known not to be (false) or unknown (null).
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a ZIP can hold; a real time would differ from export to export
_BLOCK = 1 << 20


def export_zip(store: Store, study: Study, path: Path, mark: bool = True) -> Leaving:
    """Write the ZIP whole or not at all, and note in the store that the study was exported, unless it is damaged or
    the caller sees to it (mark false).

    Damaged pictures are left out and named in study.json and in what is returned. Raises UserError when `path` exists
    or the study is open, and OSError when it cannot be written.
    """
    leaving = gather(store, study)
    lines = b"".join(line + b"\n" for line in leaving.audit)
    texts = {
        "README.txt": README.encode(),
        "audit.jsonl": lines,
        "study.json": as_json(leaving.about),
        "verdicts.csv": verdict_table(leaving).encode(),
    }
    damaged = {damage.item.id for damage in leaving.damaged}
    sums = {}
    with file_beside(path) as aside:
        # Nothing is compressed: pictures are already, and the bytes would depend on the library's version.
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
            for name, data in texts.items():
                archive.writestr(_entry(name), data)
                sums[name] = hashlib.sha256(data).hexdigest()
            for item in leaving.items:
                if item.file is not None and item.id not in damaged:
                    name = f"pictures/{Path(item.file).name}"
                    sums[name] = _copy(archive, name, store.pictures / item.file, item.bytes)
            listed = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))
            archive.writestr(_entry("SHA256SUMS"), listed)
        digest = sha256_file(aside)
    if mark and not damaged:
        store.mark_exported(study, "zip", digest)
    return leaving


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, whatever wrote it
    return entry


def _copy(archive: zipfile.ZipFile, name: str, path: Path, size: int) -> str:
    digest, entry = hashlib.sha256(), _entry(name)
    entry.file_size = size
    with open(path, "rb") as source, archive.open(entry, "w") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()
