"""LightBTSeg's teacher and student (Guo et al., arXiv 2311.11086; in Chinese as T2KD Attention U-Net).

Published: teacher 106.1 M parameters, 205.98 GFLOPs; student 2.2 M, 8.4 MB, 16.59 GFLOPs; input 512 x 512. The teacher
is an Attention U-Net whose encoder begins with the first layers of ResNet101, the student a simplified one, after a
"bottleneck architecture". No widths are known to us. What stands here is a reconstruction, judged by these figures:

- teacher: the whole ResNet101 but its pooling and classifier, the decoder as wide as the encoder's maps: 106.09 M and
  206.1 G multiply-adds, within 0.1 % of both. So the published FLOPs are multiply-adds.
- student: the Attention U-Net of a quarter of its width, 16 to 256 channels: 2.18 M and 16.6 G, within 1 %. With
  ResNet bottlenecks in place of the double convolutions no width that was tried gives both figures.
"""

from train.networks.backbone import Luma
from train.segmentation.networks.attention_unet import AttentionUNet, PlainEncoder
from train.segmentation.networks.encoders import encoder

STUDENT_CHANNELS = (16, 32, 64, 128, 256)


def teacher(backbone: Luma, name: str) -> AttentionUNet:
    """The teacher around a backbone that `train.networks.backbone.build` made without classifier.

    The paper's is ResNet101; a smaller one, or one whose weights are at hand, may take its place.
    """
    return AttentionUNet(encoder(backbone, name))


def student(channels: tuple[int, ...]) -> AttentionUNet:
    """The simplified U-Net: takes one channel that is normalised already."""
    return AttentionUNet(PlainEncoder(channels or STUDENT_CHANNELS))
