"""Any timm network (or one of our own) with its first weights, behind one input convention: luma 0..255."""

from pathlib import Path

from train import torchvision_shim  # noqa: F401  before timm

# isort: split
import timm
import torch
from torch import Tensor, nn

from device.errors import UserError, nearest
from train.networks.students import STUDENTS
from train.networks.trunks import ResNetV2Stage3
from train.recipe import NetworkRecipe

OWN_TRUNKS = {"resnetv2_50_stage3": ResNetV2Stage3}


class Luma(nn.Module):
    """Normalisation as part of the network: (N, 1, H, W) luma 0..255 -> net((luma / 255 - mean) / std in RGB).

    one_channel: the network takes the one channel as it is. One mean and one std for all three channels: on grey input
    the stem can then be folded to a single channel exactly, also at the zero-padded border.
    """

    def __init__(self, net: nn.Module, mean: float, std: float, one_channel: bool = False) -> None:
        super().__init__()
        self.net, self.mean, self.std, self.one_channel = net, mean, std, one_channel

    def forward(self, luma: Tensor) -> Tensor:
        return self.net(self.normal(luma))

    def normal(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) luma 0..255 -> what the network inside takes."""
        x = (luma - 255.0 * self.mean) / (255.0 * self.std)
        return x if self.one_channel else x.expand(-1, 3, -1, -1)


def build(recipe: NetworkRecipe, size: tuple[int, int], weights_dir: Path | None, classes: int = 0) -> Luma:
    """Make the network of `recipe` for (height, width) input and load its first weights.

    classes = 0: (N, features) pooled features, no classifier; else (N, classes) logits from a fresh classifier.
    Raises UserError: unknown name, weights file missing or not fitting, hub not reached, size not supported, or a
    network whose activation cannot be chosen.
    """
    if recipe.name in OWN_TRUNKS:
        if classes:
            raise UserError(f"{recipe.name!r} is a trunk without classifier and cannot be the student; choose another.")
        if recipe.activation != "own":
            raise UserError(f"{recipe.name!r} is only there with its own activation; leave the key activation away.")
        net, classifier = OWN_TRUNKS[recipe.name](), ()
    else:
        net = _create(recipe, size, classes)
        classifier = net.pretrained_cfg.get("classifier") or ()  # one name, or several of a distilled network
    classifiers = (classifier,) if isinstance(classifier, str) else classifier
    if recipe.weights not in ("random", "pretrained"):
        _load_file(net, recipe, weights_dir, classifiers)
    if classes:
        stem(net)  # before the training, not when it is converted
    for name in classifiers if classes else ():
        _begin_classifier(net.get_submodule(name))
    if recipe.stem == "luma":
        fold_stem(net)
    if recipe.prune:
        from train.networks.pruning import prune

        keep = [net.get_submodule(name) for name in classifiers] if classes else []
        prune(net, recipe.prune, 1 if recipe.stem == "luma" else 3, size, keep)
    luma = Luma(net, recipe.mean, recipe.std, recipe.stem == "luma")
    try:
        feature_count(luma, size)
    except (AssertionError, RuntimeError) as error:  # what timm's networks raise on a size they cannot divide
        raise UserError(
            f"the network {recipe.name!r} does not take {size[0]} x {size[1]} pixels ({_short(error)}); "
            "change the recipe's preprocess."
        ) from error
    return luma


def stem(net: nn.Module) -> nn.Conv2d:
    """A timm network's first convolution, over three channels. Raises UserError when it has none: such a network
    cannot be folded to one channel."""
    name = net.pretrained_cfg.get("first_conv")
    layer = net.get_submodule(name) if isinstance(name, str) else None
    if not isinstance(layer, nn.Conv2d) or layer.in_channels != 3 or layer.groups != 1:
        raise UserError("the student's first layer is not a convolution over three channels; choose another student.")
    return layer


def fold_stem(net: nn.Module) -> None:
    """Sum the first convolution's weights over its three channels: on grey input the same answers from one channel."""
    first = stem(net)
    first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))
    first.in_channels = 1


def _create(recipe: NetworkRecipe, size: tuple[int, int], classes: int) -> nn.Module:
    options = {} if recipe.activation == "own" else {"act_layer": recipe.activation}
    try:
        if recipe.name in STUDENTS:
            return _create_own(recipe, classes, options)
        return _create_timm(recipe, size, classes, options)
    except TypeError as error:
        if recipe.activation == "own":
            raise
        raise UserError(
            f"the activation of {recipe.name!r} cannot be chosen ({_short(error)}); leave activation away."
        ) from error


def _create_own(recipe: NetworkRecipe, classes: int, options: dict[str, str]) -> nn.Module:
    if recipe.weights == "pretrained":
        raise UserError(f'{recipe.name!r} comes without weights; say weights = "random", or name a file.')
    if not classes:
        raise UserError(f"{recipe.name!r} is a student and cannot be a teacher's trunk; choose another.")
    return STUDENTS[recipe.name](classes, **options)


def _create_timm(recipe: NetworkRecipe, size: tuple[int, int], classes: int, options: dict[str, str]) -> nn.Module:
    if not timm.is_model(recipe.name.split(".")[0]):
        known = [*timm.list_models(), *STUDENTS]
        raise UserError(f"timm has no network {recipe.name!r}{nearest(recipe.name, known)}.")
    sized: dict[str, tuple[int, int]] = {}
    try:
        config = timm.get_pretrained_cfg(recipe.name)
        if config is not None and config.fixed_input_size and tuple(config.input_size[1:]) != size:
            sized["img_size"] = size  # transformers have a position embedding of fixed size
        pretrained = recipe.weights == "pretrained"
        return timm.create_model(recipe.name, pretrained=pretrained, num_classes=classes, **sized, **options)
    except (OSError, RuntimeError) as error:  # what timm and the hub raise without network or weights
        raise UserError(
            f"the network {recipe.name!r} with {recipe.weights} weights could not be made ({_short(error)}); "
            "when offline, name a .safetensors file in the recipe and give --weights-dir."
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _begin_classifier(layer: nn.Module) -> None:
    """Small first weights. timm's MobileNets draw them from +-1/sqrt(classes), which for three classes and a thousand
    features gives logits of +-10 and a first epoch that destroys pretrained features."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)


def _load_file(net: nn.Module, recipe: NetworkRecipe, weights_dir: Path | None, classifiers: tuple[str, ...]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if weights_dir is None:
        raise UserError(
            f"the recipe wants the weights file {recipe.weights!r}; say in which folder with --weights-dir."
        )
    path = Path(weights_dir) / recipe.weights
    if not path.is_file():
        raise UserError(f"{path}: no such weights file; check --weights-dir and the recipe.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error}); download it again.") from error
    own = net.state_dict()
    # The classifier of another task is never wanted; everything else must fit exactly.
    skip = tuple(f"{name}." for name in classifiers)
    state = {k: v.to(own[k].dtype) if k in own else v for k, v in state.items() if not k.startswith(skip)}
    _resize_positions(net, state)
    wanted = {k for k in own if not k.startswith(skip)}
    unlike = sorted((wanted ^ set(state)) | {k for k in wanted & set(state) if own[k].shape != state[k].shape})
    # Counters of BatchNorm are not needed and some files leave them out.
    unlike = [k for k in unlike if not k.endswith("num_batches_tracked")]
    if unlike:
        raise UserError(
            f"{path}: these weights are not for {recipe.name!r}: {len(unlike)} entries differ, the first is "
            f"{unlike[0]!r}; name the matching file in the recipe."
        )
    net.load_state_dict(state, strict=False)


def _resize_positions(net: nn.Module, state: dict[str, Tensor]) -> None:
    """A transformer's table of positions, enlarged or reduced to this network's grid as timm does it."""
    from timm.layers import resample_abs_pos_embed

    name, grid = "pos_embed", getattr(getattr(net, "patch_embed", None), "grid_size", None)
    positions, wanted = state.get(name), net.state_dict().get(name)
    if grid is None or positions is None or wanted is None or positions.shape == wanted.shape:
        return
    if positions.ndim == wanted.ndim == 3 and positions.shape[2] == wanted.shape[2]:
        state[name] = resample_abs_pos_embed(positions, list(grid), num_prefix_tokens=net.num_prefix_tokens)


@torch.no_grad()
def feature_count(net: nn.Module, size: tuple[int, int]) -> int:
    """Width of a headless network's output, asked of the network itself (timm's num_features can differ)."""
    training = net.training
    net.eval()
    width = net(torch.zeros(1, 1, *size)).shape[1]
    net.train(training)
    return width


def mebibytes(net: nn.Module) -> float:
    """Size of a network's weights and buffers as stored, MiB (2^20 bytes)."""
    return sum(t.numel() * t.element_size() for t in net.state_dict().values()) / 2**20
