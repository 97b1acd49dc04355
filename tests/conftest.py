"""Fixtures shared by all tests. Real data, where it is at hand, lies in ../shared/data beside the project.

Property tests draw the same inputs every time, so that the same commit has the same result; HYPOTHESIS_PROFILE=explore
draws others (as tests/soak/fuzz.py does, by the hundred thousand). None has a deadline: a busy machine is no failure.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def maker_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key with which the tests' bundles are signed."""
    from device.signing import new_key

    key = tmp_path_factory.mktemp("keys") / "maker"
    new_key(key)
    return key


@pytest.fixture(scope="session")
def trusted_keys(maker_key: Path) -> Path:
    """A folder of trusted keys: the public one that belongs to `maker_key`."""
    return maker_key.parent


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory, maker_key: Path) -> Path:
    """A folder with a tiny real bundle per variant, signed with `maker_key`; tests must not change it."""
    from tiny_bundle import write_tiny_bundles

    from device.bundle import VARIANTS, sign_bundle

    folder = write_tiny_bundles(tmp_path_factory.mktemp("bundles"))
    for variant in VARIANTS:
        sign_bundle(folder / variant, maker_key)
    return folder


@pytest.fixture(scope="session")
def mask_bundle_dir(tmp_path_factory: pytest.TempPathFactory, maker_key: Path) -> Path:
    """A folder with tiny real bundles of models that outline, float32 and int8-full, signed; not to be changed."""
    from tiny_bundle import write_mask_bundles

    from device.bundle import sign_bundle

    folder = write_mask_bundles(tmp_path_factory.mktemp("masks"))
    for variant in ("float32", "int8-full"):
        sign_bundle(folder / variant, maker_key)
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set in the BUSI layout: 24 pictures of each class; tests must not change it."""
    from train.data.phantoms import write_phantoms

    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, per_class=24, seed=7, size=(96, 128))
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real pictures and weights, which are not part of the project and are not downloaded."""
    if not SHARED.is_dir():
        pytest.skip("the real pictures are not beside this checkout (../shared/data)")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: what trains or converts a network runs last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
