#!/usr/bin/env python3
"""The trainer gpt2 against Hugging Face's transformers, on a small configuration with random weights: logits, loss, and weights
that go there and back.

usage: parity_test.py PROGRAM        exit 0 all is well, 77 skipped (with the reason), 1 a difference
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy
    import safetensors.numpy
    import safetensors.torch
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

PROGRAM = sys.argv.pop(1)
VOCABULARY, CONTEXT, WINDOWS = 307, 40, 6
# Two float32 computations of the same sums in other orders: a few hundred roundings of numbers below 16.
TOLERANCE = 5e-5


def random_model():
    torch.manual_seed(7)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=48, n_layer=3, n_head=4,
                        bos_token_id=None, eos_token_id=None)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which begin as 0 and 1
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def held_out_loss(model, tokens):
    with torch.no_grad():
        logits = model(tokens[:, :-1]).logits.flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).item()


class Parity(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = random_model()
        self.theirs = self.folder / "theirs"
        self.model.save_pretrained(self.theirs, safe_serialization=True)
        generator = numpy.random.default_rng(3)
        self.tokens = generator.integers(0, VOCABULARY, CONTEXT * WINDOWS + 1)
        self.data = self.folder / "tokens.bin"
        self.tokens.astype("<u2").tofile(self.data)

    def gpt2(self, *arguments, code=0):
        command = [PROGRAM, "--data", self.data, "--held-out-data", self.data, "--epochs", "0", "--json", *arguments]
        found = subprocess.run([str(a) for a in command], capture_output=True, text=True, check=False)
        self.assertEqual(found.returncode, code, found.stderr)
        return json.loads(found.stdout) if code == 0 else found.stderr

    def windows(self):
        return torch.tensor(numpy.stack([self.tokens[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(WINDOWS)]))

    def check_logits(self, model, *arguments):
        file = self.folder / "logits.safetensors"
        result = self.gpt2("--save-logits", file, *arguments)
        ours = safetensors.numpy.load_file(file)
        self.assertEqual(ours["tokens"].tolist(), self.tokens[:CONTEXT].tolist())
        with torch.no_grad():
            expected = model(torch.tensor(ours["tokens"])[None]).logits[0].numpy()
        self.assertEqual(ours["logits"].shape, expected.shape)
        difference = numpy.abs(ours["logits"] - expected).max()
        self.assertGreater(numpy.abs(expected).max(), 1)
        self.assertLess(difference, TOLERANCE)
        self.assertAlmostEqual(result["findings"]["held_out_loss"], held_out_loss(model, self.windows()), delta=TOLERANCE)

    def test_logits_and_loss_of_their_weights(self):
        for arguments in (["--no-invariant"], ["--no-invariant", "--attention", "parts"], ["--attention", "parts"], []):
            with self.subTest(arguments=arguments):
                self.check_logits(self.model, "--load", self.theirs, *arguments)

    def test_half_precision_is_widened(self):
        for dtype in (torch.float16, torch.bfloat16):
            with self.subTest(dtype=dtype):
                half = random_model().to(dtype)
                half.save_pretrained(self.folder / "half", safe_serialization=True)
                self.check_logits(half.float(), "--load", self.folder / "half", "--no-invariant")

    def test_names_without_prefix_and_masks_of_early_files(self):
        weights = {name.removeprefix("transformer."): tensor.contiguous()
                   for name, tensor in self.model.state_dict().items() if name != "lm_head.weight"}
        weights["h.0.attn.bias"] = torch.ones(1, 1, CONTEXT, CONTEXT).tril()
        file = self.folder / "early.safetensors"
        safetensors.torch.save_file(weights, file)
        self.check_logits(self.model, "--load", file, "--no-invariant", "--layers", "3", "--width", "48", "--heads", "4",
                          "--context", str(CONTEXT), "--vocabulary", str(VOCABULARY))

    def test_weights_go_there_and_back(self):
        saved, again = self.folder / "saved", self.folder / "again"
        self.gpt2("--no-invariant", "--load", self.theirs, "--save", saved)
        model = GPT2LMHeadModel.from_pretrained(saved).eval()
        for (name, expected), (other, found) in zip(self.model.named_parameters(), model.named_parameters(), strict=True):
            self.assertEqual(name, other)
            self.assertTrue(torch.equal(found, expected), name)
        self.gpt2("--no-invariant", "--load", saved, "--save", again)
        for file in ("model.safetensors", "config.json"):
            self.assertEqual((saved / file).read_bytes(), (again / file).read_bytes())

    def test_what_was_trained_here_runs_there(self):
        saved = self.folder / "trained"
        self.gpt2("--no-invariant", "--load", self.theirs, "--epochs", "2", "--warmup-steps", "0", "--save", saved)
        self.check_logits(GPT2LMHeadModel.from_pretrained(saved).eval(), "--load", saved, "--no-invariant")

    def test_what_cannot_be_loaded_is_refused_by_name(self):
        file = self.theirs / "model.safetensors"
        whole = safetensors.torch.load_file(file)

        def expect(words, weights=None, **config):
            settings = json.loads((self.theirs / "config.json").read_text())
            changed = self.folder / "changed"
            changed.mkdir(exist_ok=True)
            (changed / "config.json").write_text(json.dumps(settings | config))
            safetensors.torch.save_file(whole if weights is None else weights, changed / "model.safetensors")
            self.assertIn(words, self.gpt2("--load", changed, code=2))

        name = "transformer.h.1.mlp.c_fc.weight"
        expect("h.1.mlp.c_fc.weight", {k: v for k, v in whole.items() if k != name})
        expect("shape of tensor " + name, whole | {name: whole[name].t().contiguous()})
        expect("transformer.h.3.ln_1.weight", whole | {"transformer.h.3.ln_1.weight": torch.ones(48)})
        expect("float64", whole | {name: whole[name].double()})
        expect("lm_head.weight", whole | {"lm_head.weight": torch.zeros(VOCABULARY, 48)})
        expect("n_embd", n_embd="wide")
        expect("activation_function", activation_function="relu")
        expect("scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx=True)
        expect("model_type", model_type="bert")
        self.assertIn("--load and --layers", self.gpt2("--load", self.theirs, "--layers", "3", code=2))
        self.assertIn("no-such-place", self.gpt2("--load", "no-such-place", "--context", "8", code=2))


if __name__ == "__main__":
    unittest.main()
