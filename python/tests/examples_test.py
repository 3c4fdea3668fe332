"""The programs of examples/python, with small random models in folders that from_pretrained reads."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from testing import ATTENTIONS, TestCase, main, need, torch

need("transformers", "tokenizers")

import tokenizers  # noqa: E402
import transformers  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"
COMPARE = os.environ.get("LOCKSTEP_COMPARE_BATCHES")
TEXT = "the quick brown fox jumps over the lazy dog and then it sleeps in the warm sun until the evening comes\n" * 30


def save_tokenizer(folder):
    """A tokenizer of characters' pairs, learnt from TEXT."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator([TEXT], tokenizers.trainers.BpeTrainer(vocab_size=90, special_tokens=["[PAD]", "[UNK]"]))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]",
                                         unk_token="[UNK]").save_pretrained(folder)


def save_gpt2(folder):
    torch.manual_seed(1)
    transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=100, n_positions=64, n_embd=48, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.1)).save_pretrained(folder)
    save_tokenizer(folder)


def save_distilbert(folder):
    torch.manual_seed(2)
    transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(
        vocab_size=100, max_position_embeddings=64, dim=48, hidden_dim=96, n_layers=2, n_heads=3)).save_pretrained(folder)
    save_tokenizer(folder)


class Examples(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_example(self, name, *arguments, expect=0):
        result = subprocess.run([sys.executable, "-B", EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result.stdout

    def test_batch_invariance(self):
        text = self.run_example("batch_invariance.py", "--repeats", 2, "--rows", 256)
        self.assertIn("largest difference 0, same bits in 2 of 2 runs", text)

    def test_gpt2_generation(self):
        save_gpt2(self.folder)
        for attention in ATTENTIONS:
            text = self.run_example("gpt2_generation.py", "--model", self.folder, "--attention", attention, "--new-tokens", 6,
                                    "the quick brown", "it sleeps in the")
            self.assertEqual(text.count("[same bits]"), 2)

    def test_distilbert_classification(self):
        save_distilbert(self.folder)
        for attention in ATTENTIONS:
            text = self.run_example("distilbert_classification.py", "--model", self.folder, "--attention", attention,
                                    "the lazy dog", "the quick brown fox jumps over it", "sun")
            self.assertEqual(text.count("[same bits]"), 3)

    @unittest.skipUnless(COMPARE, "built without the tools")
    def test_train_twice(self):
        save_gpt2(self.folder / "model")
        (self.folder / "text").write_text(TEXT)
        text = self.run_example("train_twice.py", "--model", self.folder / "model", "--text", self.folder / "text",
                                "--recordings", self.folder / "recordings", "--compare", COMPARE, "--steps", 3, "--length", 16,
                                "--attention", ATTENTIONS[-1])
        self.assertIn("same", text)


if __name__ == "__main__":
    main()
