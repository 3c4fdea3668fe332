"""The mode from Python: what it restores, where it works, and what it refuses in words."""

import threading

from testing import TestCase, lockstep, main, same_bits, torch

from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(33, 70), torch.nn.GELU(), torch.nn.LayerNorm(70), torch.nn.Linear(70, 9))


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


class Switch(TestCase):
    def test_enter_and_exit_nest_and_restore(self):
        self.assertFalse(lockstep.invariant_mode_enabled())
        with lockstep.invariant_mode():
            self.assertTrue(lockstep.invariant_mode_enabled())
            with lockstep.invariant_mode(on=False):
                self.assertFalse(lockstep.invariant_mode_enabled())
            with lockstep.invariant_mode():
                self.assertTrue(lockstep.invariant_mode_enabled())
            self.assertTrue(lockstep.invariant_mode_enabled())
        self.assertFalse(lockstep.invariant_mode_enabled())

    def test_one_object_may_be_entered_again(self):
        mode = lockstep.invariant_mode()
        with mode, mode:
            self.assertTrue(lockstep.invariant_mode_enabled())
        self.assertFalse(lockstep.invariant_mode_enabled())

    def test_restores_after_an_exception(self):
        with self.assertRaises(KeyError):
            with lockstep.invariant_mode():
                raise KeyError("from the inside")
        self.assertFalse(lockstep.invariant_mode_enabled())

    def test_is_a_decorator(self):
        self.assertTrue(lockstep.invariant_mode()(lockstep.invariant_mode_enabled)())

    def test_the_operation_itself_tells_what_was(self):
        self.assertFalse(torch.ops.lockstep.set_invariant_mode(True))
        self.assertTrue(torch.ops.lockstep.set_invariant_mode(True))
        self.assertTrue(torch.ops.lockstep.set_invariant_mode(False))

    def test_a_new_thread_has_a_mode_of_its_own(self):
        seen = []
        with lockstep.invariant_mode():
            thread = threading.Thread(target=lambda: seen.append(lockstep.invariant_mode_enabled()))
            thread.start()
            thread.join()
        self.assertEqual(seen, [False])

    def test_off_again_everything_is_as_before(self):
        model, x = network(), torch.randn(5, 33)
        before = model(x)
        with lockstep.invariant_mode():
            model(x)
        self.assert_same_bits(model(x), before)


class Report(TestCase):
    def test_tells_what_ran_on_what(self):
        x = torch.randn(3, 4)
        lockstep.reset_report()
        with lockstep.invariant_mode():
            torch.softmax(x, 1)
        self.assertIn(("aten::_softmax", "ours", 1), lockstep.report())
        lockstep.reset_report()
        self.assertEqual(lockstep.report(), [])

    def test_classes(self):
        for name, expected in {"aten::linear": "ours", "aten::relu": "exact", "aten::view": "exact",
                               "aten::dropout": "ours", "aten::cumsum": "refused", "aten::silu": "ours",
                               "aten::conv2d": "composite", "lockstep::softmax": "ours"}.items():
            self.assertEqual(lockstep.operation_class(name), expected, name)
        self.assert_refused("aten::no_such_thing", lockstep.operation_class, "aten::no_such_thing")

    def test_what_is_not_known_is_refused_by_name_and_may_be_allowed(self):
        x = torch.randn(4)
        with lockstep.invariant_mode():
            self.assert_refused("aten::cumprod", torch.cumprod, x, 0)
        lockstep.allow_operation("aten::cumprod")
        with lockstep.invariant_mode():
            torch.cumprod(x, 0)
        self.assertEqual(lockstep.operation_class("aten::cumprod"), "allowed")
        self.assertIn(("aten::cumprod", "allowed", 1), lockstep.report())

    def test_a_refusal_names_the_module_it_came_from(self):
        class Odd(torch.nn.Module):
            def forward(self, x):
                return torch.logcumsumexp(x, 0)

        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.ReLU(), Odd()))

        def run(mode):
            with mode:
                return model(torch.ones(2, 4))

        text = self.assert_refused("in module: 1.1 (Odd)", run, lockstep.invariant_mode())
        self.assertIn("aten::logcumsumexp", text)
        self.assert_refused("in module: 1.1 (Odd)", run, lockstep.batch_invariant_config())
        self.assert_refused("in module: (Odd)", lockstep.invariant_mode()(Odd()), torch.ones(2, 4))
        with self.assertRaises(RuntimeError) as other:  # what is not ours stays as it is
            with lockstep.invariant_mode():
                raise RuntimeError("a failure of the model's own")
        self.assertEqual(str(other.exception), "a failure of the model's own")

    def test_batch_norm_in_training_is_refused(self):
        norm, x = torch.nn.BatchNorm1d(3), torch.randn(4, 3)
        with lockstep.invariant_mode():
            self.assert_refused("batch_norm", norm, x)

    def test_random_numbers_by_position_are_refused(self):
        with lockstep.invariant_mode():
            self.assert_refused("aten::randn", torch.randn, 3)

    def test_whole_numbers_are_exact_in_any_order(self):
        x = torch.arange(6)
        with lockstep.invariant_mode():
            self.assertEqual(x.cumsum(0).tolist(), [0, 1, 3, 6, 10, 15])
            self.assertEqual((x % 4).tolist(), [0, 1, 2, 3, 0, 1])
            self.assert_refused("aten::cumsum", torch.cumsum, x, 0, dtype=torch.float32)
            self.assert_refused("aten::cumsum", torch.cumsum, x.float(), 0)

    def test_a_backward_that_is_not_known_is_refused_with_its_node(self):
        x = torch.randn(3, 3, requires_grad=True)
        y = torch.logcumsumexp(x, 0).sum()
        with lockstep.invariant_mode():
            text = self.assert_refused("called in backward by", y.backward)
        self.assertIn("LogcumsumexpBackward0", text)

    def test_other_precisions_are_refused_by_name(self):
        x = torch.randn(4, 4)
        with lockstep.invariant_mode():
            self.assert_refused("bfloat16", torch.mm, x.bfloat16(), x.bfloat16())
            self.assert_refused("float16", F.softmax, x.half(), 1)
            with torch.autocast("cpu", torch.bfloat16):
                self.assert_refused("autocast", torch.mm, x, x)


class WithAutograd(TestCase):
    def forward_backward(self, model, x, forward=None):
        model.zero_grad()
        with lockstep.invariant_mode():
            y = (forward or model)(x)
            y.square().sum().backward()
        return y.detach(), gradients_of(model)

    def assert_same_gradients(self, a, b):
        self.assertEqual(a.keys(), b.keys())
        for name in a:
            self.assert_same_bits(a[name], b[name], name)

    def test_no_grad_and_inference_mode_give_the_same_bits_in_either_nesting(self):
        model, x = network(), torch.randn(5, 33)
        with lockstep.invariant_mode():
            expected = model(x)
        for scope in (torch.no_grad, torch.inference_mode):
            with scope(), lockstep.invariant_mode():
                self.assert_same_bits(model(x).clone(), expected)
            with lockstep.invariant_mode(), scope():
                self.assert_same_bits(model(x).clone(), expected)

    def test_autograd_grad_gives_the_bits_of_backward(self):
        model, x = network(), torch.randn(5, 33)
        _, expected = self.forward_backward(model, x)
        with lockstep.invariant_mode():
            found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
        self.assert_same_gradients(dict(zip(expected, found)), expected)

    def test_threads_of_the_engine_serve_the_mode(self):
        model, x = network(), torch.randn(2000, 33)
        _, expected = self.forward_backward(model, x)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            self.assert_same_gradients(self.forward_backward(model, x)[1], expected)
        finally:
            torch.set_num_threads(threads)

    def test_checkpointing_changes_nothing(self):
        model, x = network(), torch.randn(5, 33, requires_grad=True)
        _, expected = self.forward_backward(model, x)
        for reentrant in (False, True):
            _, found = self.forward_backward(model, x, lambda t: checkpoint(model, t, use_reentrant=reentrant))
            self.assert_same_gradients(found, expected)

    def test_double_backward(self):
        weight, x = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)

        def penalty():
            (gradient,) = torch.autograd.grad(torch.tanh(F.linear(x, weight)).sum(), x, create_graph=True)
            return torch.autograd.grad(gradient.square().sum(), weight)[0]

        expected = penalty()
        with lockstep.invariant_mode():
            torch.testing.assert_close(penalty(), expected)

    def test_double_backward_where_there_is_none_is_refused(self):
        norm, x = torch.nn.LayerNorm(3), torch.randn(5, 3, requires_grad=True)
        with lockstep.invariant_mode():
            self.assert_refused("create_graph", torch.autograd.grad, norm(x).square().sum(), x, create_graph=True)

    def test_tensor_hooks_see_the_gradient(self):
        model, x, seen = network(), torch.randn(5, 33), []
        _, expected = self.forward_backward(model, x)
        handle = model[0].weight.register_hook(lambda g: seen.append(g.clone()))
        _, found = self.forward_backward(model, x)
        handle.remove()
        self.assert_same_bits(seen[0], expected["0.weight"])
        self.assert_same_gradients(found, expected)

    def test_a_hook_after_accumulation_sees_grad(self):
        model, x, seen = network(), torch.randn(5, 33), []
        _, expected = self.forward_backward(model, x)
        handle = model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
        self.forward_backward(model, x)
        handle.remove()
        self.assert_same_bits(seen[0], expected["0.weight"])

    def test_an_exception_in_a_hook_leaves_the_mode_and_the_next_backward_whole(self):
        model, x = network(), torch.randn(5, 33)
        _, expected = self.forward_backward(model, x)

        def fail(_):
            raise ValueError("from a hook")

        handle = model[2].weight.register_hook(fail)
        with self.assertRaises(ValueError):
            self.forward_backward(model, x)
        handle.remove()
        self.assertFalse(lockstep.invariant_mode_enabled())
        self.assert_same_gradients(self.forward_backward(model, x)[1], expected)

    def test_a_second_backward_without_an_accumulator_is_refused(self):
        model, x = network(), torch.randn(5, 33)
        with lockstep.invariant_mode():
            model(x).sum().backward()
            self.assert_refused("zero_grad()", model(x).sum().backward)

    def test_an_optimizer_step(self):
        for make in (torch.optim.SGD, torch.optim.AdamW):
            for foreach in (False, True):
                model, x = network(), torch.randn(5, 33)
                optimizer = make(model.parameters(), lr=0.1, weight_decay=0.1, foreach=foreach)
                self.forward_backward(model, x)
                before = model[0].weight.clone()
                with lockstep.invariant_mode():
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                    optimizer.step()
                self.assertFalse(same_bits(model[0].weight, before))


class Tracers(TestCase):
    def test_a_compiled_function_inside_the_mode_is_refused_in_words(self):
        x = torch.randn(3, 3)
        for backend in ("eager", "aot_eager"):
            torch._dynamo.reset()
            compiled = torch.compile(lambda x: torch.softmax(x @ x, 1), backend=backend)
            with lockstep.invariant_mode():
                self.assert_refused("invariant mode", compiled, x)
            compiled(x)  # outside it works

    def test_the_switch_inside_a_compiled_function_is_refused(self):
        def function(x):
            torch.ops.lockstep.set_invariant_mode(True)
            y = torch.softmax(x, 1)
            torch.ops.lockstep.set_invariant_mode(False)
            return y

        for backend in ("eager", "aot_eager"):
            torch._dynamo.reset()
            self.assert_refused("set_invariant_mode", torch.compile(function, backend=backend, fullgraph=True),
                                torch.randn(3, 3))
            self.assertFalse(lockstep.invariant_mode_enabled())

    def test_fake_tensors_and_the_mode_exclude_each_other(self):
        with FakeTensorMode() as fake:
            self.assert_refused("plain eager execution", torch.ops.lockstep.set_invariant_mode, True)
            x = torch.randn(3, 3)
        with lockstep.invariant_mode(), fake:
            self.assert_refused("invariant mode", torch.softmax, x, 1)

    def test_transforms_run_on_the_kernels_or_are_refused(self):
        def energy(x):
            return torch.softmax(x, 0).square().sum()

        x, rows, weight = torch.randn(3), torch.randn(4, 3), torch.randn(2, 3)
        expected = torch.func.grad(energy)(x)
        lockstep.reset_report()
        with lockstep.invariant_mode():
            torch.testing.assert_close(torch.func.grad(energy)(x), expected)
            torch.testing.assert_close(torch.vmap(energy)(rows)[0], energy(rows[0]))
            torch.testing.assert_close(torch.func.grad(lambda t: F.linear(t, weight).sum())(x), weight.sum(0))
            self.assert_refused("aten::cumsum", torch.vmap(lambda t: torch.cumsum(t, 0)), rows)
        self.assertIn("aten::_softmax", [name for name, handled, _ in lockstep.report() if handled == "ours"])

    def test_handlers_of_dispatch_modes_can_switch_it(self):
        class Handler(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                with lockstep.invariant_mode():
                    return function(*args, **(kwargs or {}))

        x = torch.randn(5, 300)
        with lockstep.invariant_mode():
            expected = torch.softmax(x, 1)
        lockstep.reset_report()
        with Handler():
            found = torch.softmax(x, 1)
        self.assert_same_bits(found, expected)
        self.assertIn(("aten::_softmax", "ours", 1), lockstep.report())

    def test_traced_and_scripted_functions_run_on_the_kernels(self):
        # torch.jit takes layer_norm apart into an operation that is refused.
        model, x = torch.nn.Sequential(torch.nn.Linear(33, 70), torch.nn.GELU(), torch.nn.Linear(70, 9)), torch.randn(5, 33)
        traced, scripted = torch.jit.trace(model, x), torch.jit.script(model)
        with lockstep.invariant_mode():
            expected = model(x)
            for _ in range(3):  # the executor optimises after the first calls
                self.assert_same_bits(traced(x), expected)
                self.assert_same_bits(scripted(x), expected)
            self.assert_refused("Trace outside of the mode", torch.jit.trace, model, x)

    def test_the_profiler_and_anomaly_mode_look_on(self):
        model, x = network(), torch.randn(5, 33)
        with lockstep.invariant_mode():
            expected = model(x)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                self.assert_same_bits(model(x), expected)
            with torch.autograd.detect_anomaly(check_nan=True):
                model(x).sum().backward()
        self.assertIn("aten::linear", {event.key for event in profile.key_averages()})

    def test_meta_tensors_are_refused(self):
        with lockstep.invariant_mode():
            self.assert_refused("meta", torch.mm, torch.empty(3, 3, device="meta"), torch.empty(3, 3, device="meta"))


if __name__ == "__main__":
    main()
