"""Medians and spreads. Pure."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """The median of some values, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        return cls(median(values), min(values), max(values))


def ratio(above, below):
    """The spread of the quotients of samples that were taken one after the other.

    Both are lists with one value a round. The machine drifts from round to round, so each round has
    its own quotient; rounds that only one of the two has are left out.
    """
    quotients = [a / b for a, b in zip(above, below, strict=False) if a is not None and b]
    return Spread.of(quotients) if quotients else None


def percentile(ordered, percent):
    """The value of a sorted list that so many of a hundred values do not exceed."""
    last = len(ordered) - 1
    return ordered[min(last, int(len(ordered) * percent / 100))]
