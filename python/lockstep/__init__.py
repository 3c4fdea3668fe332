"""Context managers over torch.ops.lockstep and torch.classes.lockstep, which liblockstep_torch.so registers.

Nothing here is needed: torch.ops.load_library("liblockstep_torch.so") gives the operations and classes themselves.
"""

import contextlib
import os
import pathlib
import traceback

import torch

__all__ = ["BatchInvariantConfig", "GradientAccumulator", "Recorder", "allow_operation", "batch_invariant_config", "digest",
           "invariant_mode", "invariant_mode_enabled", "operation_class", "report", "reset_report", "version"]

LIBRARY = "liblockstep_torch.so"


def _find_library():
    """LOCKSTEP_TORCH_LIBRARY, else beside the installed package (<prefix>/lib/python/lockstep)."""
    named = os.environ.get("LOCKSTEP_TORCH_LIBRARY")
    installed = pathlib.Path(__file__).resolve().parents[2] / LIBRARY
    for path in filter(None, (named, installed)):
        if os.path.exists(path):
            return str(path)
    raise ImportError(f"lockstep: no {LIBRARY} at {named or installed}: set LOCKSTEP_TORCH_LIBRARY to its path")


torch.ops.load_library(_find_library())

_ops = torch.ops.lockstep
BatchInvariantConfig = torch.classes.lockstep.BatchInvariantConfig
Recorder = torch.classes.lockstep.Recorder
allow_operation = _ops.allow_operation
digest = _ops.digest
invariant_mode_enabled = _ops.invariant_mode_enabled
operation_class = _ops.operation_class
report = _ops.report
reset_report = _ops.reset_report
version = _ops.version


_IN_MODULE = "\n  in module: "


def _name_module(error):
    """Says in a refusal of ours which module of the model it came from, where the traceback shows one.

    Nothing is kept while models run: only a refusal looks back.
    """
    text = str(error.args[0]) if error.args else ""
    if not ("invariant mode" in text or text.startswith("aten::")) or _IN_MODULE in text:
        return
    modules = [frame.f_locals["self"] for frame, _ in traceback.walk_tb(error.__traceback__)
               if isinstance(frame.f_locals.get("self"), torch.nn.Module)]
    if modules:
        names = {id(module): name for name, module in modules[0].named_modules()}
        path = names.get(id(modules[-1]), "")
        error.args = (f"{text}{_IN_MODULE}{path}{' ' if path else ''}({type(modules[-1]).__name__})", *error.args[1:])


class invariant_mode(contextlib.ContextDecorator):
    """The invariant mode of this thread, on (or with on=False off) inside; before and after as it was.

    A refusal that leaves it names the module it came from.
    """

    def __init__(self, on=True):
        self._on = on
        self._before = []

    def __enter__(self):
        self._before.append(_ops.set_invariant_mode(self._on))
        return self

    def __exit__(self, kind, error, _):
        _ops.set_invariant_mode(self._before.pop())
        if isinstance(error, RuntimeError):
            _name_module(error)


@contextlib.contextmanager
def batch_invariant_config(force_cpu=True, precision="fp32", manual_seed=None, enforce_deterministic_algorithms=True,
                           threads=0):
    """The invariant mode with torch's switches set for it; all of them restored on exit.

    precision: "fp32"; "fp16" and "bf16" are refused. threads: 0 leaves them. With force_cpu, tensors made without a
    device are on the CPU, whatever torch.set_default_device() says, and the mode refuses those on a CUDA device; False
    lets them, where there is a device.
    """
    config = BatchInvariantConfig(force_cpu, precision, manual_seed, enforce_deterministic_algorithms, threads)
    redirects = force_cpu and torch.get_default_device().type != "cpu"
    on_cpu = torch.device("cpu") if redirects else contextlib.nullcontext()
    with on_cpu:
        config.enter()
        try:
            yield config
        except RuntimeError as error:
            _name_module(error)
            raise
        finally:
            config.exit()


class GradientAccumulator:
    """One gradient from many micro-batches, with the bits of one backward over the whole batch.

        accumulator = GradientAccumulator(model)
        accumulator.begin(64)
        for first, samples in cuts:
            with accumulator.micro_batch(first, samples):
                loss_of(first, samples).backward()
        loss = accumulator.finish()
    """

    def __init__(self, parameters):
        """parameters: a module, pairs (name, parameter), or parameters."""
        if isinstance(parameters, torch.nn.Module):
            parameters = parameters.named_parameters()
        named = [p if isinstance(p, tuple) else (f"parameter {i}", p) for i, p in enumerate(parameters)]
        self._accumulator = torch.classes.lockstep.GradientAccumulator(named)

    def begin(self, samples, count=None):
        """A global batch of `samples`; count: the targets that its loss counts, where some may be ignored."""
        self._accumulator.begin(samples, count)

    @contextlib.contextmanager
    def micro_batch(self, first_sample, samples, lengths=()):
        """The scope of one micro-batch's forward and backward."""
        self._accumulator.enter_micro_batch(first_sample, samples, list(lengths))
        try:
            yield
        finally:
            self._accumulator.exit_micro_batch()

    def finish(self):
        """Fills .grad of every parameter; returns the loss of the global batch."""
        return self._accumulator.finish()

    def cancel(self):
        """Ends a global batch without gradients, after an exception."""
        self._accumulator.cancel()

    @property
    def losses(self):
        return self._accumulator.losses()

    @property
    def bytes(self):
        return self._accumulator.bytes()
