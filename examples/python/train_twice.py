#!/usr/bin/env python3
"""Trains a Hugging Face causal language model twice in a plain loop, records both runs, and compares the recordings.

    python examples/python/train_twice.py --model gpt2 --text data.txt --recordings recordings --compare build/release/bin/compare_batches

The second run cuts each batch into micro-batches and uses another number of threads; batches, losses, gradients and
parameters are the same bits all the same. Exit code: that of compare_batches: 0 same, 1 different.
"""

import argparse
import pathlib
import subprocess
import sys

import torch
import transformers

import lockstep


def batches(tokenizer, text, samples, length, steps):
    """Consecutive windows of the text: (ids of samples, tokens [samples, length])."""
    tokens = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    windows = tokens[:len(tokens) // length * length].reshape(-1, length)
    if len(windows) < samples:
        raise SystemExit(f"train_twice: the text has {len(windows)} windows of {length} tokens; a batch needs {samples}")
    for step in range(steps):
        ids = torch.arange(step * samples, (step + 1) * samples) % len(windows)
        yield ids.tolist(), windows[ids]


def train(options, folder, micro_batch, threads):
    torch.manual_seed(options.seed)
    torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model,
                                                              attn_implementation=options.attention).train()
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    accumulator = lockstep.GradientAccumulator(named)
    recorder = lockstep.Recorder(str(folder), semantic={"model": options.model}, tensors_every=1)
    text = pathlib.Path(options.text).read_text(encoding="utf-8")

    with lockstep.invariant_mode():
        for step, (ids, tokens) in enumerate(batches(tokenizer, text, options.samples, options.length, options.steps)):
            recorder.batch(step, ids, {"tokens": tokens})
            optimizer.zero_grad()
            accumulator.begin(options.samples)
            for first in range(0, options.samples, micro_batch):
                part = slice(first, min(first + micro_batch, options.samples))
                with accumulator.micro_batch(first, part.stop - first):
                    model(input_ids=tokens[part], labels=tokens[part]).loss.backward()
            loss = accumulator.finish()
            recorder.loss("loss", loss)
            recorder.gradients(named)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recorder.parameters(named)
            recorder.end_step()
            print(f"{folder.name}: step {step}, loss {loss:.6f}")
    recorder.close()
    return recorder.file()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gpt2", help="a name on the Hugging Face hub, or a folder")
    parser.add_argument("--text", required=True, help="a text file to train on")
    parser.add_argument("--recordings", default="recordings/train_twice", type=pathlib.Path)
    parser.add_argument("--compare", default="compare_batches", help="the compare_batches program")
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="sdpa")
    parser.add_argument("--samples", type=int, default=6, help="samples in a batch")
    parser.add_argument("--length", type=int, default=32, help="tokens in a sample")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    first = train(options, options.recordings / "whole", micro_batch=options.samples, threads=1)
    second = train(options, options.recordings / "cut", micro_batch=2, threads=2)
    return subprocess.run([options.compare, first, second], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
