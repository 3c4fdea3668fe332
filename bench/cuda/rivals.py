#!/usr/bin/env python3
"""LibTorch's own fp32 kernels on a CUDA device against the invariant mode's: one process, by turns, device time.

Each line is LibTorch's time over ours, the median of the pairs, and the range of the middle half: above 1 ours is the faster one. TF32 is
off on both sides. `--reduced` takes small extents, `--device cpu` too: then it shows that the programs run, and no speed.

usage: LOCKSTEP_TORCH_LIBRARY=…/liblockstep_torch.so PYTHONPATH=python bench/cuda/rivals.py [--only NAME] [--reduced] [--device cpu]
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

import lockstep


class Clock:
    """Milliseconds of a call: of the device where there is one."""

    def __init__(self, device):
        self.on_device = device == "cuda"

    def time(self, call, repeats):
        if not self.on_device:
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            return (time.perf_counter() - start) * 1e3 / repeats
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / repeats


def in_mode(call):
    def inside():
        with lockstep.invariant_mode():
            call()
    return inside


def compare(name, call, clock, pairs):
    """Both sides of `call`, by turns."""
    sides = [call, in_mode(call)]
    for side in sides:
        side()
        side()
    once = clock.time(sides[0], 3)
    repeats = max(1, min(50, int(20 / max(once, 1e-3))))
    ratios, times = [], []
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        took = {side: clock.time(sides[side], repeats) for side in order}
        ratios.append(took[0] / took[1])
        times.append(took[1])
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"{name:58s} {statistics.median(ratios):6.2f}  [{low:.2f}, {high:.2f}]  ours {statistics.median(times):9.4f} ms", flush=True)


def gradients(function, *leaves):
    """A forward and backward of function(*leaves), whose upstream gradient is fixed."""
    with torch.no_grad():
        upstream = torch.randn_like(function(*leaves))

    def call():
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward(upstream)
    return call


def leaf(*shape, device):
    return torch.randn(*shape, device=device, requires_grad=True)


def operations(device, s):
    """Names and calls; s divides extents."""
    def make(*shape):
        return leaf(*shape, device=device)

    rows, batch = 32768 // s, 16 // min(s, 16)
    for width in (768, 3072):
        x, w, b = make(rows, 768), make(width, 768), make(width)
        yield f"linear {rows}x768 -> {width}", gradients(F.linear, x, w, b)
    for width in (768, 4096):
        x, g, b = make(rows, width), make(width), make(width)
        yield f"layer_norm {rows}x{width}", gradients(lambda x, g, b, n=width: F.layer_norm(x, (n,), g, b), x, g, b)
        yield f"rms_norm {rows}x{width}", gradients(lambda x, g, n=width: F.rms_norm(x, (n,), g, 1e-6), x, g)
    x = make(rows, 1024)
    yield f"softmax {rows}x1024", gradients(lambda x: x.softmax(-1), x)
    yield f"gelu {rows}x1024", gradients(F.gelu, x)
    logits, classes = make(8192 // s, 50304 // s), torch.randint(50304 // s, (8192 // s,), device=device)
    yield f"log_softmax {8192 // s}x{50304 // s}", gradients(lambda x: x.log_softmax(-1), logits)
    yield f"cross_entropy {8192 // s}x{50304 // s}", gradients(lambda x: F.cross_entropy(x, classes), logits)
    table = make(50304 // s, 768)
    zipf = (torch.rand(rows, device=device) ** 6 * (50304 // s)).long()
    yield f"embedding {50304 // s}x768, {rows} tokens, Zipf", gradients(lambda t: F.embedding(zipf, t), table)
    same = torch.full((rows,), 7, device=device)
    yield f"embedding {50304 // s}x768, {rows} equal tokens", gradients(lambda t: F.embedding(same, t), table)
    for causal in (False, True):
        q, k, v = (make(batch, 12, 1024 // s, 64) for _ in range(3))

        def attend(q, k, v, causal=causal):
            with torch.nn.attention.sdpa_kernel(EFFICIENT):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        yield f"attention {batch}x12x{1024 // s}x64{', causal' if causal else ''}", gradients(attend, q, k, v)
    for samples in (64, 1024 // s):
        for channels, size, filters in ((1, 28, 16), (16, 14, 32)):
            x, w, b = make(samples, channels, size, size), make(filters, channels, 3, 3), make(filters)
            yield (f"conv {samples}x{channels}x{size}x{size}, {filters} of 3x3",
                   gradients(lambda x, w, b: F.conv2d(x, w, b, padding=1), x, w, b))
    x = make(1024 // s, 16, 28, 28)
    yield f"max_pool {1024 // s}x16x28x28", gradients(lambda x: F.max_pool2d(x, 2), x)


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        samples, tokens, width = x.shape
        q, k, v = (t.view(samples, tokens, self.heads, -1).transpose(1, 2) for t in self.qkv(self.first(x)).chunk(3, -1))
        with torch.nn.attention.sdpa_kernel(EFFICIENT):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(samples, tokens, width))
        return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))


class Gpt2(torch.nn.Module):
    def __init__(self, vocabulary, context, layers, width, heads):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(vocabulary, width), torch.nn.Embedding(context, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = torch.nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.last(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def training_step(device, s):
    """GPT-2's 124M parameters, 8 samples of 1,024 tokens, AdamW and clipping as PyTorch has them."""
    torch.manual_seed(1)
    vocabulary, context, samples = 50304 // s, 1024 // s, 8 // min(s, 4)
    model = Gpt2(vocabulary, context, 12 if s == 1 else 1, 768, 12).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    data = torch.randint(vocabulary, (samples, context + 1), device=device)

    def losses_and_gradients():
        optimizer.zero_grad()
        model(data[:, :-1], data[:, 1:].contiguous()).backward()

    def step():
        losses_and_gradients()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    yield f"gpt2 124M, {samples}x{context}, forward and backward", losses_and_gradients
    yield f"gpt2 124M, {samples}x{context}, whole step", step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="a part of the names to run")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--reduced", action="store_true", help="small extents")
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    global EFFICIENT
    EFFICIENT = [torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION if arguments.device == "cuda"
                 else torch.nn.attention.SDPBackend.MATH]
    clock = Clock(arguments.device)
    s = 16 if arguments.reduced else 1
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "the CPU"
    print(f"torch {torch.__version__}, {name}")
    for make in (operations, training_step):
        for title, call in make(arguments.device, s):
            if arguments.only not in title:
                continue
            try:
                compare(title, call, clock, arguments.pairs)
            except RuntimeError as error:
                print(f"{title:58s} refused: {str(error).splitlines()[0][:200]}", flush=True)


if __name__ == "__main__":
    main()
