"""What races: one network, and the pictures that its answers are compared on."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from device import files, schema
from device.bundle import load_bundle
from device.errors import UserError
from device.phantom import CLASSES, make_phantom
from device.preprocess import Preprocess, prepare
from train import runs
from train.networks.backbone import Luma, build
from train.recipe import ConvertRecipe, NetworkRecipe

PICTURES, CALIBRATION = 24, 60  # phantoms, evenly of each class; none is in both
_SIZE = (384, 512)
_FIRST_WEIGHTS_SEED = 0


@dataclass(frozen=True)
class Subject:
    """name: for the table. network: in eval mode. identity: changes with its weights. convert: how its files are
    made."""

    name: str
    network: Luma
    preprocess: Preprocess
    identity: str
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)


def phantoms(count: int, preprocess: Preprocess, first: int = 0) -> np.ndarray:
    """(count, H, W) uint8 luma as the device prepares it, of phantoms with the seeds from `first` on."""
    kinds = len(CLASSES)
    drawn = [make_phantom(CLASSES[n % kinds], first + n // kinds, _SIZE).image for n in range(count)]
    return np.stack([prepare(one, preprocess) for one in drawn])


def pictures(preprocess: Preprocess) -> np.ndarray:
    """The pictures that all competitors answer."""
    return phantoms(PICTURES, preprocess)


def calibration(preprocess: Preprocess) -> np.ndarray:
    """Those that fix int8 ranges, where no bundle is raced; with the whole range of luma, as convert.calibration has
    it."""
    lumas = phantoms(CALIBRATION, preprocess, first=1000)
    lumas[0].flat[0], lumas[0].flat[1] = 0, 255
    return lumas


def trained(folder: Path) -> Subject:
    """A student's run folder. Raises UserError when it is none."""
    run = runs.load_run(folder, "student")
    recipe = run.meta.recipe
    name = f"{recipe.student.network.name} with {recipe.student.network.activation} activations, trained"
    return Subject(name, run.network.eval(), recipe.preprocess, run.meta.weights_sha256, recipe.convert)


def from_first_weights(name: str, size: int = 224) -> Subject:
    """A timm network as it is published, with random weights of a fixed seed; for times these are as good as others.

    The statistics of its BatchNorms are those of phantoms, or its answers would hardly depend on the picture.
    Raises UserError when timm has none of that name.
    """
    preprocess = Preprocess(size, size)
    with torch.random.fork_rng():
        torch.manual_seed(_FIRST_WEIGHTS_SEED)
        network = build(NetworkRecipe(name, "random"), (size, size), None, len(CLASSES))
    settle(network, calibration(preprocess))
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in network.state_dict().values()))
    return Subject(f"{name} as published, first weights", network, preprocess, digest.hexdigest())


def settle(network: nn.Module, lumas: np.ndarray) -> None:
    """Give the BatchNorms the statistics of (N, H, W) uint8 luma, in place; in eval mode afterwards."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all that is seen
    network.train()
    with torch.no_grad():
        for part in np.array_split(lumas, max(1, len(lumas) // 20)):
            network(torch.from_numpy(part[:, None]).float())
    for layer, momentum in zip(norms, usual, strict=True):
        layer.momentum = momentum
    network.eval()


def save(subject: Subject, folder: Path) -> None:
    """What the makers of files need, into `folder`."""
    torch.save(subject, folder / "subject.pt")
    np.save(folder / "calibration.npy", calibration(subject.preprocess))
    np.save(folder / "pictures.npy", pictures(subject.preprocess))


def load(folder: Path) -> tuple[Subject, np.ndarray]:
    """What `save` has written, and the calibration lumas."""
    return torch.load(folder / "subject.pt", weights_only=False), np.load(folder / "calibration.npy")  # our own file


def identity(subject: Subject, bundle: Path | None) -> str:
    """Changes when files that were made of them do no longer fit."""
    model = "" if bundle is None else files.sha256_file(bundle / "model.tflite")
    how = "" if subject.convert == ConvertRecipe() else json.dumps(schema.dump(subject.convert), sort_keys=True)
    return hashlib.sha256(f"{subject.identity} {model}{how}".encode()).hexdigest()


def folder_for(folder: Path, raced: Subject, bundle: Path | None) -> Path:
    """The folder of the engines' files; those of another network or bundle are thrown away.

    Raises UserError when it is there and is no such folder, or when the bundle does not load.
    """
    wanted = {"identity": identity(raced, bundle)}
    stamp = folder / "identity.json"
    if not stamp.is_file() or json.loads(stamp.read_text()) != wanted:
        if folder.exists() and not stamp.is_file() and any(folder.iterdir()):
            raise UserError(f"{folder}: is there and holds no earlier race; choose another --out.")
        with files.folder_beside(folder) as aside:
            save(raced, aside)
            if bundle is not None:
                (aside / "int8-full.tflite").write_bytes(load_bundle(bundle).model_path.read_bytes())
            files.write_json(aside / stamp.name, wanted)
            files.replace_folder(aside, folder)
    return folder
