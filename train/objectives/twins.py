"""Towards features that do not depend on the augmentation, without labels."""

import torch
from torch import Tensor


def barlow_twins(first: Tensor, second: Tensor, redundancy: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2, C the cross-correlation of two (N, D) embeddings.

    Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021, equations 1 and 2. The
    embeddings are of two augmentations of the same N pictures; each dimension is normalised over the batch.
    """
    correlation = _normal(first).T @ _normal(second) / len(first)
    own = torch.diagonal(correlation)
    return ((1 - own) ** 2).sum() + redundancy * (correlation.pow(2).sum() - own.pow(2).sum())


def _normal(embedding: Tensor) -> Tensor:
    return (embedding - embedding.mean(dim=0)) / (embedding.std(dim=0, correction=0) + 1e-6)
