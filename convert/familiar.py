"""What the training pictures are like, for the bundle: the device abstains from frames that are unlike them."""

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import GroupKFold

from device.familiar import FEATURES, Familiar, statistics
from train.data.busi import load_lumas
from train.data.splits import Split
from train.data.views import view_of
from train.recipe import Recipe

VIEWS = 4  # of each picture: what training showed the network is familiar, and the picture itself is view 0
FOLDS = 5
WITHIN = 0.99  # share of the held-out views that the limit leaves in
LEAST_GROUPS = 50  # fewer say too little about twenty statistics
_FLOOR = 0.01  # a statistic that hardly varies in synthetic pictures must not forbid every other value


def familiar(split: Split, recipe: Recipe) -> Familiar | None:
    """Statistics of the training part's views, augmented as in training; None with fewer than LEAST_GROUPS groups.

    The limit is fixed on held-out views: each fifth of the groups is scored by the covariance of the others (shrunk
    after Ledoit and Wolf, A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices, 2004).
    """
    groups = np.repeat(split.groups(split.train), VIEWS)
    if len(np.unique(groups)) < LEAST_GROUPS:
        return None
    lumas = load_lumas(split.train, recipe.preprocess)
    found = np.array(
        [
            statistics(np.ascontiguousarray(view_of(luma, None, recipe.augment, recipe.seed, picture.name, number)[0]))
            for picture, luma in zip(split.train, lumas, strict=True)
            for number in range(VIEWS)
        ]
    )
    mean, scale = found.mean(axis=0), np.maximum(found.std(axis=0), _FLOOR)
    away = (found - mean) / scale
    scores = np.zeros(len(away))
    for inside, outside in GroupKFold(FOLDS).split(away, groups=groups):
        precision = LedoitWolf(assume_centered=True).fit(away[inside]).precision_
        scores[outside] = np.einsum("ni,ij,nj->n", away[outside], precision, away[outside])
    precision, limit = LedoitWolf(assume_centered=True).fit(away).precision_, float(np.quantile(scores, WITHIN))
    return Familiar(
        FEATURES,
        *(tuple(float(x) for x in values) for values in (mean, scale)),
        tuple(tuple(float(x) for x in row) for row in precision),
        limit,
        f"{WITHIN:.0%} of {len(scores)} views of {len(split.train)} training pictures, each group scored by the others",
    )
