"""The conversion: student run -> ONNX -> four TFLite variants -> verified bundles, or a refusal that says why."""

import datetime
import importlib.metadata
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from convert import calibration, export, report, tflite, two_heads
from convert.familiar import familiar
from convert.int8_network import how_of, write_float_onnx, write_int8_onnx
from convert.report_masks import FileMasks
from convert.verify import gates
from convert.verify.examine import Hard, Result, examine
from convert.verify.hard_frames import hard_frames
from convert.verify.held_out import HeldOut, Limits, limits
from convert.verify.masks import THRESHOLD, MaskParity, Outlined, compare_masks, outlined, run_masks
from convert.verify.parity import Parity, compare
from convert.verify.structure import structure_reasons
from device import bundle as bundles
from device import files, selftest
from device.bundle import Variant
from device.bundle_parts import cut_of
from device.decide import decide
from device.errors import Refused, UserError
from device.familiar import Familiar
from device.runtime import Model
from train import fit, runs
from train.data.busi import CLASSES, DataSet, load_lumas
from train.data.split_file import FILE, write_split
from train.data.splits import Split
from train.data.torch_data import targets_of
from train.evaluation.metrics import measure, measure_verdicts
from train.evaluation.models import candidate, run_model, split_of
from train.recipe import ConvertRecipe
from train.studies.operating_file import Derived, read_derived

FLOAT_ONNX, INT8_ONNX = "student.onnx", "student-int8.onnx"


@dataclass(frozen=True)
class Subject:
    """What is converted, and what its files are held against.

    theirs: the PyTorch student's own way to a verdict. familiar: what the training pictures are like, for the bundles.
    outlined: what the network outlines in the held-out pictures, and trained_on: whose outlines it has learnt; None of
    one without a mask head. name: of the bundles, None for DATA-RECIPE.
    """

    run: runs.Run
    recipe: ConvertRecipe
    held_out: HeldOut
    hard: Hard
    derived: Derived | None
    theirs: Limits
    familiar: Familiar | None = None
    outlined: Outlined | None = None
    trained_on: str | None = None
    name: str | None = None


def convert(
    student: Path,
    data: DataSet,
    split_path: Path | None,
    out: Path,
    recipe: ConvertRecipe | None,
    wanted: list[Variant] | None = None,
    operating: Path | None = None,
    name: str | None = None,
) -> Path:
    """Convert a finished student run, or a segmentation run with two heads; `out` becomes a folder with one bundle per
    wanted variant and the report.

    wanted: default the recipe's variants. name: of the bundles, default the data's and the recipe's.

    operating: operating_point.json of a study, whose threshold and abstention limit the bundles get instead of those
    that the validation part alone would give. The temperature is always fitted on each file's own outputs.

    Raises Refused when a gate fails: `out` is then left as it was and the report lies in `out`.refused. Raises
    UserError when student and data do not belong together, a converter fails, or `out` holds something that no
    conversion wrote.
    """
    out = Path(out).absolute()
    refused = out.with_name(out.name + ".refused")
    for folder in (out, refused):
        _check_replaceable(folder)
    run = two_heads.load(student, data)
    split = split_of(candidate(run), data, file=split_path)
    derived = read_derived(operating, two_heads.trained(run)) if operating else None
    subject = subject_of(run, split, recipe or run.meta.recipe.convert, derived)
    wanted = list(subject.recipe.variants) if wanted is None else wanted
    subject = replace(subject, familiar=familiar(split, run.meta.recipe), name=name)
    with files.folder_beside(out) as aside:
        log = _free(out.with_name(out.name + ".converter.log"))
        content = _convert_into(aside, subject, split, wanted, log)
        log.unlink(missing_ok=True)  # a failed converter leaves it
        write_split(aside / FILE, split, data)  # so that the bundles can be evaluated without the run folder
        report.write(aside, run, subject.recipe, content, subject.held_out, subject.outlined)
        if content.reasons:
            for variant in wanted:
                shutil.rmtree(aside / variant, ignore_errors=True)
            files.replace_folder(aside, refused)
            raise Refused(f"no bundle was written: {' '.join(content.reasons)} The report is {refused / 'report.md'}.")
        files.replace_folder(aside, out)
    shutil.rmtree(refused, ignore_errors=True)
    return out


def _free(path: Path) -> Path:
    """`path`, or with a number where that is taken: nobody else's file is written over."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def _check_replaceable(folder: Path) -> None:
    """Only an earlier conversion may be replaced: `--out runs` for `--out runs/bundles` must not cost the trainings."""
    if folder.exists() and not (folder / report.FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there and holds no earlier conversion; choose another --out.")


def subject_of(run: runs.Run, split: Split, recipe: ConvertRecipe, derived: Derived | None) -> Subject:
    """The student with its answers to the held-out pictures and the hard frames."""
    preprocess, pictures = run.meta.recipe.preprocess, split.val + split.test
    lumas = load_lumas(pictures, preprocess)
    reference = fit.predict(run.network, lumas)
    names = [picture.name for picture in pictures]
    groups = split.groups(pictures)
    held_out = HeldOut(names, lumas, targets_of(pictures), groups, reference, len(split.val))
    frames, shown = hard_frames(preprocess)
    hard = Hard(frames, shown, fit.predict(run.network, shown))
    masks = about = None
    if isinstance(run.network, two_heads.ClassOutput):
        about = two_heads.trained_on(run.segmentation, split.train)
        learnt = run.segmentation.recipe.outlined
        masks = outlined(run.network.both, pictures, lumas, groups, len(split.val), preprocess, learnt)
    found = limits(reference, held_out, recipe, derived)
    return Subject(run, recipe, held_out, hard, derived, found, outlined=masks, trained_on=about)


def _convert_into(folder: Path, subject: Subject, split: Split, wanted: list[Variant], log: Path) -> report.Content:
    recipe, meta = subject.recipe, subject.run.meta
    first, second = calibration.draw(split.train, meta.recipe.preprocess, recipe.calibration_pictures, meta.recipe.seed)
    rows, centre = _export(folder, subject, wanted, first.lumas)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        stacks = []
        for number, drawn in enumerate([first] if second is None else [first, second]):
            stacks.append(str(Path(work) / f"calibration-{number}.npy"))
            np.save(stacks[-1], drawn.lumas)
        onnx_files = [str(folder / name) for name in (FLOAT_ONNX, INT8_ONNX)]
        job = tflite.Job(*onnx_files, centre, tuple(stacks), how_of(recipe))
        made = tflite.write_variants(job, Path(work) / "tflite", wanted, log)
        masks: list[FileMasks] = []
        for variant in wanted:
            rows.append(_bundle(folder / variant, variant, made[variant], subject, first, masks))
        again = _again(made, subject.held_out) if tflite.AGAIN in made else None
        noise = Path(work) / "tflite" / tflite.NOISE
        layers = json.loads(noise.read_text()) if noise.is_file() else []
    reasons = [reason for row in rows for reason in row.reasons]
    too_few = gates.calibration_reason(again, len(first.lumas), recipe) if again else None
    return report.Content(rows, reasons + ([too_few] if too_few else []), again, layers, first.manifest, masks)


def _export(folder: Path, subject: Subject, wanted: list[Variant], lumas: np.ndarray) -> tuple[list[Result], int]:
    """(the rows of the ONNX files that the wanted variants are made from, the int8 network's centre).

    lumas: of the calibration pictures.
    """
    rows, centre, run, recipe = [], 0, subject.run, subject.recipe
    if set(wanted) - {"int8-full"}:
        write_float_onnx(run.network, run.meta.recipe.preprocess, folder / FLOAT_ONNX)
        rows.append(_examine_onnx("onnx", folder / FLOAT_ONNX, 0, subject))
    if "int8-full" in wanted:
        centre = write_int8_onnx(run.network, recipe, run.meta.recipe.preprocess, lumas, folder / INT8_ONNX)
        rows.append(_examine_onnx("onnx-int8", folder / INT8_ONNX, centre, subject))
    return rows, centre


def _examine_onnx(name: str, path: Path, centre: int, subject: Subject) -> Result:
    def answer(lumas: np.ndarray) -> np.ndarray:
        return export.run_onnx(path, lumas, centre)

    size = path.stat().st_size
    return examine(name, size, answer, subject.held_out, subject.hard, subject.theirs.temperature, subject.recipe)[0]


def _again(made: dict[str, Path], held_out: HeldOut) -> Parity:
    """int8-full of the second calibration against that of the first, on the held-out pictures."""
    first, second = (Model(made[name]) for name in ("int8-full", tflite.AGAIN))
    logits = [run_model(model, held_out.lumas) for model in (first, second)]
    return compare(*logits, held_out.names, CLASSES)


def _bundle(
    folder: Path,
    variant: Variant,
    file: Path,
    subject: Subject,
    drawn: calibration.Calibration,
    masks: list[FileMasks],
) -> Result:
    """Load the file just written, measure it on held-out pictures, and write its bundle when the gates hold. What its
    masks came to is added to `masks`."""
    model, held_out = Model(file), subject.held_out
    answer, size = partial(run_model, model), file.stat().st_size
    row, logits = examine(variant, size, answer, held_out, subject.hard, subject.theirs.temperature, subject.recipe)
    row = replace(row, reasons=structure_reasons(variant, file) + row.reasons)
    if subject.outlined is not None:
        found = masks_of(variant, model, subject)
        masks.append(found)
        reasons = gates.mask_reasons(variant, found.parity, subject.recipe)
        row = replace(row, masks=found.parity, reasons=row.reasons + reasons)
    if row.parity.max_difference is None:
        return row
    meta = _meta(variant, model, subject, limits(logits, held_out, subject.recipe, subject.derived), drawn)
    theirs = subject.theirs
    reference = replace(meta, temperature=theirs.temperature, operating_point=theirs.point, abstain=theirs.abstain)
    said = np.array([decide(one, meta).label for one in logits])
    meant = np.array([decide(one, reference).label for one in held_out.reference])
    row = replace(row, verdict_agreement=float((said == meant).mean()))
    if not row.reasons:
        test, threshold = held_out.test, meta.operating_point.malignant_threshold
        targets, groups = held_out.targets[test], held_out.groups[test]
        metrics = measure(logits[test], targets, groups, meta.temperature, threshold)
        row = replace(row, metrics=metrics | measure_verdicts(said[test], targets, groups))
        figures = {"metrics": row.metrics, "parity": row.figures(), "answers": selftest.answers(model)}
        figures["mask"] = None if row.masks is None else _mask_output(model, subject, row.masks)
        bundles.write_bundle(folder, file, replace(meta, **figures))
    return row


def masks_of(variant: Variant, model: Model, subject: Subject) -> FileMasks:
    """What a file with two outputs outlines in the held-out pictures, beside what the PyTorch network does."""
    about = subject.outlined
    if model.mask is None or model.mask.shape[1:3] != about.grid:
        found = "none" if model.mask is None else f"one of {model.mask.shape[1:3]}"
        raise UserError(
            f"{variant}: the converter was given a mask of {about.grid} places and has left {found}; choose another "
            "network.backbone."
        )
    stored = run_masks(model, about.lumas)
    return FileMasks(variant, *compare_masks(stored, cut_of(model.mask, THRESHOLD), about))


def _mask_output(model: Model, subject: Subject, parity: MaskParity) -> bundles.MaskOutput:
    names = (model.mask_name, model.mask_index, model.mask)
    return bundles.MaskOutput(*names, THRESHOLD, subject.trained_on, parity.truth, parity.dice)


def _meta(
    variant: Variant, model: Model, subject: Subject, found: Limits, drawn: calibration.Calibration
) -> bundles.Meta:
    """bundle.json without its figures."""
    meta = subject.run.meta
    return bundles.Meta(
        schema_version=bundles.SCHEMA_VERSION,
        task=bundles.TASK,
        name=subject.name or f"{meta.data_name.lower()}-{meta.recipe.name}",
        variant=variant,
        intended_use=bundles.intended_use(meta.synthetic),
        synthetic=meta.synthetic,
        classes=CLASSES,
        input=model.input,
        output=model.output,
        preprocess=meta.recipe.preprocess,
        temperature=found.temperature,
        operating_point=found.point,
        abstain=found.abstain,
        training=bundles.Training(
            meta.data_name,
            meta.data_fingerprint,
            meta.view,
            meta.split,
            two_heads.recipe_of(subject.run, subject.recipe),
            "; ".join(meta.initial_weights),
            meta.weights_sha256,
            drawn.manifest,
        ),
        metrics={},
        parity={},
        versions=_versions(model),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files={},
        familiar=subject.familiar,
    )


def _versions(model: Model) -> dict[str, str]:
    names = ("onnx", "onnx2tf", "onnxruntime", "tensorflow")
    return runs.versions() | {n: importlib.metadata.version(n) for n in names} | {"interpreter": model.backend}
