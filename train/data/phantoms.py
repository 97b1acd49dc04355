"""A data set of synthetic phantoms in the official BUSI layout, so that every tool reads it like real pictures."""

from pathlib import Path

import numpy as np

from device import files, phantom, schema
from device.errors import UserError
from train.data.busi import CLASSES, MARKER, Marker, write_picture


def write_phantoms(folder: Path, per_class: int, seed: int, size: tuple[int, int] = (384, 512)) -> None:
    """Write `per_class` phantoms of each class with masks under `folder`, which must not exist yet.

    size: (height, width) in pixels. The folder appears only when it is complete. Raises UserError when it exists,
    `per_class` is not positive or `seed` is negative.
    """
    folder = Path(folder)
    if per_class < 1:
        raise UserError(f"--per-class must be 1 or more, not {per_class}.")
    if seed < 0:
        raise UserError(f"--seed must be 0 or more, not {seed}.")
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another folder or remove it.")
    with files.folder_beside(folder) as aside:
        for c, label in enumerate(CLASSES):
            # Entangled seeds would make picture n of two classes share its tissue.
            seeds = np.random.SeedSequence([seed, c]).generate_state(per_class)
            for n, one in enumerate(seeds, start=1):
                made = phantom.make_phantom(label, int(one), size)
                write_picture(aside / label / f"{label} ({n}).png", made.image)
                write_picture(aside / label / f"{label} ({n})_mask.png", made.mask.astype(np.uint8) * 255)
        about = {"note": phantom.SYNTHETIC_NOTE, "per_class": per_class, "seed": seed, "size": size}
        files.write_json(aside / MARKER, schema.dump(Marker("phantoms", synthetic=True, about=about)))
        files.replace_folder(aside, folder)
