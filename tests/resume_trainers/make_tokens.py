#!/usr/bin/env python3
"""Writes a token file: little-endian uint16 numbers below --vocabulary, the same for the same arguments. Small numbers
are frequent, as the words of a text are, and each depends a little on the one before.

usage: make_tokens.py --tokens COUNT --vocabulary N FILE
"""

import argparse
import array
import sys


def draws(count):
    """Numbers in [0, 1) from a generator of Knuth's (The Art of Computer Programming 2, MMIX)."""
    state = 1
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (state >> 40) / 2**24


def tokens(count, vocabulary):
    token = 0
    for u in draws(count):
        step = int(vocabulary * u**12)
        token = (token // 7 + step) % vocabulary
        yield token


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("file")
    arguments = parser.parse_args()
    numbers = array.array("H", tokens(arguments.tokens, arguments.vocabulary))
    if sys.byteorder == "big":
        numbers.byteswap()
    with open(arguments.file, "wb") as file:
        numbers.tofile(file)


if __name__ == "__main__":
    main()
