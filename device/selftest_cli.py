"""`busi-kd device selftest`: does this code run here, and do the models that ship answer as they should?

A new version is asked this before it takes the place of the one that runs (docs/updates.md). It needs no source, no
settings and no network.
"""

import argparse
import importlib

from device import RESEARCH_NOTICE, __version__, selftest, trust
from device.errors import Refused
from device.runtime import open_bundle
from device.shipped import default_bundle, shipped

# What the services begin with: a library that is missing or for another processor shows itself here.
MODULES = ("device.run", "device.daemon", "device.page.server", "device.admin.server", "device.update.slots")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`busi-kd device selftest` takes no options."""


def main(args: argparse.Namespace) -> int:
    """Returns 0 when all is well. Raises UserError, and Refused where nothing says how a model should answer."""
    for module in MODULES:
        importlib.import_module(module)
    default_bundle()  # says so when there is none
    for folder in shipped():
        bundle, _ = trust.load(folder, trust.Trust((trust.SHIPPED_KEYS,)))
        model = open_bundle(bundle)
        if selftest.check(bundle, model) is None and model.output.scale is not None:
            raise Refused(f"{folder}: no answers to the stored phantoms are on record for {model.backend}.")
        print(f"self-test: {bundle.meta.name} {bundle.id} answers {len(selftest.frames())} phantoms as recorded.")
    print(f"self-test: busi-kd {__version__} is well. {RESEARCH_NOTICE}")
    return 0
