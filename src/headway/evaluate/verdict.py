"""Did the transfer help? One decision, from predictions of the transferred model and of every no-transfer arm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import OptionError
from headway.evaluate import compare, paired
from headway.evaluate.metrics import metric_interval
from headway.seeds import seed_of
from headway.types import Interval, Outcome, Targets, Verdict

METRIC = paired.CLASSES
PRIOR = "prior"  # the arm that always answers the same: the training set's most common class, or mean, or frequencies

_PLAIN = {
    "transfer": "the transferred model",
    "classical": "classical features without a pretrained network",
    "random": "the same network with random weights",
    PRIOR: "always guessing the most common class",
}
_UNITS = {"r2": (1.0, 3, " of R²")}  # factor, digits and name; else points, of a metric in 0..1
_POINTS = (100.0, 1, " points")
_POWER = 0.8
_MANY = 100_000
_LEAST_PAIRS = 6  # fewer discordant pairs cannot give an exact p below 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What the outcome is decided from."""

    effect: Interval  # transfer - against, 95 %
    narrow: Interval  # the 1 - 2 alpha interval
    equivalent: bool
    p: Mapping[str, float]  # an arm's Holm-adjusted p
    lead: Mapping[str, float]  # transfer - arm
    above_chance: bool
    against: str
    metric: str
    n: int
    discordant: int  # items on which transfer and against differ: of classes, on which exactly one is right


def decide(
    y: ArrayLike,
    *,
    transfer: ArrayLike,
    arms: Mapping[str, ArrayLike],
    validation: Mapping[str, float],
    seed: int,
    margin: float = 0.02,
    alpha: float = 0.05,
    resamples: int = 4000,
    wording: Mapping[str, str] | None = None,
    metric: str = METRIC,
) -> Verdict:
    """Compare the transferred model with every no-transfer arm on one test set.

    ``y``, ``transfer`` and each of ``arms`` are class indices ``[n]`` of the same items. ``arms`` always has
    ``"prior"``, the most common training class. ``validation`` has each arm's validation score: the strongest *by
    validation* is ``against``, so the test set does not choose its own opponent (ties: the first by name, prior last).
    ``wording`` says what an arm is called in the advice (``{"classical": "colour and gradient histograms"}``).

    The metric is balanced accuracy. ``effect`` is transfer - against, with the 95 % interval of
    :func:`.compare.effect_interval` (BCa, widened where few pairs differ). ``p`` is :func:`.compare.mcnemar_balanced`,
    which is the exact McNemar test where the test classes are of equal size, Holm-adjusted over the arms; accuracy's
    own McNemar test is not used for uneven classes, as it can point the other way.

    With ``metric`` "mean_average_precision", ``y`` is ``[n, C]`` of 0 and 1 and the arms are probabilities ``[n, C]``;
    with "r2", ``y`` and the arms are numbers ``[n]``. Interval, test and margin are then those of :mod:`.paired`, in
    the metric's own unit. The first rule that applies:

    1. **helps**: low > 0 and p < alpha against ``against``, and transfer is above every other arm, and above ``prior``
       with low > 0 and p < alpha: it must beat chance too.
    2. **harms**: high < 0 and p < alpha against ``against``.
    3. **equivalent**: the 1 - 2 alpha interval lies within ±margin (two one-sided tests, :func:`.compare.tost`).
    4. **undecided**: anything else; the advice says about how many more test items would settle it.

    >>> y = np.arange(200) % 2
    >>> wrong = np.where(np.arange(200) % 3 > 0, y, 1 - y)
    >>> arms = {"classical": wrong, "prior": np.zeros(200, int)}
    >>> verdict = decide(y, transfer=y, arms=arms, validation={"classical": 0.7, "prior": 0.5}, seed=0)
    >>> verdict.outcome, verdict.against, round(verdict.effect, 3)
    ('helps', 'classical', 0.335)
    """
    names = _checked_arms(arms, validation)
    given = (y, transfer, *(arms[name] for name in names))
    columns = compare.same_items(*given) if metric == METRIC else tuple(np.asarray(column) for column in given)
    truth, moved, others = columns[0], columns[1], dict(zip(names, columns[2:], strict=True))
    against = max(names, key=lambda name: validation[name])
    evidence = _gather(
        metric, truth, moved, others, against=against, margin=margin, alpha=alpha, resamples=resamples, seed=seed
    )
    outcome = _outcome(evidence, alpha=alpha)
    return Verdict(
        outcome=outcome,
        effect=evidence.effect.value,
        low=evidence.effect.low,
        high=evidence.effect.high,
        p=evidence.p[against],
        against=against,
        metric=metric,
        advice=_advice(outcome, evidence, margin=margin, alpha=alpha, said={**_PLAIN, **(wording or {})}),
        arms={
            name: metric_interval(metric, truth, said, resamples=resamples, seed=seed_of(seed, "verdict", name))
            for name, said in {"transfer": moved, **others}.items()
        },
    )


def _gather(
    metric: str,
    y: Targets,
    transfer: NDArray[Any],
    arms: Mapping[str, NDArray[Any]],
    *,
    against: str,
    margin: float,
    alpha: float,
    resamples: int,
    seed: int,
) -> _Evidence:
    tests = {
        name: paired.paired_test(metric, y, transfer, arm, seed=seed_of(seed, "mcnemar", name))
        for name, arm in arms.items()
    }
    p = dict(zip(tests, compare.holm([test.p for test in tests.values()]), strict=True))
    draw = seed_of(seed, "effect")
    rest: dict[str, Any] = {"resamples": resamples, "seed": draw}
    effect = paired.effect(metric, y, transfer, arms[against], **rest)
    same, narrow = paired.tost(metric, y, transfer, arms[against], margin=margin, alpha=alpha, **rest)
    over_prior = effect if against == PRIOR else paired.effect(metric, y, transfer, arms[PRIOR], **rest)
    return _Evidence(
        effect=effect,
        narrow=narrow,
        equivalent=same,
        p=p,
        lead={name: test.effect for name, test in tests.items()},
        above_chance=over_prior.low > 0 and p[PRIOR] < alpha,
        against=against,
        metric=metric,
        n=len(y),
        discordant=tests[against].n,
    )


def _outcome(found: _Evidence, *, alpha: float) -> Outcome:
    significant = found.p[found.against] < alpha
    if found.effect.low > 0 and significant and found.above_chance and min(found.lead.values()) > 0:
        return "helps"
    if found.effect.high < 0 and significant:
        return "harms"
    return "equivalent" if found.equivalent else "undecided"


def _advice(outcome: Outcome, found: _Evidence, *, margin: float, alpha: float, said: Mapping[str, str]) -> str:
    """One plain sentence, with the numbers."""
    rival = said.get(found.against, found.against)
    factor, digits, unit = _UNITS.get(found.metric, _POINTS)
    size = f"{abs(found.effect.value) * factor:.{digits}f}{unit}"
    limits = sorted((found.effect.low, found.effect.high), reverse=found.effect.value < 0)
    sign = (-1 if found.effect.value < 0 else 1) * factor
    shown = f"{size} [{sign * limits[0]:.{digits}f}, {sign * limits[1]:.{digits}f}]"
    if outcome == "helps":
        return f"Ship the transferred model: it is {shown} better than {rival}."
    if outcome == "harms":
        return f"Do not ship the transferred model: it is {shown} worse than {rival}, so ship that instead."
    if outcome == "equivalent":
        low, high = (f"{x * factor:+.{digits}f}" for x in (found.narrow.low, found.narrow.high))
        then = "add labelled items before using it" if found.against == PRIOR else "ship whichever is cheaper to run"
        return (
            f"Transfer makes no difference that matters: it is within ±{margin * factor:g}{unit} of {rival} "
            f"[{low}, {high}], so {then}."
        )
    side = "better" if found.effect.value > 0 else "worse"
    size = f"measured {shown} {side} than" if found.effect.value else "measured no better and no worse than"
    question = _open_question(found, margin, alpha, said)
    return f"Undecided on {found.n} test items: the transferred model {size} {rival}; {question}."


def _open_question(found: _Evidence, margin: float, alpha: float, said: Mapping[str, str]) -> str:
    """What stands between an undecided verdict and another one."""
    ahead = [name for name, lead in found.lead.items() if lead <= 0 and name != found.against]
    if found.effect.low > 0 and found.p[found.against] < alpha:
        if ahead:
            rival = said.get(ahead[0], ahead[0])
            return f"but {rival} did at least as well as it here, though not in validation, so test again on new items"
        return "but it is not reliably above chance, so add labelled items before using either"
    rest = {"n": found.n, "discordant": found.discordant}
    more = items_needed(found.effect, found.p[found.against], **rest, margin=margin, alpha=alpha) - found.n
    if more > _MANY:
        return f"even {_MANY:,} more would hardly settle it, so ship whichever is cheaper to run"
    return f"about {_rounded(more):,} more test items would settle it if this difference holds"


def items_needed(
    effect: Interval, p: float, *, n: int, discordant: int, margin: float = 0.02, alpha: float = 0.05
) -> int:
    """How many test items, all told, would settle it with 80 % power if the effect is what was measured.

    The smaller of two answers, both from a standard error that shrinks with the square root of n: enough to tell the
    effect from 0, or enough to hold it within ±margin. Models that have not yet differed on any item need only as many
    as make the pseudo-count interval narrow enough.

    >>> items_needed(Interval(value=0.05, low=-0.05, high=0.15), 0.33, n=100, discordant=20)
    818
    """
    normal = NormalDist()
    if not discordant:
        return max(n + 1, math.ceil(normal.inv_cdf(1 - alpha) * math.sqrt(2) / margin))
    error = (effect.high - effect.low) / (2 * normal.inv_cdf(0.975))
    size, power = abs(effect.value), normal.inv_cdf(_POWER)
    strength = size / error
    if strength > normal.inv_cdf(1 - alpha / 2):  # the interval is past 0, the exact test not yet
        strength = min(strength, max(1.0, normal.inv_cdf(1 - p / 2)))
    told_apart = ((normal.inv_cdf(1 - alpha / 2) + power) / strength) ** 2 if strength > 1e-6 else math.inf
    room = margin - size
    one_sided = normal.inv_cdf(1 - alpha) + (power if size else normal.inv_cdf((1 + _POWER) / 2))
    held = (one_sided * error / room) ** 2 if room > 0 else math.inf
    needed = min(max(told_apart, _LEAST_PAIRS / discordant), held) * n
    return max(n + 1, math.ceil(needed)) if needed < 1e9 else 10**9


def _rounded(count: int) -> int:
    """Up to two leading digits: the estimate is no better than that."""
    step: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step


def _checked_arms(arms: Mapping[str, ArrayLike], validation: Mapping[str, float]) -> tuple[str, ...]:
    """The arms' names, sorted, prior last."""
    if PRIOR not in arms or "transfer" in arms or set(arms) != set(validation):
        raise OptionError(
            "the arms are off",
            given=f"arms {sorted(arms)}, validation scores of {sorted(validation)}",
            allowed=f"no-transfer arms, {PRIOR!r} among them, with a validation score each",
        )
    if not all(np.isfinite(score) for score in validation.values()):
        raise OptionError("a validation score is off", given=dict(validation), allowed="finite numbers")
    return tuple(sorted(arms, key=lambda name: (name == PRIOR, name)))
