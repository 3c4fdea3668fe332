#!/usr/bin/env python3
"""One row alone, and the same row in a batch: does a matrix product give it the same bits?

The experiment of batch_invariant_ops: a [2048, 2048] matrix of evenly spaced numbers in ±100 times a [2048, 4096] one, first
row alone against first row of the whole product, ten times; in plain torch, then in lockstep's invariant mode.

    python examples/python/batch_invariance.py [--rows 2048] [--inner 2048] [--columns 4096] [--repeats 10]

Exit code: 0 the mode's rows were the same bits, 1 they were not.
"""

import argparse
import sys

import torch

import lockstep


def evenly_spaced(rows, columns):
    return torch.linspace(-100, 100, rows * columns).reshape(rows, columns)


def difference(a, b):
    """The largest difference between row 0 alone and row 0 of the batch, and whether all bits agree."""
    alone = torch.mm(a[:1], b)
    batch = torch.mm(a, b)[:1]
    return (alone - batch).abs().max().item(), torch.equal(alone, batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--inner", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    a, b = evenly_spaced(options.rows, options.inner), evenly_spaced(options.inner, options.columns)

    same = True
    for name, mode in (("plain torch", lockstep.invariant_mode(on=False)), ("invariant mode", lockstep.invariant_mode())):
        with mode:
            runs = [difference(a, b) for _ in range(options.repeats)]
        same = all(equal for _, equal in runs)
        print(f"{name:15} largest difference {max(d for d, _ in runs):g}, {'same' if same else 'other'} bits in "
              f"{sum(equal for _, equal in runs)} of {len(runs)} runs")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
