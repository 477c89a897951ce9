"""Best-fit packing: lengths into bins of a capacity. Pure functions, no randomness."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: indices of `lengths` in bins that hold at most `capacity` each.

    The longest first, each into the bin where least room is left over (Johnson, 1974: at most 11/9 of the fewest bins
    that would do, and one). Ties go to the lower index, and a bin lists its indices in ascending order. Raises
    `ValueError` for a length over the capacity.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (what is left, bin), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"a length of {length} does not fit a capacity of {capacity}")
        at = bisect_left(room, (length, -1))
        if at == len(room):
            bins.append([])
            left, number = capacity, len(bins) - 1
        else:
            left, number = room.pop(at)
        bins[number].append(index)
        insort(room, (left - length, number))
    return [sorted(indices) for indices in bins]


def pack_evenly(lengths: Sequence[int], capacity: int, multiple: int) -> list[list[int]]:
    """As `pack`, for `multiple` ranks that wait for one another: no more rounds than needed, and even ones.

    A round is one bin on every rank. The capacity is lowered as far as the number of rounds allows, so that no rank
    idles while another computes a full bin. Bins come longest first; there may be fewer than a whole number of rounds.
    """
    bins = pack(lengths, capacity)
    most = -(-len(bins) // multiple) * multiple
    low, high = max(lengths, default=0), capacity  # at `high` it takes no more than `most` bins
    while low < high:
        middle = (low + high) // 2
        tried = pack(lengths, middle)
        if len(tried) <= most:
            bins, high = tried, middle
        else:
            low = middle + 1
    return sorted(bins, key=lambda indices: (-sum(lengths[i] for i in indices), indices))
