"""The segmentor S of a family that needs it before the translator: trained on source slices with random contrast.

It sees all labelled source slices of the training side, with and without the organ, and no image of the target. What
it learns holds for other contrasts too, since each slice gets a new one at each step (GIN, Ouyang et al. 2022).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from crossmod.config import with_changes
from crossmod.data.batches import LabelledBatches
from crossmod.data.pixel_size import model_scale
from crossmod.engine import checkpoint
from crossmod.engine.device import accelerate, choose
from crossmod.engine.distributed import Distributed
from crossmod.engine.logger import training_card
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.optimizers import averaged
from crossmod.runs import start_training
from crossmod.seeds import derive
from crossmod.segmentation import model
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.synthesis.guided import NETWORK
from crossmod.synthesis.training_data import TrainingData, training_slices

# The run's folder in that of the translator, and its kind.
FOLDER = "segmentor"


def settings_of(settings: TranslateSettings) -> SegmentSettings:
    """How S of a translator is trained: as preset `tiny_modern`, with random contrast."""
    shared = ("organs", "window", "percentiles", "size", "frame", "pixel_mm", "precision", "split_seed", "same_people")
    return SegmentSettings(
        **{name: getattr(settings, name) for name in shared},
        modality=settings.source,
        network=NETWORK,
        augmentation="random_contrast",
        loss="dice_cross_entropy",
        learning_rate=2e-3,
        schedule="cosine",
        ema=0.98,
        batch_size=6,
        steps=settings.segmentor_steps,
        seed=derive(settings.seed, "segmentor") % 2**32,
    )


def train_segmentor(
    out: Path, data: TrainingData, settings: TranslateSettings, machine: Machine, world: Distributed
) -> Mapping[str, Tensor]:
    """Train S in the folder `segmentor` of the run in `out`, or continue; gives its weights."""
    own, folder = settings_of(settings), out / FOLDER
    run = world.once(partial(start_training, folder, FOLDER, own, data.inputs))
    every = with_changes(settings, slices="all", ct_slices=0, mr_slices=0)
    slices = training_slices(data, settings.source, every, model_scale(settings))[0]
    compute = choose(world.device, own.precision, ranks=world.ranks, blocks=False)
    trainee = accelerate(averaged(model.build(own, world.device), ("segmenter",), own.ema), compute)
    if not run.finished:
        batches = LabelledBatches((slices,), own, world.device, rank=world.rank, ranks=world.ranks)
        title = f"Training S on {len(slices)} slices with random contrast"
        plan = TrainingPlan(
            title, own.epochs, own.seed, steps=own.steps, schedule=own.schedule, minutes=machine.checkpoint_minutes
        )
        done = fit(trainee, batches, run, plan, world)
        weights = trainee.model["segmenter"].state_dict()
        card = {
            **training_card(done, batches.steps, own, compute, world),
            "data": {"slices": len(slices), "patients": list(slices.patients)},
            "weights_sha256": checkpoint.weights_hash({"segmenter": weights}),
        }
        world.once(lambda: run.finish(card))
    card = run.card
    weights = checkpoint.trained_weights(folder, card["steps"], card["weights_sha256"])["segmenter"]
    return {f"network.{name}": values for name, values in weights.items()}  # within `guided.Segmentor`
