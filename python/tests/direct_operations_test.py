"""torch.ops.lockstep's kernels without the mode: the mode's bits, derivatives, and inside torch.compile."""

from testing import TestCase, lockstep, main, torch

from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

ops = torch.ops.lockstep
INPUT, WEIGHT, BIAS = torch.randn(5, 33), torch.randn(7, 33), torch.randn(7)
# Name: the direct operation, and what it is in torch.
OPERATIONS = {
    "matmul": (lambda x, w, b: ops.matmul(x, w.t()), lambda x, w, b: torch.matmul(x, w.t())),
    "linear": (ops.linear, F.linear),
    "linear without bias": (lambda x, w, b: ops.linear(x, w), lambda x, w, b: F.linear(x, w)),
    "sum": (lambda x, w, b: ops.sum(x, [0]), lambda x, w, b: x.sum(0)),
    "sum, keepdim": (lambda x, w, b: ops.sum(x, [-1], True), lambda x, w, b: x.sum(-1, keepdim=True)),
    "softmax": (lambda x, w, b: ops.softmax(x, -1), lambda x, w, b: torch.softmax(x, -1)),
    "log_softmax": (lambda x, w, b: ops.log_softmax(x, 0), lambda x, w, b: torch.log_softmax(x, 0)),
    "gelu": (lambda x, w, b: ops.gelu(x), lambda x, w, b: F.gelu(x)),
    "gelu, tanh": (lambda x, w, b: ops.gelu(x, "tanh"), lambda x, w, b: F.gelu(x, approximate="tanh")),
    "layer_norm": (lambda x, w, b: ops.layer_norm(x, w[0], w[1]), lambda x, w, b: F.layer_norm(x, (33,), w[0], w[1])),
}


def run(function):
    """The value, and the gradients of x, the weight and the bias, of which those not used are zeros."""
    inputs = [t.detach().clone().requires_grad_() for t in (INPUT, WEIGHT, BIAS)]
    y = function(*inputs)
    weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    gradients = torch.autograd.grad(y, inputs, weights, allow_unused=True)
    return [y.detach()] + [torch.zeros(1) if g is None else g for g in gradients]


class DirectOperations(TestCase):
    def test_the_bits_are_those_of_the_mode(self):
        for name, (direct, plain) in OPERATIONS.items():
            with self.subTest(operation=name):
                found = run(direct)
                with lockstep.invariant_mode():
                    expected = run(plain)
                    inside = run(direct)
                for a, b, c in zip(found, expected, inside):
                    self.assert_same_bits(a, b)
                    self.assert_same_bits(a, c)

    def test_values_and_gradients_are_those_of_torch(self):
        for name, (direct, plain) in OPERATIONS.items():
            with self.subTest(operation=name):
                for a, b in zip(run(direct), run(plain)):
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)

    def test_batches_of_matrices(self):
        a, b = torch.randn(3, 4, 5, requires_grad=True), torch.randn(3, 5, 2, requires_grad=True)
        found = torch.autograd.grad(ops.matmul(a, b).sum(), (a, b))
        for ours, theirs in zip(found, torch.autograd.grad(torch.matmul(a, b).sum(), (a, b))):
            torch.testing.assert_close(ours, theirs)
        self.assert_refused("one matrix for each", ops.matmul, a, b[:2])
        self.assert_refused("[..., rows, k]", ops.matmul, a[0, 0], b)

    def test_compiled_functions_keep_the_bits(self):
        for backend in ("eager", "aot_eager"):
            torch._dynamo.reset()
            for name, (direct, _) in OPERATIONS.items():
                with self.subTest(operation=name, backend=backend):
                    compiled = torch.compile(direct, backend=backend, fullgraph=True)
                    for a, b in zip(run(compiled), run(direct)):
                        self.assert_same_bits(a, b)

    def test_fake_tensors_have_shapes(self):
        with FakeTensorMode():
            x, w = torch.empty(5, 33), torch.empty(7, 33)
            for name, (direct, plain) in OPERATIONS.items():
                self.assertEqual(direct(x, w, torch.empty(7)).shape, plain(x, w, torch.empty(7)).shape, name)

    def test_torchs_own_checks_of_custom_operations(self):
        x, w, b = torch.randn(5, 33), WEIGHT.clone().requires_grad_(), BIAS.clone().requires_grad_()
        tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
        torch.library.opcheck(ops.linear.default, (x, w, b), test_utils=tests)
        torch.library.opcheck(ops.matmul.default, (x, w.t()), test_utils=tests)
        torch.library.opcheck(ops.softmax.default, (x.requires_grad_(), 1), test_utils=tests)

    def test_a_second_derivative_of_products_and_none_of_the_rest(self):
        x = torch.randn(3, 33, requires_grad=True)
        (g,) = torch.autograd.grad(ops.linear(x, WEIGHT).square().sum(), x, create_graph=True)
        (found,) = torch.autograd.grad(g.sum(), x)
        (g,) = torch.autograd.grad(F.linear(x, WEIGHT).square().sum(), x, create_graph=True)
        torch.testing.assert_close(found, torch.autograd.grad(g.sum(), x)[0], rtol=1e-4, atol=1e-4)
        self.assert_refused("second derivative", torch.autograd.grad, ops.softmax(x, 1).sum(), x, create_graph=True)

    def test_other_dtypes_are_refused(self):
        self.assert_refused("float16", ops.softmax, torch.randn(3, 3).half(), 1)
        self.assert_refused("float16", ops.matmul, torch.randn(3, 3).half(), torch.randn(3, 3).half())


if __name__ == "__main__":
    main()
