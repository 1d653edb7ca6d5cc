"""What Bosch's pressure formulas share: a division that a chip's small integers can do.

MicroPython's integers are objects on the heap from 30 bits on, and a reading must not allocate; so
BST's formulas are rearranged here and in the drivers until their values fit, with any trimming
values that real parts have.
"""


def times_3125(dividend: int, divisor: int) -> int:
    """dividend * 3125 // divisor, less one at most, for dividends below 2**30 and divisors below
    2**21: 3125 is 125 * 25, and no product is larger than either step allows."""
    left = dividend % divisor * 125
    return dividend // divisor * 3125 + left // divisor * 25 + left % divisor * 25 // divisor
