"""A phase's losses, on one device or averaged over several processes."""

from __future__ import annotations

import contextlib

from torch import Tensor, nn

from parallel.distributed import Team


class LossModel:
    """A phase's model; in a team its gradients are averaged over the processes.

    Args:
        model: ``forward(batch, generated) -> (losses, generated)``, see :class:`modules.family.Phase`.
        team: its parameters that require gradients now are the ones that are averaged.
    """

    class _LossesAlone(nn.Module):
        """DistributedDataParallel waits for the gradients of all that a model returns: so of the losses alone."""

        def __init__(self, model: nn.Module):
            super().__init__()
            self.model, self.generated = model, {}

        def forward(self, batch: dict, generated: dict) -> dict[str, Tensor]:
            losses, self.generated = self.model(batch, generated)
            return losses

    def __init__(self, model: nn.Module, team: Team):
        self.own = self._LossesAlone(model)
        self.wrapped = team.wrap(self.own)

    def alone(self) -> contextlib.AbstractContextManager:
        """Context in which gradients are only added up, to be averaged by the next backward pass outside it."""
        return self.wrapped.no_sync() if self.wrapped is not self.own else contextlib.nullcontext()

    def __call__(self, step: int, batch: dict, generated: dict) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if hasattr(self.own.model, "set_step"):
            self.own.model.set_step(step)
        losses = self.wrapped(batch, generated)
        made, self.own.generated = self.own.generated, {}
        return losses, _detached(made)


def _detached(tree: dict) -> dict:
    return {k: _detached(v) if isinstance(v, dict) else v.detach() for k, v in tree.items()}
