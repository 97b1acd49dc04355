"""What each network of a study costs: parameters, size, multiply-adds. Nothing is trained, and no memory is taken."""

from dataclasses import dataclass

import torch

from device.errors import UserError
from train.networks.backbone import mebibytes
from train.networks.cost import cost
from train.segmentation.networks.make import make
from train.segmentation.study import SegStudy


@dataclass(frozen=True)
class Cost:
    """One network: parameters, MiB in float32, and multiply-adds of one picture of height x width."""

    row: str
    size: tuple[int, int]
    parameters: int
    mebibytes: float
    multiply_adds: int


def costs(study: SegStudy, size: tuple[int, int] | None = None) -> list[Cost]:
    """A Cost per network of the study, under the first row that has it, at the row's own input size or at `size`
    (height, width). Raises UserError as `make`."""
    found, seen = [], set()
    for row in study.rows:
        own = size or (row.recipe.preprocess.height, row.recipe.preprocess.width)
        if (row.recipe.network, own) in seen:
            continue
        seen.add((row.recipe.network, own))
        try:
            with torch.device("meta"):
                network = make(row.recipe.network, own, None, fresh=True)
        except UserError as error:
            raise UserError(f"row {row.name!r}: {error}") from error
        parameters, multiply_adds = cost(network, own)
        found.append(Cost(row.name, own, parameters, mebibytes(network), multiply_adds))
    return found


def table(found: list[Cost]) -> str:
    """Markdown. GFLOPs count a multiplication and an addition as two."""
    lines = ["| row | input | parameters | MiB, float32 | GMAC | GFLOPs |", "|---|---|---|---|---|---|"]
    for one in found:
        gigas = one.multiply_adds / 1e9
        lines.append(
            f"| {one.row} | {one.size[0]} x {one.size[1]} | {one.parameters:,} | {one.mebibytes:.2f} | {gigas:.3f} | "
            f"{2 * gigas:.3f} |"
        )
    return "\n".join(lines)
