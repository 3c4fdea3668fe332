"""Every operation that the mode overrides, over PyTorch's own sample inputs: values and gradients against eager, PyTorch's
gradcheck and gradgradcheck, and one row alone against a batch."""

import contextlib
import itertools

from testing import TestCase, lockstep, main, need, same_bits, torch

need("numpy", "expecttest")

from torch.nn import functional as F  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.opinfo.core import SampleInput  # noqa: E402

# PyTorch's name of an operation: what the mode may refuse, by words of the message.
OPERATIONS = {
    "mm": (),
    "bmm": (),
    "addmm": (),
    "baddbmm": (),
    "matmul": (),
    "mv": (),
    "dot": (),
    "__rmatmul__": (),
    "nn.functional.linear": (),
    "nn.functional.conv1d": (),
    "nn.functional.conv2d": (),
    "nn.functional.max_pool1d": (),
    "nn.functional.max_pool2d": (),
    "max_pool2d_with_indices_backward": (),
    "nn.functional.avg_pool1d": (),
    "nn.functional.avg_pool2d": ("divisor: expected 0 or more",),
    "nn.functional.adaptive_avg_pool1d": (),
    "nn.functional.adaptive_avg_pool2d": (),
    "nn.functional.scaled_dot_product_attention": ("as many axes each", "a mask without a gradient"),
    "nn.functional.multi_head_attention_forward": (),
    "softmax": ("dtype",),
    "log_softmax": ("dtype",),
    "softmax.with_dtype": (),
    "log_softmax.with_dtype": (),
    "_softmax_backward_data": (),
    "torch.ops.aten._safe_softmax.default": (),
    "logsumexp": (),
    "nn.functional.layer_norm": ("eps: expected",),
    "nn.functional.rms_norm": ("eps: expected",),
    "nn.functional.group_norm": ("eps: expected",),
    "nn.functional.instance_norm": ("running statistics",),
    "linalg.vector_norm": ("ord: expected 2 or infinity",),
    "nn.functional.embedding": ("sparse", "scale_grad_by_freq", "aten::embedding_renorm_"),
    "nn.functional.gelu": (),
    "nn.functional.silu": (),
    "nn.functional.softplus": (),
    "nn.functional.mish": (),
    "nn.functional.logsigmoid": (),
    "nn.functional.elu": (),
    "nn.functional.celu": (),
    "nn.functional.selu": (),
    "nn.functional.hardtanh": (),
    "nn.functional.hardsigmoid": (),
    "nn.functional.hardswish": (),
    "sigmoid": (),
    "tanh": (),
    "exp": (),
    "exp2": (),
    "expm1": (),
    "log": (),
    "log2": (),
    "log1p": (),
    "erf": (),
    "sqrt": (),
    "rsqrt": (),
    "sin": (),
    "cos": (),
    "square": (),
    "pow": ("aten::pow.Tensor_Tensor",),
    "sum": ("dtype",),
    "mean": ("dtype",),
    "var": ("over the first axis",),
    "std": ("over the first axis",),
    "var_mean": ("over the first axis",),
    "std_mean": ("over the first axis",),
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
# Their masks are the mode's own.
DROPOUTS = ("nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d")
# Relatives of these that the mode knows and has no kernels for: words of the message that every sample meets.
REFUSED = {
    "nn.functional.conv3d": "one or two dimensions",
    "nn.functional.conv_transpose1d": "transposed",
    "nn.functional.conv_transpose2d": "transposed",
    "nn.functional.conv_transpose3d": "transposed",
    "nn.functional.max_pool3d": "aten::max_pool3d_with_indices",
    "nn.functional.avg_pool3d": "aten::avg_pool3d",
    "nn.functional.adaptive_max_pool2d": "aten::adaptive_max_pool2d",
    "nn.functional.batch_norm": "aten::batch_norm",
    "var.unbiased": "over the first axis",
    "std.unbiased": "over the first axis",
    "var_mean.unbiased": "over the first axis",
    "std_mean.unbiased": "over the first axis",
    "__rpow__": "aten::pow.Tensor_Tensor",
}
# In place: what the mode may refuse besides. An operation that is not here and has a form in place runs in it.
REFUSED_IN_PLACE = {
    "addmm": ("aten::addmm_",),
    "baddbmm": ("aten::baddbmm_",),
    "square": ("aten::pow_.Scalar",),
    "pow": ("aten::pow_.Tensor", "aten::pow_.Scalar"),
    "lerp": ("aten::lerp_.Tensor",),
}
INFOS = {(f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name): info for info in op_db}
# How near values and gradients must be to eager's, whose hardsigmoid has a float32 1/6 in its float64 gradient.
TOLERANCES = {torch.float32: {"rtol": 1e-5, "atol": 2e-5}, torch.float64: {"rtol": 1e-8, "atol": 1e-8}}
# Samples that must run and not be refused, at least.
SHARE = 0.2
# PyTorch's samples of pow have tensors of exponents, which are refused.
EXPONENTS = (0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 1.5, 2.5)


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def comparable(name, arguments, keywords):
    """The arguments without what has another result in the mode by design, or none."""
    if name == "nn.functional.binary_cross_entropy_with_logits":  # a target that wants a gradient is refused
        arguments = (arguments[0], arguments[1].detach(), *arguments[2:])
    if name == "nn.functional.multi_head_attention_forward":  # the mode has masks of its own: dropout_p
        arguments = (*arguments[:10], 0.0, *arguments[11:])
    if "dropout_p" in keywords:
        keywords = {**keywords, "dropout_p": 0.0}
    return arguments, keywords


def samples_of(name, dtype, limit=None):
    """(operation, arguments, keywords), at most `limit`, from all over PyTorch's list."""
    info = INFOS[name]
    samples = list(info.sample_inputs("cpu", dtype, requires_grad=True))
    if name == "pow":
        positive = torch.rand(5, 7, dtype=dtype) + 0.5  # a fraction of a power has no other
        samples += [SampleInput(positive.clone().requires_grad_(), args=(exponent,)) for exponent in EXPONENTS]
    if name == "nn.functional.instance_norm":  # most have running statistics, which are refused
        samples += [SampleInput(sample.input, kwargs={**sample.kwargs, "running_mean": None, "running_var": None})
                    for sample in samples if sample.kwargs.get("use_input_stats", True)]
    step = 1 if limit is None else -(-len(samples) // limit) | 1  # odd: samples often come in pairs
    for sample in samples[::step]:
        yield info.op, *comparable(name, (sample.input, *sample.args), sample.kwargs)


def form_in_place(name):
    """The operation in place, on a copy: a leaf that needs a gradient takes nothing in place. None where there is none."""
    in_place = INFOS[name].get_inplace()
    if name == "nn.functional.hardswish":
        in_place = torch._C._nn.hardswish_  # which PyTorch's table leaves out
    return in_place and (lambda x, *rest, **keywords: in_place(x.clone(), *rest, **keywords))


def upstream_of(outputs):
    """A gradient for each output, always the same."""
    return [torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape) for y in outputs]


def run(operation, arguments, keywords):
    """The results, and gradients of a fixed weighting of them with respect to every tensor that wants one."""
    inputs = [t for t in tensors_in([arguments, keywords]) if t.requires_grad]
    outputs = list(tensors_in(operation(*arguments, **keywords)))
    results = [output.detach() for output in outputs]
    roots = [output for output in outputs if output.requires_grad]
    if not roots:
        return results
    gradients = torch.autograd.grad(roots, inputs, upstream_of(roots), allow_unused=True)
    return results + [g for g in gradients if g is not None]


def run_in_mode(operation, arguments, keywords):
    with lockstep.invariant_mode():
        return run(operation, arguments, keywords)


class Coverage(TestCase):
    # Of what the mode overrides, what PyTorch's table of operations does not reach.
    ELSEWHERE = {
        "aten::_convolution",  # in traced modules
        "aten::_foreach_norm",  # in torch.nn.utils.clip_grad_norm_
        "aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd",  # in torch.nn's layers in eval mode
    }

    def test_every_operation_of_ours_runs_here(self):
        ours = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names()
                if name.startswith("aten::") and lockstep.operation_class(name) == "ours"}
        with torch.autograd.profiler.profile() as profile:
            for name in (*OPERATIONS, *REFUSED, *DROPOUTS):
                for operation in filter(None, (INFOS[name].op, form_in_place(name))):
                    for _, arguments, keywords in samples_of(name, torch.float32, limit=4):
                        with contextlib.suppress(RuntimeError):  # the tests below look at refusals
                            run_in_mode(operation, arguments, keywords)
        called = {event.name for event in profile.function_events}
        self.assertEqual(ours - called, self.ELSEWHERE)


class SampleInputs(TestCase):
    def assert_refusal(self, error, allowed):
        """Words of ours: what was expected, what was got, and why this one may be refused."""
        self.assertRegex(str(error), "(?s)expected .+, got .+")
        self.assertTrue(any(word in str(error) for word in allowed), error)

    def assert_close(self, found, expected):
        self.assertEqual(len(found), len(expected))
        for ours, theirs in zip(found, expected):
            self.assertEqual(ours.dtype, theirs.dtype)
            tolerances = TOLERANCES.get(ours.dtype, {"rtol": 0, "atol": 0})  # indices
            torch.testing.assert_close(ours, theirs, **tolerances, equal_nan=True)

    def test_values_and_gradients_are_those_of_eager(self):
        for name, dtype in itertools.product(OPERATIONS, TOLERANCES):
            ran = refused = 0
            for operation, arguments, keywords in samples_of(name, dtype):
                expected = run(operation, arguments, keywords)
                operands = [t.detach().clone() for t in tensors_in([arguments, keywords])]
                with self.subTest(operation=name, dtype=dtype, sample=ran + refused):
                    try:
                        found = run_in_mode(operation, arguments, keywords)
                    except RuntimeError as error:
                        refused += 1
                        self.assert_refusal(error, OPERATIONS[name])
                        continue
                    ran += 1
                    self.assert_close(found, expected)
                    for before, after in zip(operands, tensors_in([arguments, keywords])):
                        torch.testing.assert_close(after.detach(), before, rtol=0, atol=0, equal_nan=True)
            with self.subTest(operation=name, dtype=dtype):
                self.assertGreater(ran, 0)
                self.assertGreaterEqual(ran, SHARE * (ran + refused), f"{refused} of {ran + refused} samples refused")

    def test_what_has_no_kernels_is_refused_in_words(self):
        for name, words in REFUSED.items():
            refused = 0
            for operation, arguments, keywords in samples_of(name, torch.float32, limit=30):
                with self.subTest(operation=name, sample=refused):
                    with self.assertRaises(RuntimeError) as caught:
                        run_in_mode(operation, arguments, keywords)
                    self.assert_refusal(caught.exception, (words,))
                refused += 1
            self.assertGreater(refused, 0, name)

    def test_in_place(self):
        for name, refused_words in OPERATIONS.items():
            if form_in_place(name) is None:
                continue
            ran = 0
            allowed = refused_words + REFUSED_IN_PLACE.get(name, ())
            for _, arguments, keywords in samples_of(name, torch.float32):
                operation = form_in_place(name)
                try:
                    expected = run(operation, arguments, keywords)
                except RuntimeError:  # a result that does not fit into the first operand
                    continue
                with self.subTest(operation=name, sample=ran):
                    try:
                        found = run_in_mode(operation, arguments, keywords)
                    except RuntimeError as error:
                        self.assert_refusal(error, allowed)
                        continue
                    ran += 1
                    self.assert_close(found, expected)
            with self.subTest(operation=name):
                self.assertTrue(ran > 0 or name in REFUSED_IN_PLACE)

    def test_dropout_keeps_or_drops_and_its_gradient_does_the_same(self):
        for name in DROPOUTS:
            drawn = 0
            for operation, (x, *rest), keywords in samples_of(name, torch.float32):
                p = keywords.get("p", 0.5) if keywords.get("training", True) else 0
                result, gradient = run_in_mode(operation, (x, *rest), keywords)
                upstream = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
                kept = (result != 0) | (x == 0)
                factor = 0 if p == 1 else 1 / (1 - p)
                with self.subTest(operation=name, p=p, shape=x.shape):
                    torch.testing.assert_close(result, torch.where(kept, x.detach() * factor, 0))
                    torch.testing.assert_close(gradient, torch.where(kept, upstream * factor, 0))
                drawn += 0 < p < 1 and 0 < kept.sum() < kept.numel()
            self.assertGreater(drawn, 0, name)

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


# Operands that do not fit, which nothing below the mode looks at: a call, and words of the refusal.
ONES = torch.ones
BAD_OPERANDS = {
    "conv2d, stride": (lambda: F.conv2d(ONES(1, 1, 4, 4), ONES(1, 1, 2, 2), stride=0), "stride: expected 1 or more"),
    "conv1d, stride": (lambda: F.conv1d(ONES(1, 1, 4), ONES(1, 1, 2), stride=-1), "stride: expected 1 or more"),
    "conv2d, kernel": (lambda: F.conv2d(ONES(1, 1, 4, 4), ONES(1, 1, 6, 6)), "kernel_h: expected a kernel that fits"),
    "conv2d, dtype": (lambda: F.conv2d(ONES(1, 1, 4, 4), ONES(1, 1, 2, 2).double()),
                      "expected scalar type Float but found Double"),
    "mm, dtype": (lambda: torch.mm(ONES(2, 2), ONES(2, 2).double()), "expected scalar type Float but found Double"),
    "layer_norm, dtype": (lambda: F.layer_norm(ONES(2, 4).double(), (4,), ONES(4)),
                          "expected scalar type Double but found Float"),
    "attention, mask": (lambda: F.scaled_dot_product_attention(*[ONES(1, 2, 2)] * 3, ONES(2, 2).double()),
                        "attn_mask: expected bool or float32"),
    "max_pool1d, stride": (lambda: F.max_pool1d(ONES(1, 1, 4), 2, stride=0), "stride: expected 1 or more"),
    "max_pool2d, stride": (lambda: F.max_pool2d(ONES(1, 1, 4, 4), 2, stride=0), "stride: expected 1 or more"),
    "avg_pool2d, stride": (lambda: F.avg_pool2d(ONES(1, 1, 4, 4), 2, stride=0), "stride: expected 1 or more"),
    "layer_norm, weight": (lambda: F.layer_norm(ONES(2, 4), (4,), ONES(3)), "weight: expected shape [4]"),
    "layer_norm, bias": (lambda: F.layer_norm(ONES(2, 4), (4,), ONES(4), ONES(3)), "bias: expected shape [4]"),
    "rms_norm, weight": (lambda: torch.rms_norm(ONES(2, 4), (4,), ONES(2)), "weight: expected shape [4]"),
    "rms_norm, shape": (lambda: torch.rms_norm(ONES(2, 4), (3,)), "input: expected a shape that ends with [3]"),
    "batch_norm, axes": (lambda: F.batch_norm(ONES(4), ONES(4), ONES(4)), "input: expected [samples, channels"),
    "cross_entropy, weight": (lambda: F.cross_entropy(ONES(2, 3), torch.tensor([0, 1]), weight=ONES(2)),
                              "weight: expected 3 elements"),
    "nll_loss, weight": (lambda: F.nll_loss(ONES(2, 3), torch.tensor([0, 1]), weight=ONES(2)),
                         "weight: expected 3 elements"),
    "linear, bias": (lambda: F.linear(ONES(2, 3), ONES(4, 3), ONES(2)), "bias: expected 4 elements"),
    "bmm, matrices": (lambda: torch.bmm(ONES(3, 3, 4), ONES(2, 4, 2)), "matrices: expected 3 on both sides"),
    "embedding, axes": (lambda: F.embedding(torch.tensor([0]), ONES(3, 2, 2)), "weight: expected 2 axes"),
    "var, axes": (lambda: ONES(2, 3, 4).var((1, 1)), "axes: expected each axis once"),
    "vector_norm, axes": (lambda: torch.linalg.vector_norm(ONES(2, 3), dim=(4, 5)), "Dimension out of range"),
    "celu, alpha": (lambda: F.celu(ONES(3), 0.0), "alpha: expected a number other than 0"),
}


class BadOperands(TestCase):
    def test_pytorchs_samples_of_errors(self):
        tried = 0
        for name in OPERATIONS:
            info = INFOS[name]
            if info.error_inputs_func is None:
                continue
            for bad in info.error_inputs("cpu"):
                sample = bad.sample_input
                if torch.is_tensor(sample.input) and sample.input.numel() == 0:
                    continue  # nothing is read: the mode may give an empty result
                with self.subTest(operation=name, error=bad.error_regex), lockstep.invariant_mode():
                    with self.assertRaises(Exception):
                        info.op(sample.input, *sample.args, **sample.kwargs)
                tried += 1
        self.assertGreater(tried, 20)

    def test_operands_that_do_not_fit(self):
        for name, (call, words) in BAD_OPERANDS.items():
            with self.subTest(operands=name):
                self.assertRaises(Exception, call)  # and eager takes them no more than the mode
                with lockstep.invariant_mode():
                    self.assert_refused(words, call)

    def test_square_parameters_in_any_layout(self):
        """A gradient that is folded transposed, or in another layout than its parameter, has the same shape."""
        x, index, upstream = torch.randn(3, 3), torch.tensor([2, 0, 2]), torch.randn(3, 3)
        layouts = (torch.randn(3, 3), torch.randn(3, 3).t(), torch.randn(3, 7)[:, ::2][:, :3])
        operations = {"matmul": torch.matmul, "linear": F.linear, "embedding": lambda _, weight: F.embedding(index, weight),
                      "layer_norm": lambda x, weight: F.layer_norm(x, (3, 3), weight), "mul": torch.mul}
        for (name, operation), values in itertools.product(operations.items(), layouts):
            weight = values.detach().requires_grad_()
            (expected,) = torch.autograd.grad(operation(x, weight), weight, upstream)
            with self.subTest(operation=name, strides=weight.stride()), lockstep.invariant_mode():
                (found,) = torch.autograd.grad(operation(x, weight), weight, upstream)
                torch.testing.assert_close(found, expected)
                operation(x, weight).backward(upstream)
                torch.testing.assert_close(weight.grad, expected)

    def test_a_view_of_a_parameter_that_was_made_without_gradients(self):
        parameter, x = torch.randn(5, 3, requires_grad=True), torch.randn(3, 5, requires_grad=True)
        with torch.no_grad():
            view = parameter.t()
        for name, operation in (("add", torch.add), ("linear", F.linear)):
            (expected,) = torch.autograd.grad(operation(x, view).sum(), x)
            with self.subTest(operation=name), lockstep.invariant_mode():
                (found,) = torch.autograd.grad(operation(x, view).sum(), x)
            torch.testing.assert_close(found, expected)


class Gradcheck(TestCase):
    """PyTorch's gradcheck and gradgradcheck in float64, with their own steps and tolerances."""

    # Second derivatives that the mode refuses, by words of the message: of nodes that have none, of products whose factor is
    # broadcast over rows, and what derivatives are made of that has no kernels.
    ONCE = {
        **dict.fromkeys((
            "nn.functional.conv1d", "nn.functional.conv2d", "nn.functional.scaled_dot_product_attention",
            "nn.functional.layer_norm", "nn.functional.rms_norm", "nn.functional.group_norm", "nn.functional.instance_norm",
            "nn.functional.embedding", "add", "sub", "mul", "nn.functional.cross_entropy", "nn.functional.mse_loss",
            "nn.functional.l1_loss", "nn.functional.binary_cross_entropy_with_logits", "nn.functional.margin_ranking_loss",
        ), "create_graph"),
        **dict.fromkeys(("matmul", "__rmatmul__", "mv", "dot"), "a broadcast to"),
        "linalg.vector_norm": "aten::",
        "nn.functional.gelu": "aten::cosh",
    }

    def functions(self, name, most):
        """At most so many samples of an operation that the mode runs, as (function, inputs)."""
        taken = 0
        for operation, arguments, keywords in samples_of(name, torch.float64, limit=12):
            inputs = tuple(t for t in tensors_in([arguments, keywords]) if t.requires_grad)
            if taken == most or not 0 < sum(t.numel() for t in inputs) <= 1000:
                continue
            with contextlib.suppress(RuntimeError):  # the tests above look at refusals
                run_in_mode(operation, arguments, keywords)
                taken += 1
                yield lambda *_: operation(*arguments, **keywords), inputs
        self.assertGreater(taken, 0, name)

    def test_gradcheck(self):
        for name in OPERATIONS:
            for function, inputs in self.functions(name, most=3):
                with self.subTest(operation=name), lockstep.invariant_mode():
                    self.assertTrue(torch.autograd.gradcheck(function, inputs))

    def test_gradgradcheck(self):
        refused = set()
        for name in OPERATIONS:
            for function, inputs in self.functions(name, most=2):
                upstream = [dy.requires_grad_() for dy in upstream_of(y for y in tensors_in(function()) if y.requires_grad)]
                with self.subTest(operation=name), lockstep.invariant_mode():
                    try:
                        self.assertTrue(torch.autograd.gradgradcheck(function, inputs, upstream))
                    except RuntimeError as error:
                        self.assertIn(self.ONCE.get(name, "a second derivative"), str(error))
                        refused.add(name)
        self.assertEqual(refused, set(self.ONCE))

    def test_gradcheck_can_fail(self):
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return torch.tanh(x)

            @staticmethod
            def backward(ctx, dy):
                return dy * (1 + 2e-3)

        with lockstep.invariant_mode():
            x = torch.full((6,), 1e-4, dtype=torch.float64).requires_grad_()
            with self.assertRaisesRegex(RuntimeError, "Jacobian mismatch"):
                torch.autograd.gradcheck(Wrong.apply, (x,))

    def test_16_bit_floats_are_refused_in_words(self):
        for dtype in (torch.float16, torch.bfloat16):
            with lockstep.invariant_mode():
                self.assert_refused(str(dtype).partition(".")[2], torch.mm, torch.ones(3, 3, dtype=dtype),
                                    torch.ones(3, 3, dtype=dtype))


# One row alone and in a batch: the operation of [rows, …] and how many elements a row has.
ROWS, FEATURES = 9, 53
WEIGHT, BIAS = torch.randn(31, FEATURES), torch.randn(31)
FILTERS = torch.randn(2, 3, 3, 3)


def images(x):
    return x[:, :48].reshape(-1, 3, 4, 4)


def tokens(x):
    return x[:, :48].reshape(-1, 2, 6, 4)


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
    "sqrt": lambda x: torch.sqrt(x.abs() + 1),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
    "sin": torch.sin,
    "cos": torch.cos,
    "pow": lambda x: (x.abs() + 1) ** 1.5,
    "square": torch.square,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "elu": F.elu,
    "celu": lambda x: F.celu(x, 0.7),
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "conv1d": lambda x: F.conv1d(x[:, None], FILTERS[:, :1, 0], FILTERS[:, 0, 0, 0], stride=3, padding=1).flatten(1),
    "conv2d": lambda x: F.conv2d(images(x), FILTERS, FILTERS[:, 0, 0, 0], stride=2, padding=1).flatten(1),
    "max_pool1d": lambda x: F.max_pool1d(x[:, None], 3, stride=2).flatten(1),
    "max_pool2d": lambda x: F.max_pool2d(images(x), 2, stride=1).flatten(1),
    "avg_pool1d": lambda x: F.avg_pool1d(x[:, None], 3, stride=2).flatten(1),
    "avg_pool2d": lambda x: F.avg_pool2d(images(x), 2, stride=1).flatten(1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(images(x), (3, 2)).flatten(1),
    "attention": lambda x: F.scaled_dot_product_attention(tokens(x), tokens(x), tokens(x)).flatten(1),
    "attention, causal": lambda x: F.scaled_dot_product_attention(
        tokens(x), tokens(x), tokens(x), is_causal=True).flatten(1),
    "group_norm": lambda x: F.group_norm(x[:, :48, None], 6).flatten(1),
    "instance_norm": lambda x: F.instance_norm(images(x)).flatten(1),
    "logsumexp": lambda x: torch.logsumexp(x, 1, keepdim=True),
    "var": lambda x: x.var(1, keepdim=True),
    "std": lambda x: x.std(1, keepdim=True),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
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
