"""Whether a load ran steadily, judged by what it moved in each second after the ramp. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression, pstdev

MIN_SECONDS = 5
MAX_VARIATION = 0.20
"""Standard deviation by mean; above it the seconds differ too much for their mean to tell anything."""
MAX_DRIFT = 0.10
"""Rise or fall of the fitted line over the whole window, by mean. Source: SNIA PTS, steady state (slope)."""


@dataclass(frozen=True)
class Steadiness:
    """Mean in bytes a second; variation and drift as shares of it; `reason` is empty where it was steady."""

    seconds: int
    mean: float
    variation: float
    drift: float
    reason: str

    @property
    def steady(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        if self.seconds < MIN_SECONDS:
            return f"not steady: {self.reason}"
        told = f"variation {self.variation:.0%}, drift {self.drift:+.0%} over {self.seconds} s"
        return f"steady: {told}" if self.steady else f"not steady: {self.reason} ({told})"


def per_second(logs: Iterable[str]) -> list[float]:
    """Bytes a second of all jobs of all nodes together, from fio's bandwidth logs averaged over 1000 ms.

    A line is `ms, KiB/s, direction, block, offset`. A second in which any job moved nothing has no line of
    that job and counts as 0 for it; the last, incomplete second is left out.
    """
    found: dict[int, float] = defaultdict(float)
    for text in logs:
        for line in text.splitlines():
            parts = line.split(",")
            if len(parts) >= 3 and parts[0].strip().isdigit():
                # fio stamps the end of a second, some ms early or late
                found[round(int(parts[0]) / 1000)] += float(parts[1]) * 1024
    last = max(found, default=0)
    return [found.get(second, 0.0) for second in range(1, last + 1)]


def judge(samples: Sequence[float], asked_s: float) -> Steadiness:
    """Judge bytes a second, one sample a second, of a load that was to run `asked_s` seconds."""
    window = samples[: max(1, int(asked_s))]
    mean = fmean(window) if window else 0.0
    if len(window) < MIN_SECONDS:
        why = f"{len(window)} s are too few to tell, expected {MIN_SECONDS} s or more"
        return Steadiness(len(window), mean, 0.0, 0.0, why)
    if mean == 0:
        return Steadiness(len(window), 0.0, 0.0, 0.0, "nothing was moved")
    variation = pstdev(window) / mean
    drift = linear_regression(range(len(window)), window).slope * (len(window) - 1) / mean
    idle = sum(value == 0 for value in window)
    why = ""
    if idle:
        why = f"nothing was moved in {idle} of {len(window)} s"
    elif variation > MAX_VARIATION:
        why = f"the seconds vary by more than {MAX_VARIATION:.0%}"
    elif abs(drift) > MAX_DRIFT:
        why = f"it {'rises' if drift > 0 else 'falls'} by more than {MAX_DRIFT:.0%}"
    return Steadiness(len(window), mean, variation, drift, why)
