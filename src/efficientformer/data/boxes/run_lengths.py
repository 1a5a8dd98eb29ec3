"""Run lengths of COCO JSON: lengths of the runs of 0 and 1 in a mask, column by column, starting with 0."""

from typing import Any

_FIRST, _BITS, _MORE, _SIGN = 48, 5, 32, 16
"""A letter of the compressed text is 48 plus six bits: five of the number, lowest first, and whether more follow."""


def run_lengths(counts: Any) -> list[int]:
    """The lengths, from a list or from compressed text. Raises ValueError for anything else."""
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
        raise ValueError("counts must be whole numbers that are not negative, or their compressed text")
    return lengths


def _decompressed(text: str) -> list[int]:
    """From the third on, lengths are stored as differences from the last but one."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - _FIRST
        if not 0 <= bits < 2 * _MORE:
            raise ValueError(f"counts contain {letter!r}, which compressed run lengths never do")
        value |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("counts end within a number")
    return lengths
