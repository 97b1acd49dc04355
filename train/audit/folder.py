"""Reader for any folder-per-class data set: each sub-folder that holds pictures is a class."""

from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from device.preprocess import pictured_stem
from train.data.busi import OFFICIAL_FOLDER, Picture, check_names, fingerprint, natural

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Folder:
    """The pictures of a data set, sorted by class and number; decodes nothing.

    classes: names of the sub-folders with pictures, sorted. orphans: masks without a picture. fingerprint: SHA-256
    over names and bytes, for a BUSI folder the same as that of `train.data.busi.read_dataset`.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    orphans: tuple[Path, ...]
    fingerprint: str

    def counts(self) -> dict[str, int]:
        """Number of pictures per class."""
        return {label: sum(picture.label == label for picture in self.pictures) for label in self.classes}


def read_folder(folder: Path) -> Folder:
    """List a folder-per-class data set (or the folder that holds `Dataset_BUSI_with_GT`).

    `x_mask.png`, `x_mask_1.png` ... are masks of the picture `x`, whatever its suffix; hidden files and folders are no
    pictures. A sub-folder without a picture and without folders of its own is taken for a class that lost its pictures.
    Raises UserError: no such folder, no sub-folder with pictures, an empty sub-folder, two pictures of one name.
    """
    root = Path(folder)
    if (root / OFFICIAL_FOLDER).is_dir():
        root = root / OFFICIAL_FOLDER
    if not root.is_dir():
        raise UserError(f"{folder}: no such data folder; give a folder that holds one folder of pictures per class.")
    pictures: list[Picture] = []
    orphans: list[Path] = []
    try:
        for inner in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != "."):
            found, lost = _read_class(inner)
            pictures += found
            orphans += lost
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check the folder.") from error
    if not pictures:
        raise UserError(
            f"{root}: no sub-folder with pictures ({', '.join(SUFFIXES)}); give a folder that holds one folder of "
            "pictures per class."
        )
    check_names(pictures)
    classes = tuple(sorted({picture.label for picture in pictures}))
    name = "BUSI" if root.name == OFFICIAL_FOLDER else root.resolve().name
    return Folder(root, name, classes, tuple(pictures), tuple(orphans), fingerprint(pictures))


def _read_class(folder: Path) -> tuple[list[Picture], list[Path]]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    masks: dict[str, list[Path]] = {}
    shown = []
    for path in sorted((path for path in files if not path.is_dir()), key=lambda path: natural(path.name)):
        stem = pictured_stem(path.name)
        if stem is None:
            shown.append(path)
        else:
            masks.setdefault(stem, []).append(path)
    if not shown and not any(path.is_dir() for path in folder.iterdir()):
        raise UserError(f"{folder}: a class folder without pictures; restore them or remove the folder.")
    stems = {path.stem for path in shown}
    orphans = [path for stem, found in masks.items() if stem not in stems for path in found]
    return [Picture(path.name, path, folder.name, tuple(masks.get(path.stem, ()))) for path in shown], orphans
