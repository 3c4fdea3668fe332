#!/usr/bin/env python3
"""Python's DataLoader over images in memory, the rival of loader_bench.

  python_dataloader.py --serve IMAGES LABELS     answers "<items|batched> <batch size> <workers>" on stdin with "done"
  python_dataloader.py IMAGES LABELS             prints samples a second for some of these

IMAGES holds records of 28 x 28 bytes, LABELS one byte a record, both without any header.
"""
import argparse
import sys
import time

import numpy
import torch
from torch.utils.data import DataLoader, Dataset


class Items(Dataset):
    """One sample per item, as in torchvision: an image and a label out of tensors."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


class Batched(Items):
    """A batch per call, which DataLoader prefers where it exists; the fastest way that Python's loader has."""

    def __getitems__(self, indices):
        return self.images[indices], self.labels[indices]


def taken_as_it_is(batch):
    return batch


def epoch(images, labels, kind, batch_size, workers):
    batched = kind == "batched"
    dataset = (Batched if batched else Items)(images, labels)
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=workers,
                        collate_fn=taken_as_it_is if batched else None)
    seen = 0
    for batch in loader:
        seen += len(batch[1])
    if seen != len(labels):
        raise RuntimeError(f"{seen} samples seen of {len(labels)}")


def serve(images, labels):
    print(f"torch {torch.__version__}", flush=True)
    for line in sys.stdin:
        kind, batch_size, workers = line.split()
        epoch(images, labels, kind, int(batch_size), int(workers))
        print("done", flush=True)


def measure(images, labels):
    for kind in ("items", "batched"):
        for workers in (0, 2):
            start = time.perf_counter()
            epoch(images, labels, kind, 64, workers)
            rate = len(labels) / (time.perf_counter() - start)
            print(f"{kind:8} {workers} workers: {rate / 1e6:.3f} M samples/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("images")
    parser.add_argument("labels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    labels = torch.from_numpy(numpy.fromfile(options.labels, dtype=numpy.uint8))
    images = torch.from_numpy(numpy.fromfile(options.images, dtype=numpy.uint8)).reshape(len(labels), 1, 28, 28)
    (serve if options.serve else measure)(images, labels)


if __name__ == "__main__":
    main()
