"""One gradient from Python, whatever the batch is cut into."""

from testing import TestCase, lockstep, main, torch

from torch.nn import functional as F

SAMPLES = 13
CUTS = ([13], [1] * 13, [7, 6], [4, 1, 8])


def model_and_data():
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 7))
    return model, torch.randn(SAMPLES, 20), torch.randint(0, 7, (SAMPLES,))


def accumulate(accumulator, model, x, y, cuts, **kwargs):
    accumulator.begin(SAMPLES, **kwargs)
    first = 0
    for samples in cuts:
        with accumulator.micro_batch(first, samples):
            F.cross_entropy(model(x[first:first + samples]), y[first:first + samples]).backward()
        first += samples
    return accumulator.finish()


class Accumulator(TestCase):
    def test_every_cut_gives_the_gradient_of_the_whole_batch(self):
        model, x, y = model_and_data()
        with lockstep.invariant_mode():
            whole = F.cross_entropy(model(x), y)
            whole.backward()
            expected = {name: p.grad.clone() for name, p in model.named_parameters()}
            accumulator = lockstep.GradientAccumulator(model)
            for cuts in CUTS:
                model.zero_grad()
                loss = accumulate(accumulator, model, x, y, cuts)
                self.assertEqual(loss, whole.item())
                self.assertEqual(accumulator.losses, [loss])
                for name, p in model.named_parameters():
                    self.assert_same_bits(p.grad, expected[name], f"{name}, {cuts}")

    def test_ignored_targets_need_a_count(self):
        model, x, y = model_and_data()
        y[3:6] = -100
        accumulator = lockstep.GradientAccumulator(model.parameters())
        with lockstep.invariant_mode():
            self.assert_refused("count", accumulate, accumulator, model, x, y, [7, 6])
            accumulate(accumulator, model, x, y, [7, 6], count=10)
            expected = model[0].weight.grad.clone()
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
        self.assert_same_bits(model[0].weight.grad, expected)

    def test_errors_speak_by_name_and_leave_nothing_open(self):
        model, x, y = model_and_data()
        unused = torch.nn.Parameter(torch.zeros(3))
        accumulator = lockstep.GradientAccumulator([*model.named_parameters(), ("head.unused", unused)])
        with lockstep.invariant_mode():
            self.assert_refused("'head.unused'", accumulate, accumulator, model, x, y, [SAMPLES])
            accumulator.begin(SAMPLES)
            with accumulator.micro_batch(0, 4):
                F.cross_entropy(model(x[:4]), y[:4]).backward()
            self.assert_refused("without a gap", accumulator.micro_batch(5, 2).__enter__)
            accumulator.cancel()
            accumulator.begin(SAMPLES)
            accumulator.cancel()

    def test_outside_the_mode_it_is_refused(self):
        model, _, _ = model_and_data()
        accumulator = lockstep.GradientAccumulator(model)
        accumulator.begin(4)
        self.assert_refused("InvariantMode", accumulator.micro_batch(0, 4).__enter__)
        accumulator.cancel()

    def test_an_exception_inside_a_micro_batch_ends_its_scope(self):
        model, x, y = model_and_data()
        accumulator = lockstep.GradientAccumulator(model)
        with lockstep.invariant_mode():
            accumulator.begin(SAMPLES)
            with self.assertRaises(KeyError):
                with accumulator.micro_batch(0, 4):
                    raise KeyError("from the inside")
            accumulator.cancel()
            accumulate(accumulator, model, x, y, [SAMPLES])


if __name__ == "__main__":
    main()
