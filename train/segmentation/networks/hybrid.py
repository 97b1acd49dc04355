"""A teacher with two heads that sees with a Vision Transformer and a MobileNetV3 at once.

As TransUNet (Chen et al., arXiv 2102.04306, section 3.2) joins a transformer's tokens with a CNN's finer maps in one
decoder; here both see the whole picture side by side, as in the classifier's hybrid teacher
(train/networks/teacher.py), and the tokens join the CNN's map of their size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from device.errors import UserError
from train.networks.backbone import Luma
from train.segmentation.networks.encoders import is_mobilenet, mobilenet_maps
from train.segmentation.networks.two_heads import FINEST, Decoder, Heads

_TRANSFORMER = ("patch_embed", "blocks", "num_prefix_tokens", "forward_features", "forward_head")


class HybridTwoHeads(nn.Module):
    """Luma (N, 1, H, W) 0..255 -> Heads; the outline on a quarter of the picture's grid.

    classifier: a MobileNetV3 of timm, transformer: a Vision Transformer of timm, both with a classifier, as
    `train.networks.backbone.build` gives them. The class logits are the sum of theirs, which is one linear layer over
    both's features. size: (H, W). Raises UserError when either is another kind of network.
    """

    def __init__(
        self, classifier: Luma, transformer: Luma, names: tuple[str, str], width: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        if not is_mobilenet(classifier.net):
            raise UserError(f"the network {names[0]!r} is no MobileNetV3 of timm; choose another network.backbone.")
        if not all(hasattr(transformer.net, part) for part in _TRANSFORMER):
            raise UserError(
                f"the network {names[1]!r} is no Vision Transformer of timm; choose another network.transformer."
            )
        self.classifier, self.transformer = classifier, transformer
        with torch.no_grad():
            self.eval()
            maps, _ = self._seen(torch.zeros(1, 1, *size, device=next(classifier.parameters()).device))
            self.train()
        self.decoder = Decoder(tuple(one.shape[1] for one in maps), width)

    def _seen(self, luma: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps from fine to coarse, the tokens beside the map that is nearest to their size; class logits (N, K)."""
        net, vit = self.classifier.net, self.transformer.net
        maps = mobilenet_maps(net, self.classifier.normal(luma), FINEST)
        tokens = vit.forward_features(self.transformer.normal(luma))
        logits = net.forward_head(maps[-1]) + vit.forward_head(tokens)
        rows, columns = vit.patch_embed.grid_size
        plane = tokens[:, vit.num_prefix_tokens :].transpose(1, 2).unflatten(2, (rows, columns))
        place = min(range(len(maps)), key=lambda i: abs(maps[i].shape[2] - rows))
        plane = F.interpolate(plane, size=maps[place].shape[2:], mode="bilinear", align_corners=False)
        maps[place] = torch.cat([maps[place], plane], dim=1)
        return maps, logits

    def forward(self, luma: Tensor) -> Heads:
        maps, logits = self._seen(luma)
        return Heads(self.decoder(maps), logits)
