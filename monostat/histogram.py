"""How long something took, as Prometheus counts it: the store and the hub measure with it."""


class Histogram:
    """Durations in seconds: their number, their sum, and how many were within each bound."""

    BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

    def __init__(self) -> None:
        self.sum = 0.0
        self.count = 0
        self._within = [0] * len(self.BOUNDS)

    def observe(self, seconds: float) -> None:
        """Counts one duration, in every bound that it does not exceed."""
        self.sum += seconds
        self.count += 1
        for index, bound in enumerate(self.BOUNDS):
            self._within[index] += seconds <= bound

    def buckets(self) -> list[tuple[str, int]]:
        """Each upper bound as Prometheus writes it, with the number of durations within it."""
        buckets = []
        for index, bound in enumerate(self.BOUNDS):
            buckets.append((str(bound), self._within[index]))
        buckets.append(("+Inf", self.count))
        return buckets
