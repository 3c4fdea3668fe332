"""A CUDA device has the CPU's bits, through Python's optimizers, clipping and micro-batches; without a device the CPU is compared
with itself."""

from testing import TestCase, lockstep, main, torch

from torch.nn import functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SAMPLES = 24


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(33, 70), torch.nn.GELU(), torch.nn.LayerNorm(70), torch.nn.Dropout(0.2),
                               torch.nn.ReLU6(), torch.nn.Linear(70, 9))


def trained(device, cuts, make_optimizer):
    """Parameters after 3 steps, whose batches are cut into micro-batches of these sizes."""
    model = network().to(device)
    optimizer = make_optimizer(model.parameters())
    torch.manual_seed(2)
    x, y = torch.randn(SAMPLES, 33).to(device), torch.randint(9, (SAMPLES,)).to(device)
    accumulator = lockstep.GradientAccumulator(list(model.parameters()))
    with lockstep.invariant_mode():
        for _ in range(3):
            optimizer.zero_grad()
            accumulator.begin(SAMPLES)
            first = 0
            for samples in cuts:
                with accumulator.micro_batch(first, samples):
                    F.cross_entropy(model(x[first:first + samples]), y[first:first + samples]).backward()
                first += samples
            accumulator.finish()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


class Device(TestCase):
    def test_trains_to_the_cpus_parameters(self):
        optimizers = {
            "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
            "adamw, as a list": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, foreach=True),
            "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
        }
        for name, make in optimizers.items():
            expected = trained("cpu", [SAMPLES], make)
            for cuts in ([SAMPLES], [7, 17]):
                for found, wanted in zip(trained(DEVICE, cuts, make), expected):
                    self.assert_same_bits(found.cpu(), wanted, f"{name}, {cuts}")

    def test_direct_operations(self):
        torch.manual_seed(3)
        x, gamma, beta = torch.randn(50, 33), torch.randn(33), torch.randn(33)

        def outcome(device):
            leaves = [t.clone().to(device).requires_grad_() for t in (x, gamma, beta)]
            y = torch.ops.lockstep.layer_norm(*leaves, 1e-5)
            torch.ops.lockstep.gelu(torch.ops.lockstep.matmul(y, y.t())).sum().backward()
            return [y.detach().cpu()] + [leaf.grad.cpu() for leaf in leaves]

        with lockstep.invariant_mode():
            for found, wanted in zip(outcome(DEVICE), outcome("cpu")):
                self.assert_same_bits(found, wanted)

    def test_force_cpu(self):
        x = torch.ones(3, device=DEVICE)
        with lockstep.batch_invariant_config(force_cpu=True):
            if DEVICE == "cuda":
                self.assert_refused("force_cpu", x.exp)
            else:
                x.exp()
        if DEVICE == "cuda":
            with lockstep.batch_invariant_config(force_cpu=False):
                x.exp()


if __name__ == "__main__":
    main()
