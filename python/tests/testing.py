"""What the Python tests share: the library, loaded; comparisons of bits; a test program's end."""

import importlib
import sys
import unittest

SKIPPED = 77  # CTest's SKIP_RETURN_CODE


def need(*packages):
    """Ends the program as skipped, with the reason, where a package cannot be imported."""
    for name in packages:
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            print(f"skipped: {sys.executable} cannot import {name}: {error}")
            sys.exit(SKIPPED)


need("torch")

import torch  # noqa: E402

import lockstep  # noqa: E402


# Forms of attention that transformers knows and the mode serves.
ATTENTIONS = ("eager", "sdpa") if lockstep.operation_class("aten::scaled_dot_product_attention") == "ours" else ("eager",)


def same_bits(a, b):
    """Every element equal, -0 and 0 told apart, NaN equal to NaN: what a digest compares."""
    return lockstep.digest(a) == lockstep.digest(b)


class TestCase(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.addCleanup(self.assertFalse, lockstep.invariant_mode_enabled(), "a test left the mode on")

    def assert_same_bits(self, a, b, message=None):
        if not same_bits(a, b):
            self.fail(f"{message or 'tensors'}: {lockstep.digest(a)} is not {lockstep.digest(b)}; the largest difference is "
                      f"{(a.double() - b.double()).abs().max().item():g}")

    def assert_refused(self, words, call, *args, **kwargs):
        """An error with these words; returns its text."""
        try:
            call(*args, **kwargs)
        except Exception as error:
            self.assertIn(words, str(error))
            return str(error)
        self.fail(f"accepted; expected an error with '{words}'")


def main():
    unittest.main(verbosity=2)
