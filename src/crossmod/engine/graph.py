"""One training step as one CUDA graph: the host gives one order a step in place of thousands.

Source: "Accelerating PyTorch with CUDA Graphs" (PyTorch documentation, CUDA semantics, whole-network capture).
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from crossmod.engine.trainee import Batch, Losses

log = logging.getLogger(__name__)

# Steps before recording: libraries choose their algorithms and optimizers make their state in them.
WARM = 3

Work = Callable[[], None]


class GraphedStep:
    """A step that is recorded after a few calls and replayed from then on.

    The first calls are ordinary steps of the training; nothing is thrown away. A batch of another shape, as the last
    one of an epoch may be, is an ordinary step too. A step that cannot be recorded goes on unrecorded, and says why.

    Args:
        step: works on the device alone; whatever else it does is done once, when it is recorded.
        record: gives a function that repeats a piece of work without the host; it need not do the work itself.
        aside: calls a function where a recording may follow.
    """

    def __init__(self, step: Callable[[Batch], Losses], record: Callable[[Work], Work], aside: Callable[[Work], None]):
        self._step, self._record, self._aside = step, record, aside
        self._calls = 0
        self._inputs: dict[str, Tensor] = {}
        self._names: list[str] = []
        self._losses = torch.empty(0)
        self._replay: Work | None = None
        self.failed: str | None = None

    def __call__(self, batch: Batch) -> Losses:
        """Take one step."""
        if self.failed is None and self._replay is None and self._calls == WARM:
            self._make(batch)
        if self._replay is None:
            self._calls += 1
            return self._ordinary(batch)
        if {name: part.shape for name, part in batch.items()} != {name: p.shape for name, p in self._inputs.items()}:
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
            self.failed = str(error).splitlines()[0]
            log.warning("No CUDA graph: %s. Every step is ordered anew, which is slower.", self.failed)


def on_cuda(step: Callable[[Batch], Losses]) -> GraphedStep:
    """A step that is recorded and replayed by CUDA."""

    def record(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def aside(work: Work) -> None:
        # Whatever is made in these calls must not belong to the stream that is recorded from.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream().wait_stream(stream)

    return GraphedStep(step, record, aside)
