"""`busi-kd convert STUDENT --data DATA --out FOLDER`, and `busi-kd convert keygen`, `sign`, `publish` and so on."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported; see train/cli.py

import argparse
import re
from pathlib import Path

from device import RESEARCH_NOTICE
from device.bundle import VARIANTS


def main(arguments: list[str]) -> int:
    """Run the conversion, or make a key, sign or publish; returns the exit status (3 when a gate refused)."""
    if arguments[:1] == ["keygen"]:
        return _keygen(arguments[1:])
    if arguments[:1] == ["sign"]:
        return _sign(arguments[1:])
    if arguments[:1] == ["publish"]:
        from convert import publish

        return publish.main(arguments[1:])
    if arguments[:1] == ["compare"]:
        from convert.compare import run

        return run.main(arguments[1:])
    if arguments[:1] == ["boards"]:
        from convert.boards import run

        return run.main(arguments[1:])
    return _convert(arguments)


def _keygen(arguments: list[str]) -> int:
    from device.signing import new_key

    parser = argparse.ArgumentParser(prog="busi-kd convert keygen", description="Make a key pair to sign bundles with.")
    parser.add_argument("key", type=Path, help="new private key; the public one is written beside it as .pub")
    args = parser.parse_args(arguments)
    public = new_key(args.key)
    print(f"{args.key}: private, keep it on the host and to yourself. {public}: copy it to each device's trusted keys.")
    return 0


def _sign(arguments: list[str]) -> int:
    from device.bundle import sign_bundle

    parser = argparse.ArgumentParser(prog="busi-kd convert sign", description="Sign bundles.")
    parser.add_argument("bundle", type=Path, nargs="+", help="bundle folder")
    parser.add_argument("--key", type=Path, required=True, help="private key from convert keygen")
    args = parser.parse_args(arguments)
    for folder in args.bundle:
        sign_bundle(folder, args.key)
        print(f"{folder}: signed.")
    return 0


def _convert(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="busi-kd convert",
        description=f"Student -> ONNX -> TFLite variants -> verified bundles. {RESEARCH_NOTICE}",
        epilog="A failed gate writes no bundle, exits 3 and leaves its report in FOLDER.refused. "
        "`busi-kd convert keygen KEY` makes a key pair, `busi-kd convert sign BUNDLE --key KEY` signs, "
        "`busi-kd convert publish BUNDLE --site DIR --key KEY` puts it on an update server, "
        "`busi-kd convert compare STUDY ...` shows which of a study's networks to ship, and as which file, "
        "`busi-kd convert boards FOLDER` collects what was measured on boards.",
    )
    parser.add_argument("student", type=Path, help="run folder of a trained student, or of a network with two heads")
    parser.add_argument("--data", type=Path, required=True, help="data folder of the training")
    parser.add_argument("--split", type=Path, metavar="FILE", help="split.json of the training (default: the run's)")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one bundle per variant")
    parser.add_argument("--recipe", help="take [convert] from this recipe instead of the student's")
    parser.add_argument(
        "--operating-point", type=Path, metavar="FILE", help="operating_point.json of busi-kd train operating-point"
    )
    parser.add_argument("--name", type=_name, help="what the bundles are called (default DATA-RECIPE)")
    parser.add_argument("--variants", help=f"of {','.join(VARIANTS)} (default: those of the recipe)")
    args = parser.parse_args(arguments)
    wanted = [variant.strip() for variant in args.variants.split(",")] if args.variants is not None else None
    unknown = [variant for variant in wanted or () if variant not in VARIANTS]
    if unknown:
        parser.error(f"unknown variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")

    from convert.pipeline import convert
    from train.data.busi import read_dataset
    from train.recipe import load_recipe

    recipe = load_recipe(args.recipe).convert if args.recipe else None
    data = read_dataset(args.data)
    out = convert(args.student, data, args.split, args.out, recipe, wanted, args.operating_point, args.name)
    print((out / "report.md").read_text())
    made = [str(out / variant) for variant in VARIANTS if (out / variant).is_dir()]
    print(f"Bundles: {', '.join(made)}")
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: 1 to 64 letters, figures, '.', '_' and '-'")
    return text
