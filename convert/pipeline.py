"""The conversion: student run -> ONNX -> four TFLite variants -> verified bundles, or a refusal that says why."""

import datetime
import importlib.metadata
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convert import calibration, export, report, tflite, verify
from device import bundle as bundles
from device import files, schema
from device.bundle import Estimate, Variant
from device.decide import decide
from device.errors import Refused, UserError
from device.runtime import Model
from train import fit, runs
from train.calibrate import abstain_limit, fit_temperature, operating_point
from train.data.busi import CLASSES, DataSet, load_lumas
from train.data.split_file import FILE, write_split
from train.data.splits import Split
from train.data.torch_data import targets_of
from train.evaluation.metrics import measure, measure_verdicts
from train.evaluation.models import candidate, split_of
from train.recipe import ConvertRecipe
from train.studies.operating_file import Derived, read_derived


@dataclass(frozen=True)
class HeldOut:
    """Validation and test pictures with the PyTorch student's logits on them; validation first."""

    names: list[str]
    lumas: np.ndarray
    targets: np.ndarray
    reference: np.ndarray
    val: int
    test_groups: np.ndarray


@dataclass(frozen=True)
class Result:
    """One row of the report."""

    variant: str
    bytes: int
    parity: verify.Parity
    metrics: dict[str, Estimate]
    reasons: list[str]


def convert(
    student: Path,
    data: DataSet,
    split_path: Path | None,
    out: Path,
    recipe: ConvertRecipe | None,
    wanted: list[Variant],
    operating: Path | None = None,
) -> Path:
    """Convert a finished student run; `out` becomes a folder with one bundle per wanted variant and the report.

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
    run = runs.load_run(student, "student")
    recipe = recipe or run.meta.recipe.convert
    split = split_of(candidate(run), data, file=split_path)
    derived = read_derived(operating, run.meta) if operating else None
    with files.folder_beside(out) as aside:
        log = out.with_name(out.name + ".log")
        results = _convert_into(aside, run, split, recipe, wanted, log, derived)
        log.unlink()  # a failed converter leaves it
        write_split(aside / FILE, split, data)  # so that the bundles can be evaluated without the run folder
        reasons = [reason for result in results for reason in result.reasons]
        report.write(aside, run, recipe, results, len(split.val), len(split.test))
        if reasons:
            for variant in wanted:
                shutil.rmtree(aside / variant, ignore_errors=True)
            files.replace_folder(aside, refused)
            raise Refused(f"no bundle was written: {' '.join(reasons)} The report is {refused / 'report.md'}.")
        files.replace_folder(aside, out)
    shutil.rmtree(refused, ignore_errors=True)
    return out


def _check_replaceable(folder: Path) -> None:
    """Only an earlier conversion may be replaced: `--out runs` for `--out runs/bundles` must not cost the trainings."""
    if folder.exists() and not (folder / report.FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there and holds no earlier conversion; choose another --out.")


def _convert_into(
    folder: Path,
    run: runs.Run,
    split: Split,
    recipe: ConvertRecipe,
    wanted: list[Variant],
    log: Path,
    derived: Derived | None,
) -> list[Result]:
    preprocess = run.meta.recipe.preprocess
    lumas = load_lumas(split.val + split.test, preprocess)
    held_out = HeldOut(
        [picture.name for picture in split.val + split.test],
        lumas,
        targets_of(split.val + split.test),
        fit.predict(run.network, lumas),
        len(split.val),
        split.groups(split.test),
    )
    onnx = folder / "student.onnx"
    network = export.deployable(run.network, recipe.relu_activations)
    export.export_onnx(network, (preprocess.height, preprocess.width), onnx)
    onnx_parity = verify.compare(held_out.reference, export.run_onnx(onnx, lumas), held_out.names, CLASSES)
    rows = [Result("onnx", onnx.stat().st_size, onnx_parity, {}, verify.gate("onnx", onnx_parity, recipe))]

    drawn = calibration.draw(split.train, preprocess, recipe.calibration_pictures, run.meta.recipe.seed)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        stack = Path(work) / "calibration.npy"
        np.save(stack, drawn.lumas)
        made = tflite.write_variants(onnx, stack, Path(work) / "tflite", wanted, log, recipe.int8_ranges)
        for variant in wanted:
            rows.append(_bundle(folder / variant, variant, made[variant], run, recipe, held_out, drawn, derived))
    return rows


def _bundle(
    folder: Path,
    variant: Variant,
    file: Path,
    run: runs.Run,
    recipe: ConvertRecipe,
    held_out: HeldOut,
    drawn: calibration.Calibration,
    derived: Derived | None,
) -> Result:
    """Load the file just written, measure it on held-out pictures, and write its bundle when the gates hold."""
    model = Model(file)
    logits = np.stack([model.logits(luma) for luma in held_out.lumas])
    parity = verify.compare(held_out.reference, logits, held_out.names, CLASSES)
    reasons = verify.gate(variant, parity, recipe)
    test, targets = slice(held_out.val, None), held_out.targets[held_out.val :]
    finite = parity.max_difference is not None
    metrics = measure(logits[test], targets, held_out.test_groups) if finite else {}
    if not reasons:
        meta = _meta(variant, model, run, recipe, held_out, logits, drawn, derived)
        threshold = meta.operating_point.malignant_threshold
        metrics = measure(logits[test], targets, held_out.test_groups, meta.temperature, threshold)
        said = np.array([decide(row, meta).label for row in logits[test]])
        metrics |= measure_verdicts(said, targets, held_out.test_groups)
        bundles.write_bundle(folder, file, replace(meta, metrics=metrics, parity=parity.figures()))
    return Result(variant, file.stat().st_size, parity, metrics, reasons)


def _meta(
    variant: Variant,
    model: Model,
    run: runs.Run,
    recipe: ConvertRecipe,
    held_out: HeldOut,
    logits: np.ndarray,
    drawn: calibration.Calibration,
    derived: Derived | None,
) -> bundles.Meta:
    """bundle.json without its figures; temperature, and limits where none were derived out of fold, from this file's
    outputs on the validation part."""
    meta, val = run.meta, slice(None, held_out.val)
    temperature = fit_temperature(logits[val], held_out.targets[val])
    where = f"validation part ({held_out.val} pictures), outputs of this file"
    if derived is None:
        point = operating_point(logits[val], held_out.targets[val], temperature, recipe.target_sensitivity, where)
        derived = Derived(point, abstain_limit(logits[val], temperature, recipe.coverage, where))
    return bundles.Meta(
        schema_version=bundles.SCHEMA_VERSION,
        task=bundles.TASK,
        name=f"{meta.data_name.lower()}-{meta.recipe.name}",
        variant=variant,
        intended_use=bundles.intended_use(meta.synthetic),
        synthetic=meta.synthetic,
        classes=CLASSES,
        input=model.input,
        output=model.output,
        preprocess=meta.recipe.preprocess,
        temperature=temperature,
        operating_point=derived.point,
        abstain=derived.abstain,
        training=bundles.Training(
            meta.data_name,
            meta.data_fingerprint,
            meta.view,
            meta.split,
            schema.dump(replace(meta.recipe, convert=recipe)),
            "; ".join(meta.initial_weights),
            meta.weights_sha256,
            drawn.manifest,
        ),
        metrics={},
        parity={},
        versions=_versions(model),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files={},
    )


def _versions(model: Model) -> dict[str, str]:
    names = ("onnx", "onnx2tf", "onnxruntime", "tensorflow")
    return runs.versions() | {n: importlib.metadata.version(n) for n in names} | {"interpreter": model.backend}
