"""Numbers for people: rounded once, half up, where they are shown. The ledger keeps the nanoseconds."""

from ..model.interval import NS_PER_HOUR


def round_half_up(numerator: int, denominator: int, scale: int) -> str:
    """``numerator / denominator`` as a decimal with ``scale`` places, in integers throughout. Neither is negative."""
    whole = (2 * numerator * 10**scale + denominator) // (2 * denominator)
    digits = str(whole).rjust(scale + 1, "0")
    return f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits


def hours(length_ns: int, scale: int) -> str:
    """Nanoseconds as hours."""
    return round_half_up(length_ns, NS_PER_HOUR, scale)
