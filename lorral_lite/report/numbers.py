"""How a report writes figures: a true minus sign, a dash for what is not known, intervals as "low to high"."""

import math


def number(value: float | None, places: int = 1, sign: str = "-") -> str:
    """A figure; ``sign`` "+" writes a plus before positive ones. A dash for None and nan."""
    return "–" if _unknown(value) else f"{value:{sign}.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 2) -> str:
    """A difference, always with its sign."""
    return number(value, places, "+")


def between(low: float | None, high: float | None, show=number) -> str:
    """An interval, "" when it is not known."""
    return "" if _unknown(low) or _unknown(high) else f"{show(low)} to {show(high)}"


def span(value: float | None, low: float | None, high: float | None, show=number) -> str:
    """A figure with its interval in brackets where that is known."""
    interval = between(low, high, show)
    return show(value) + (f" ({interval})" if interval else "")


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)
