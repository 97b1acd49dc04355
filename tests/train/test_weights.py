"""Weight files and the hub: what loads, what is refused, and the real files beside the project."""

import functools
import http.server
import importlib.util
import io
import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from built_networks import SMALL, refused
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import checkpoint_filter_fn

from device.errors import UserError
from device.preprocess import Preprocess
from train.data.busi import load_lumas, read_dataset
from train.networks.backbone import build, feature_count
from train.networks.teacher import build_teacher
from train.networks.trunks import ResNetV2Stage3
from train.recipe import NetworkRecipe, load_recipe


@pytest.fixture
def resnet_file(tmp_path: Path) -> Path:
    """A weight file of test_resnet as timm writes it: with the classifier of another task."""
    torch.manual_seed(1)
    import timm

    path = tmp_path / "resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), path)
    return path


def test_a_weight_file_is_loaded_whole_but_for_its_classifier(resnet_file: Path) -> None:
    stored = load_file(resnet_file)
    recipe = NetworkRecipe("test_resnet", resnet_file.name)
    headless = build(recipe, SMALL, resnet_file.parent).net.state_dict()
    student = build(recipe, SMALL, resnet_file.parent, 3).net.state_dict()
    for state in (headless, student):
        for name, tensor in state.items():
            assert name.startswith("fc.") or torch.equal(tensor, stored[name])
    assert set(headless) == {name for name in stored if not name.startswith("fc.")}
    assert student["fc.weight"].shape == (3, stored["fc.weight"].shape[1])


def test_a_network_with_two_classifiers_takes_its_weight_file(tmp_path: Path) -> None:
    import timm

    name = "deit_tiny_distilled_patch16_224"
    save_file(timm.create_model(name, img_size=SMALL).state_dict(), tmp_path / "deit.safetensors")
    build(NetworkRecipe(name, "deit.safetensors"), SMALL, tmp_path)
    build(NetworkRecipe(name, "deit.safetensors"), SMALL, tmp_path, 3)


def test_half_precision_weights_become_single(resnet_file: Path) -> None:
    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(resnet_file).items()}, resnet_file)
    state = build(NetworkRecipe("test_resnet", resnet_file.name), SMALL, resnet_file.parent, 3).state_dict()
    assert {t.dtype for t in state.values()} == {torch.float32, torch.int64}
    assert torch.equal(state["net.conv1.0.weight"].half(), load_file(resnet_file)["conv1.0.weight"])


def test_missing_batch_counters_are_allowed(resnet_file: Path) -> None:
    save_file({k: v for k, v in load_file(resnet_file).items() if "num_batches" not in k}, resnet_file)
    build(NetworkRecipe("test_resnet", resnet_file.name), SMALL, resnet_file.parent, 3)


def _without(state: dict, name: str) -> dict:
    return {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (lambda s: _without(s, "layer1.0.bn1.weight"), "layer1.0.bn1.weight"),
        (lambda s: _without(s, "layer1.0.bn1.running_var"), "layer1.0.bn1.running_var"),
        (lambda s: {**s, "layer9.weight": torch.zeros(1)}, "layer9.weight"),
        (lambda s: {**s, "conv1.0.weight": s["conv1.0.weight"][:, :1].contiguous()}, "conv1.0.weight"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "entries differ"),
        (lambda s: {}, "entries differ"),
    ],
)
def test_weights_that_do_not_fit_exactly_are_refused(resnet_file: Path, alter, named: str) -> None:
    save_file(alter(load_file(resnet_file)), resnet_file)
    refused(NetworkRecipe("test_resnet", resnet_file.name), resnet_file.parent, str(resnet_file), "test_resnet", named)


def test_a_wrong_weights_file_is_named(resnet_file: Path) -> None:
    folder = resnet_file.parent
    refused(NetworkRecipe("test_vit", resnet_file.name), folder, str(resnet_file), "not for 'test_vit'")
    refused(NetworkRecipe("test_resnet", "none.safetensors"), folder, str(folder / "none.safetensors"), "--weights-dir")
    refused(NetworkRecipe("test_resnet", resnet_file.name), None, resnet_file.name, "--weights-dir")
    whole = resnet_file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\x80\x04 a pickle"):
        resnet_file.write_bytes(content)
        refused(NetworkRecipe("test_resnet", resnet_file.name), folder, str(resnet_file), "not a readable .safetensors")


def _make_pretrained(tmp_path: Path, **environment: str) -> str:
    """Build test_resnet with the hub's weights in a process of its own, because the hub's client reads its settings
    when it is imported; returns what it said: the weights' sum, or the UserError's sentence."""
    program = (
        "from device.errors import UserError\n"
        "from train.networks.backbone import build\n"
        "from train.recipe import NetworkRecipe\n"
        "try:\n    print(build(NetworkRecipe('test_resnet'), (64, 64), None, 3).net.conv1[0].weight.sum().item())\n"
        "except UserError as error:\n    print(error)\n"
    )
    settings = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "no_proxy": "*"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **settings, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (said,) = done.stdout.splitlines()
    return said


def test_without_the_hub_the_way_out_is_named(tmp_path: Path) -> None:
    said = _make_pretrained(tmp_path, HF_HUB_OFFLINE="1")
    assert "'test_resnet'" in said
    assert "--weights-dir" in said


class _Hub(http.server.SimpleHTTPRequestHandler):
    """Answers as the model hub does for one file of one repository, and with 404 for all else."""

    def send_head(self):
        found = self.path.endswith("/resolve/main/model.safetensors")
        path = Path(self.directory) / "resnet.safetensors"
        content = path.read_bytes() if found and path.is_file() else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        return io.BytesIO(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("there", [True, False])
def test_pretrained_weights_come_from_the_hub(resnet_file: Path, tmp_path: Path, there: bool) -> None:
    wanted = load_file(resnet_file)["conv1.0.weight"].sum().item()
    if not there:
        resnet_file.unlink()
    handler = functools.partial(_Hub, directory=str(resnet_file.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = _make_pretrained(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    if there:
        assert float(said) == pytest.approx(wanted, rel=1e-5)
    else:
        assert "'test_resnet'" in said
        assert "--weights-dir" in said


def _reference_trunks(weights: Path):
    spec = importlib.util.spec_from_file_location("reference_trunks", weights / "trunks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_own_trunk_equals_the_reference_with_the_real_weights(shared_data: Path) -> None:
    weights = shared_data / "weights"
    file = "resnetv2_50.gluon_in1k_stage1-3.fp16.safetensors"
    ours = build(NetworkRecipe("resnetv2_50_stage3", file), (224, 224), weights).eval()
    reference = _reference_trunks(weights).ResNetV2Trunk(style="gluon")
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(weights / file).items()}
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert not unexpected
    pictures = read_dataset(shared_data / "busi").pictures[::390]
    luma = torch.from_numpy(load_lumas(pictures, Preprocess())).float()[:, None]
    with torch.no_grad():
        found = ours(luma)
        wanted = reference.eval()(((luma / 255 - 0.449) / 0.226).expand(-1, 3, -1, -1))
    assert found.shape == (len(pictures), 1024)
    assert found.std() > 0.01, "the features say something"
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_the_own_trunk_equals_the_reference_in_training_mode(shared_data: Path) -> None:
    torch.manual_seed(0)
    ours, reference = ResNetV2Stage3(), _reference_trunks(shared_data / "weights").ResNetV2Trunk(style="gluon")
    reference.load_state_dict(ours.state_dict(), strict=True)
    picture = torch.randn(2, 3, 64, 96)
    found, wanted = ours.train()(picture), reference.train()(picture)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for (name, mine), theirs in zip(ours.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
        ("mobilenetv3_small_100", "mobilenetv3_small_100.google_uint8_dequant"),
        ("tf_mobilenetv3_small_100", "tf_mobilenetv3_small_100.google_uint8_dequant"),
        ("tf_mobilenetv3_large_minimal_100", "tf_mobilenetv3_large_minimal_100.google_uint8_dequant"),
    ],
)
def test_the_real_timm_weights_load_strictly(shared_data: Path, name: str, file: str) -> None:
    weights = shared_data / "weights"
    stored = load_file(weights / f"{file}.safetensors")
    net = build(NetworkRecipe(name, f"{file}.safetensors"), (224, 224), weights, 3).net
    classifier = net.pretrained_cfg["classifier"]
    state = net.state_dict()
    for key, tensor in state.items():
        if not key.startswith(f"{classifier}.") and not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, stored[key].to(tensor.dtype)), key
    assert {k for k in stored if not k.startswith(f"{classifier}.")} <= set(state)


def test_every_real_weight_file_is_refused_by_another_network(shared_data: Path) -> None:
    weights = shared_data / "weights"
    networks = {
        "vit_tiny_patch16_224": "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors",
        "mobilenetv3_small_100": "mobilenetv3_small_100.google_uint8_dequant.safetensors",
        "tf_mobilenetv3_large_minimal_100": "tf_mobilenetv3_large_minimal_100.google_uint8_dequant.safetensors",
        "resnetv2_50_stage3": "resnetv2_50.gluon_in1k_stage1-3.fp16.safetensors",
    }
    for name, other in itertools.permutations(networks, 2):
        with pytest.raises(UserError, match=re.escape(f"{weights / networks[other]}: these weights are not for")):
            build(NetworkRecipe(name, networks[other]), (224, 224), weights)


def test_the_offline_recipes_networks_make_its_teacher_and_student(shared_data: Path) -> None:
    recipe, weights = load_recipe("offline"), shared_data / "weights"
    teacher = build_teacher(recipe.teacher, (224, 224), weights, 3)
    assert [feature_count(b, (224, 224)) for b in teacher.backbones][-1] == 1024
    student = build(recipe.student.network, (224, 224), weights, 3)
    lumas = np.zeros((2, 1, 224, 224), np.float32)
    assert student.eval()(torch.from_numpy(lumas)).shape == (2, 3)


def test_a_transformers_positions_are_enlarged_as_timm_does_it(shared_data: Path) -> None:
    recipe = NetworkRecipe("vit_tiny_patch16_224", "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors")
    folder = shared_data / "weights"
    net = build(recipe, (256, 320), folder).net
    wanted = checkpoint_filter_fn(load_file(folder / recipe.weights), net)["pos_embed"]
    assert net.pos_embed.shape == (1, 1 + 16 * 20, 192)
    torch.testing.assert_close(net.pos_embed.data, wanted)
    own = build(recipe, (224, 224), folder).net
    torch.testing.assert_close(own.pos_embed.data, load_file(folder / recipe.weights)["pos_embed"])
