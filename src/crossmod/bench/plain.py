"""The reference: the same networks and losses, trained as public code trains them."""

from torch.optim import Adam

from crossmod.engine.state import Trainee

PATH = "fp32, eager"


def plain(trainee: Trainee) -> Trainee:
    """A new trainee with the Adam that `torch.optim.Adam(weights, rate, betas)` gives, in place of the engine's.

    Nothing else of it needs to be taken back: what is not accelerated is eager, in fp32, with rows of pixels last.
    """
    for optimizer in trainee.optimizers.values():
        assert isinstance(optimizer, Adam)
        assert not optimizer.state, "steps were taken already"
        for group in optimizer.param_groups:
            group.update(lr=float(group["lr"]), fused=None, foreach=None, capturable=False)
    return trainee
