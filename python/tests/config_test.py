"""batch_invariant_config: every switch is set, and restored exactly."""

import warnings

from testing import TestCase, lockstep, main, torch

OPTIONS = {"manual_seed": 42, "threads": 1}


def switches():
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "cudnn precision": torch.backends.cudnn.conv.fp32_precision,
        "cuda precision": torch.backends.cuda.matmul.fp32_precision,
        "onednn precision": torch.backends.mkldnn.matmul.fp32_precision,
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "mode": lockstep.invariant_mode_enabled(),
    }


def draw():
    """Numbers by position, which the mode refuses."""
    with lockstep.invariant_mode(on=False):
        return torch.randperm(1000, device="cpu")


class Config(TestCase):
    def setUp(self):
        super().setUp()
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("medium")
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        self.addCleanup(self.put_back)

    @staticmethod
    def put_back():
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)

    def expect_set(self, threads):
        now = switches()
        self.assertEqual(
            now, now | {"deterministic": True, "warn only": False, "fill": True, "cudnn deterministic": True,
                        "cudnn benchmark": False, "cuda precision": "ieee", "onednn precision": "ieee",
                        "threads": threads, "dtype": torch.float32, "device": torch.device("cpu"), "mode": True})
        self.assertNotEqual(now["cudnn precision"], "tf32")

    def test_sets_and_restores(self):
        before, state = switches(), torch.get_rng_state()
        with lockstep.batch_invariant_config(**OPTIONS):
            self.expect_set(threads=1)
            draw()
        self.assertEqual(switches(), before)
        self.assertTrue(torch.get_rng_state().equal(state))

    def test_restores_after_an_exception(self):
        before, state = switches(), torch.get_rng_state()
        with self.assertRaises(KeyError):
            with lockstep.batch_invariant_config(**OPTIONS):
                draw()
                raise KeyError("from the inside")
        self.assertEqual(switches(), before)
        self.assertTrue(torch.get_rng_state().equal(state))

    def test_nests(self):
        before = switches()
        with lockstep.batch_invariant_config(threads=2):
            between = switches()
            with lockstep.batch_invariant_config(**OPTIONS):
                self.expect_set(threads=1)
            self.assertEqual(switches(), between)
        self.assertEqual(switches(), before)

    def test_the_seed_is_manual_seed(self):
        with lockstep.batch_invariant_config(manual_seed=42):
            first = draw()
        torch.manual_seed(42)
        self.assertTrue(first.equal(draw()))

    def test_refusals(self):
        before = switches()
        for precision, words in {"bf16": "tensor cores", "fp16": "tensor cores", "fp8": "expected fp32"}.items():
            self.assert_refused(words, lockstep.batch_invariant_config(precision=precision).__enter__)
        if not torch.cuda.is_available():
            self.assert_refused("force_cpu", lockstep.batch_invariant_config(force_cpu=False).__enter__)
        self.assert_refused("threads", lockstep.batch_invariant_config(threads=-1).__enter__)
        self.assertEqual(switches(), before)

    def test_the_class_is_entered_once(self):
        config = lockstep.BatchInvariantConfig()
        config.enter()
        self.assert_refused("not entered", config.enter)
        config.exit()
        self.assertFalse(lockstep.invariant_mode_enabled())


if __name__ == "__main__":
    main()
