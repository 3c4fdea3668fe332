"""Recordings from Python: what compare_batches reads."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from testing import TestCase, lockstep, main, torch

from torch.nn import functional as F

COMPARE = os.environ.get("LOCKSTEP_COMPARE_BATCHES")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def train(folder, seed=1, steps=3, device="cpu"):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    recorder = lockstep.Recorder(str(folder), semantic={"model": "small"}, tensors_every=1)
    torch.manual_seed(2)
    for step in range(steps):
        x, y = torch.randn(6, 5).to(device), torch.randint(0, 3, (6,)).to(device)
        recorder.batch(step, list(range(6 * step, 6 * step + 6)), {"x": x, "y": y})
        with lockstep.invariant_mode():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            recorder.loss("loss", loss)
            recorder.loss("twice", 2.0 * loss.item())
            recorder.tensor("logits", model(x))
            recorder.gradients(list(model.named_parameters()))
            optimizer.step()
        recorder.optimizer([(f"{name}.momentum_buffer", optimizer.state[p]["momentum_buffer"])
                            for name, p in model.named_parameters()])
        recorder.parameters(list(model.named_parameters()))
        recorder.end_step()
    recorder.close()
    return recorder.file()


def compare(*files):
    return subprocess.run([COMPARE, *files], capture_output=True, text=True, check=False)


class Recordings(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    @unittest.skipUnless(COMPARE, "built without the tools")
    def test_two_runs_are_the_same(self):
        result = compare(train(self.folder / "a"), train(self.folder / "b"))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless(COMPARE, "built without the tools")
    def test_a_cuda_device_records_what_the_cpu_records(self):
        result = compare(train(self.folder / "a"), train(self.folder / "b", device=DEVICE))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless(COMPARE, "built without the tools")
    def test_another_seed_is_found(self):
        result = compare(train(self.folder / "a"), train(self.folder / "b", seed=9))
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("different", result.stdout)

    def test_misuse_is_refused_in_words(self):
        recorder = lockstep.Recorder(str(self.folder))
        recorder.begin_step(0)
        self.assert_refused("[2, …]", recorder.batch_part, 0, [1, 2], {"x": torch.zeros(3, 2)})
        self.assert_refused("one floating-point element", recorder.loss, "loss", torch.zeros(2))
        self.assert_refused("a number", recorder.loss, "loss", "one")
        self.assert_refused("end_step", recorder.close)

    def test_an_event_and_a_forced_step(self):
        recorder = lockstep.Recorder(str(self.folder), tensors_every=0)
        recorder.begin_step(0, epoch=2, batch_index=5)
        self.assertFalse(recorder.wants_tensors())
        recorder.force_tensors()
        self.assertTrue(recorder.wants_tensors())
        recorder.event("note", "from Python")
        recorder.end_step()
        recorder.sync()
        recorder.close()
        self.assertTrue(os.path.getsize(recorder.file()) > 0)


if __name__ == "__main__":
    main()
