#!/usr/bin/env python3
"""What recording every gradient and parameter costs a training step of GPT-2 124M in fp32: one process, by turns, wall time.

Each line is a pair of steps, with the recording and without it, the device idle before and after each; the last one is the median of the
cost, with the range of its middle half. The bar is 1 % of the step. `host` is the time until the calls of the recorder return: none of
them waits for the device. `--reduced` takes small extents, `--device cpu` too: then it shows that the program runs, and no cost.

usage: LOCKSTEP_TORCH_LIBRARY=…/liblockstep_torch.so PYTHONPATH=python bench/cuda/recording.py [--eager] [--reduced] [--device cpu]
"""

import argparse
import contextlib
import statistics
import tempfile
import time

import torch

import lockstep
import rivals


class Training:
    """GPT-2's 124M parameters, 8 samples of 1,024 tokens, AdamW and clipping as PyTorch has them."""

    def __init__(self, device, s, in_mode):
        torch.manual_seed(1)
        vocabulary, context, self.samples = 50304 // s, 1024 // s, 8 // min(s, 4)
        self.device, self.in_mode, self.steps = device, in_mode, 0
        self.model = rivals.Gpt2(vocabulary, context, 12 if s == 1 else 1, 768, 12).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.parameters = list(self.model.named_parameters())
        self.data = torch.randint(vocabulary, (self.samples, context + 1), device=device)
        self.host_seconds = 0.0

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    @contextlib.contextmanager
    def on_host(self):
        begin = time.perf_counter()
        yield
        self.host_seconds += time.perf_counter() - begin

    def step(self, recorder):
        """One step, recorded where there is a recorder."""
        tokens, targets = self.data[:, :-1], self.data[:, 1:].contiguous()
        if recorder is not None:
            with self.on_host():
                recorder.batch(self.steps, list(range(self.samples)), {"tokens": tokens, "targets": targets})
        with lockstep.invariant_mode(self.in_mode):
            self.optimizer.zero_grad()
            loss = self.model(tokens, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if recorder is not None:
            with self.on_host():
                recorder.loss("loss", loss)
                recorder.gradients(self.parameters)
        with lockstep.invariant_mode(self.in_mode):
            self.optimizer.step()
        if recorder is not None:
            with self.on_host():
                recorder.parameters(self.parameters)
                recorder.end_step()
            self.steps += 1

    def time(self, recorder):
        """Milliseconds of a step, and those of the recorder's calls."""
        self.wait()
        self.host_seconds = 0.0
        begin = time.perf_counter()
        self.step(recorder)
        self.wait()
        return (time.perf_counter() - begin) * 1e3, self.host_seconds * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--eager", action="store_true", help="LibTorch's own kernels in place of the invariant mode's")
    parser.add_argument("--reduced", action="store_true", help="small extents")
    parser.add_argument("--pairs", type=int, default=21)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    backend = torch.nn.attention.SDPBackend
    rivals.EFFICIENT = [backend.EFFICIENT_ATTENTION if arguments.device == "cuda" else backend.MATH]
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "the CPU"
    print(f"torch {torch.__version__}, {name}, {'LibTorch eager' if arguments.eager else 'invariant mode'}")
    training = Training(arguments.device, 16 if arguments.reduced else 1, not arguments.eager)
    with tempfile.TemporaryDirectory() as folder:
        recorder = lockstep.Recorder(folder, tensors_every=1, full_batches=1)
        for warm_up in range(2):
            training.step(recorder)
            training.step(None)
        costs, plain_times = [], []
        for pair in range(arguments.pairs):
            took = {}
            for recorded in ((True, False) if pair % 2 == 0 else (False, True)):
                took[recorded], host = training.time(recorder if recorded else None)
                if recorded:
                    of_host = host
            costs.append(100 * (took[True] / took[False] - 1))
            plain_times.append(took[False])
            print(f"recorded {took[True]:9.2f} ms  without {took[False]:9.2f} ms  cost {costs[-1]:6.2f} %  host {of_host:6.2f} ms",
                  flush=True)
        recorder.close()
    low, middle, high = statistics.quantiles(costs, n=4)
    print(f"cost of recording {len(training.parameters)} gradients and parameters each step: "
          f"{middle:.2f} % [{low:.2f}, {high:.2f}] of {statistics.median(plain_times):.2f} ms; bar: 1 %")


if __name__ == "__main__":
    main()
