"""One training step as one CUDA graph: the host launches one graph per step instead of thousands of kernels.

Source: "Accelerating PyTorch with CUDA Graphs" (PyTorch documentation, CUDA semantics, whole-network capture).
"""

import logging
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from crossmod.engine.state import Batch, Losses

log = logging.getLogger(__name__)

# Steps before recording, in which libraries choose algorithms and optimizers create their state.
WARM = 3

Work = Callable[[], None]
Shapes = frozenset[tuple[str, torch.Size]]


class GraphedStep:
    """A step that is recorded after a few calls and replayed from then on.

    The first calls are ordinary steps of the training; nothing is discarded. The first shape that occurs `WARM` times
    is recorded; a batch of another shape, such as the last of an epoch, is an ordinary step. A step that cannot be
    recorded stays an ordinary one, with a warning.

    Args:
        step: works on the device only; anything else that it does happens once, when it is recorded.
        record: returns a function that repeats a piece of work without the host; need not do the work itself.
        aside: calls a function such that a recording may follow.
    """

    def __init__(self, step: Callable[[Batch], Losses], record: Callable[[Work], Work], aside: Callable[[Work], None]):
        self._step, self._record, self._aside = step, record, aside
        self._calls: Counter[Shapes] = Counter()
        self._inputs: dict[str, Tensor] = {}
        self._names: list[str] = []
        self._losses = torch.empty(0)
        self._replay: Work | None = None
        self.failed: str | None = None

    def __call__(self, batch: Batch) -> Losses:
        """Take one step."""
        shapes = _shapes(batch)
        if self.failed is None and self._replay is None and self._calls[shapes] == WARM:
            self._make(batch)
        if self._replay is None or shapes != _shapes(self._inputs):
            self._calls[shapes] += 1
            return self._ordinary(batch)
        for name, part in self._inputs.items():
            part.copy_(batch[name], non_blocking=True)
        self._replay()
        # A copy: the next step writes over them.
        return dict(zip(self._names, self._losses.clone().unbind(), strict=True))

    def _ordinary(self, batch: Batch) -> Losses:
        losses: Losses = {}
        self._aside(lambda: losses.update(self._step(batch)))
        self._names = list(losses)
        return losses

    def _make(self, batch: Batch) -> None:
        self._inputs = {name: part.clone() for name, part in batch.items()}
        self._losses = torch.empty(len(self._names), device=next(iter(self._inputs.values())).device)

        def work() -> None:
            losses = self._step(self._inputs)
            self._losses.copy_(torch.stack([losses[name].float() for name in self._names]))

        try:
            self._replay = self._record(work)
        except RuntimeError as error:
            self.failed = first_line(error)
            log.warning("No CUDA graph: %s. Every step is launched kernel by kernel, which is slower.", self.failed)


def _shapes(batch: Batch) -> Shapes:
    return frozenset((name, part.shape) for name, part in batch.items())


def first_line(error: Exception) -> str:
    """The first line of an error's message; its type without one."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def on_cuda(step: Callable[[Batch], Losses]) -> GraphedStep:
    """A step that is recorded and replayed by CUDA."""

    def record(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    # A single one: freed memory is reused only on its own stream.
    stream = torch.cuda.Stream()

    def aside(work: Work) -> None:
        # What is allocated in these calls must not belong to the stream that is recorded.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream().wait_stream(stream)

    return GraphedStep(step, record, aside)
