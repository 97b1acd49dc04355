"""A study's results put together: for each row, all test pictures of all folds, over seeds, with intervals."""

from dataclasses import dataclass

from device.bundle import Estimate
from train.segmentation.figures import difference, measure
from train.segmentation.results import SegResult
from train.segmentation.scores import Score
from train.segmentation.study import Row, SegStudy
from train.studies.grid.results import Pictures
from train.studies.grid.study import Key

SUBSETS: dict[str, tuple[str, ...]] = {
    "all": ("benign", "malignant", "normal"),
    "benign": ("benign",),
    "malignant": ("malignant",),
}


@dataclass(frozen=True)
class Summary:
    """A row of the tables. figures: subset of SUBSETS -> figure -> estimate. against: the paired difference to the
    row's `against` on the pictures and seeds that both have, None without. one: any of its results, for its size."""

    row: Row
    trainings: int
    planned: int
    pictures: int
    figures: dict[str, dict[str, Estimate]]
    against: dict[str, Estimate] | None
    one: SegResult | None
    seconds: float


def summarise(study: SegStudy, pictures: Pictures, results: dict[Key, SegResult], repeats: int) -> list[Summary]:
    """A summary per row, in the study's order."""
    by_row = {row.name: runs_of(study, row, results) for row in study.rows}
    return [_summary(study, row, by_row, pictures, results, repeats) for row in study.rows]


def runs_of(study: SegStudy, row: Row, results: dict[Key, SegResult]) -> dict[int, dict[str, Score]]:
    """Seed -> picture -> score, over the folds that are there; a picture stands in one test part only."""
    found: dict[int, dict[str, Score]] = {}
    for job in study.jobs([row]):
        if job.key in results:
            found.setdefault(job.seed, {}).update(results[job.key].scores)
    return found


def _summary(
    study: SegStudy,
    row: Row,
    by_row: dict[str, dict[int, dict[str, Score]]],
    pictures: Pictures,
    results: dict[Key, SegResult],
    repeats: int,
) -> Summary:
    own = by_row[row.name]
    done = [results[job.key] for job in study.jobs([row]) if job.key in results]
    names = shared_names(own.values())
    against = None
    if row.against:
        other = by_row[row.against]
        seeds = [seed for seed in own if seed in other]
        common = shared_names([one[seed] for seed in seeds for one in (own, other)])
        if common:
            first, second = ([[one[seed][n] for n in common] for seed in seeds] for one in (other, own))
            against = difference(first, second, pictures.groups_of(common), repeats)
    chosen = {
        subset: [name for name in names if pictures.pictures[name][0] in labels] for subset, labels in SUBSETS.items()
    }
    return Summary(
        row=row,
        trainings=len(done),
        planned=len(study.folds) * len(row.seeds),
        pictures=len(names),
        figures={
            subset: measure([[scores[n] for n in of] for scores in own.values()], pictures.groups_of(of), repeats)
            for subset, of in chosen.items()
            if of
        },
        against=against,
        one=done[0] if done else None,
        seconds=sum(result.seconds for result in done),
    )


def shared_names(runs) -> list[str]:
    """The pictures that all of these have, sorted; none of no runs."""
    sets = [set(scores) for scores in runs]
    return sorted(set.intersection(*sets)) if sets else []
