"""Every operation that the mode overrides, over PyTorch's own sample inputs: values and gradients against eager, PyTorch's
gradcheck, and one row alone against a batch."""

import itertools
import warnings

from testing import TestCase, lockstep, main, need, same_bits, torch

need("numpy", "expecttest")

from torch.nn import functional as F  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

# PyTorch's name of an operation: what the mode may refuse, by words of the message.
OPERATIONS = {
    "mm": (),
    "bmm": (),
    "addmm": (),
    "baddbmm": (),
    "matmul": (),
    "mv": (),
    "nn.functional.linear": (),
    "softmax": ("dtype",),
    "log_softmax": ("dtype",),
    "nn.functional.layer_norm": ("eps: expected",),
    "nn.functional.rms_norm": ("eps: expected",),
    "nn.functional.embedding": ("sparse", "scale_grad_by_freq", "aten::embedding_renorm_"),
    "nn.functional.gelu": (),
    "nn.functional.silu": (),
    "nn.functional.softplus": (),
    "sigmoid": (),
    "tanh": (),
    "exp": (),
    "exp2": (),
    "expm1": (),
    "log": (),
    "log2": (),
    "log1p": (),
    "erf": (),
    "rsqrt": (),
    "sin": (),
    "cos": (),
    "sum": ("dtype",),
    "mean": ("dtype",),
    "add": ("broadcast",),
    "sub": ("broadcast",),
    "mul": ("broadcast",),
    "div.no_rounding_mode": ("broadcast",),
    "addcmul": (),
    "addcdiv": (),
    "lerp": ("aten::lerp.Tensor",),
    "nn.functional.cross_entropy": ("one of them", "aten::nll_loss2d_forward", "rows, classes", "aten::"),
    "nn.functional.nll_loss": ("rows, classes", "aten::nll_loss2d_forward", "at least one target"),
    "nn.functional.mse_loss": ("one shape",),
    "nn.functional.l1_loss": ("one shape",),
    "nn.functional.binary_cross_entropy_with_logits": ("one shape", "needs one"),
    "nn.functional.margin_ranking_loss": ("one shape",),
}
INFOS = {(f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name): info for info in op_db}
# Samples that must run and not be refused, at least.
SHARE = 0.25


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def samples_of(name, dtype, limit):
    info = INFOS[name]
    for sample in itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=True), limit):
        arguments = sample.args
        if name == "nn.functional.binary_cross_entropy_with_logits":  # a target that wants a gradient is refused
            arguments = (sample.args[0].detach(), *sample.args[1:])
        yield info.op, (sample.input, *arguments), sample.kwargs


def run(operation, arguments, keywords):
    """The result, and gradients of a fixed weighting of it with respect to every tensor that wants one."""
    inputs = [t for t in tensors_in([arguments, keywords]) if t.requires_grad]
    output = operation(*arguments, **keywords)
    if not output.requires_grad:
        return [output.detach()]
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    gradients = torch.autograd.grad(output, inputs, weights, allow_unused=True)
    return [output.detach(), *(g for g in gradients if g is not None)]


class SampleInputs(TestCase):
    def test_values_and_gradients_are_those_of_eager(self):
        for name, refused_words in OPERATIONS.items():
            ran = refused = 0
            for operation, arguments, keywords in samples_of(name, torch.float32, limit=60):
                expected = run(operation, arguments, keywords)
                with self.subTest(operation=name, sample=ran + refused), lockstep.invariant_mode():
                    try:
                        found = run(operation, arguments, keywords)
                    except RuntimeError as error:
                        self.assertTrue(any(word in str(error) for word in refused_words), error)
                        refused += 1
                        continue
                    ran += 1
                    self.assertEqual(len(found), len(expected))
                    for ours, theirs in zip(found, expected):
                        self.assertEqual(ours.dtype, theirs.dtype)
                        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5, equal_nan=True)
            self.assertGreaterEqual(ran, SHARE * (ran + refused), f"{name}: {refused} of {ran + refused} samples refused")

    def test_two_runs_and_any_number_of_threads_give_the_same_bits(self):
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        for name in OPERATIONS:
            for operation, arguments, keywords in samples_of(name, torch.float32, limit=6):
                with self.subTest(operation=name), lockstep.invariant_mode():
                    runs = []
                    for count in (1, 2, 3):
                        torch.set_num_threads(count)
                        try:
                            runs.append(run(operation, arguments, keywords))
                        except RuntimeError:
                            runs.append([])
                    for other in runs[1:]:
                        self.assertEqual(len(other), len(runs[0]))
                        for a, b in zip(runs[0], other):
                            self.assertTrue(same_bits(a, b))


class Gradcheck(TestCase):
    """PyTorch's gradcheck on the float32 kernels themselves: steps and tolerances are those that float32 allows, wide enough
    for rounding (1e-7 / 1e-2) and far narrower than a wrong term of a derivative."""

    # Kinks that a step may cross, and poles that samples lie too near to for steps of float32.
    LEFT_OUT = ("nn.functional.l1_loss", "nn.functional.margin_ranking_loss", "log1p", "div.no_rounding_mode", "addcdiv")

    def test_gradcheck(self):
        for name in OPERATIONS:
            if name in self.LEFT_OUT:
                continue
            checked = 0
            for operation, arguments, keywords in samples_of(name, torch.float32, limit=12):
                inputs = tuple(t for t in tensors_in([arguments, keywords]) if t.requires_grad)
                if not 0 < sum(t.numel() for t in inputs) <= 1000 or checked == 3:
                    continue

                def function(*_, operation=operation, arguments=arguments, keywords=keywords):
                    return operation(*arguments, **keywords)

                with self.subTest(operation=name, sample=checked), lockstep.invariant_mode(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that the input is not double precision
                    try:
                        operation(*arguments, **keywords)
                    except RuntimeError:
                        continue  # the test above looks at refusals
                    self.assertTrue(torch.autograd.gradcheck(function, inputs, eps=1e-2, atol=3e-2, rtol=3e-2))
                    checked += 1
            self.assertGreater(checked, 0, name)

    def test_gradcheck_can_fail(self):
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return torch.tanh(x)

            @staticmethod
            def backward(ctx, dy):
                return dy

        with lockstep.invariant_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = torch.linspace(-1, 1, 6).requires_grad_()
            with self.assertRaisesRegex(RuntimeError, "Jacobian mismatch"):
                torch.autograd.gradcheck(Wrong.apply, (x,), eps=1e-2, atol=3e-2, rtol=3e-2)

    def test_float64_is_refused_in_words(self):
        with lockstep.invariant_mode():
            self.assert_refused("float64", torch.mm, torch.ones(3, 3).double(), torch.ones(3, 3).double())


# One row alone and in a batch: the operation of [rows, …] and how many elements a row has.
ROWS, FEATURES = 9, 53
WEIGHT, BIAS = torch.randn(31, FEATURES), torch.randn(31)
ROWWISE = {
    "linear": lambda x: F.linear(x, WEIGHT, BIAS),
    "matmul": lambda x: x @ WEIGHT.t(),
    "bmm": lambda x: torch.bmm(x[:, None, :], x[:, :, None]).flatten(1),
    "addmm": lambda x: torch.addmm(BIAS, x, WEIGHT.t(), beta=0.5, alpha=2),
    "softmax": lambda x: torch.softmax(x, 1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, (FEATURES,)),
    "rms_norm": lambda x: F.rms_norm(x, (FEATURES,)),
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.abs() + 1),
    "log2": lambda x: torch.log2(x.abs() + 1),
    "log1p": lambda x: torch.log1p(x.abs()),
    "erf": torch.erf,
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
    "sin": torch.sin,
    "cos": torch.cos,
    "pow": lambda x: (x.abs() + 1) ** 1.5,
    "sum": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(1, keepdim=True),
    "add with alpha": lambda x: torch.add(x, x.detach(), alpha=0.3),
    "addcmul": lambda x: torch.addcmul(x, x.detach(), x.detach(), value=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x.detach(), x.detach().abs() + 1, value=0.3),
    "lerp": lambda x: torch.lerp(x, x.detach() + 1, 0.3),
    "mse_loss": lambda x: F.mse_loss(x, x.detach() + 1, reduction="none"),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, x.detach().sigmoid(), reduction="none"),
    "cross_entropy": lambda x: F.cross_entropy(x, torch.full((len(x),), 3), reduction="none")[:, None],
}


class Rows(TestCase):
    def row_results(self, function, x, upstream):
        x = x.clone().requires_grad_()
        y = function(x)
        (gradient,) = torch.autograd.grad(y, x, upstream[:len(x), :y.size(1)])
        return y.detach(), gradient

    def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(self):
        x, upstream = torch.randn(ROWS, FEATURES) * 3, torch.randn(ROWS, FEATURES)
        for name, function in ROWWISE.items():
            with self.subTest(operation=name), lockstep.invariant_mode():
                values, gradients = self.row_results(function, x, upstream)
                for row in range(ROWS):
                    one = slice(row, row + 1)
                    value, gradient = self.row_results(function, x[one], upstream[one])
                    self.assert_same_bits(value, values[one], f"value of row {row}")
                    self.assert_same_bits(gradient, gradients[one], f"gradient of row {row}")

    def test_eager_fails_this_test(self):
        """The test can fail: torch's own product of one row is another kernel."""
        x, weight = torch.randn(64, 1024), torch.randn(512, 1024)
        self.assertFalse(all(same_bits((x @ weight.t())[i], x[i:i + 1] @ weight.t()) for i in range(4)))


if __name__ == "__main__":
    main()
