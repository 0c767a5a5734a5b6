"""How much one step of a training computes, judged by its settings alone: small runs take one CPU thread.

Measured on two cores, steps of training per second with two threads against one (docs/concepts/training.md): 1.1 to 1.2
times as many up to about 220,000 numbers in the first layer of a step, 1.4 to 1.5 from a million on. Threads that wait
for each other lose far more than that where another program keeps one of the cores busy.
"""

from crossmod.settings import SegmentSettings, TranslateSettings

# Numbers in the output of a step's first layer, the largest that there is.
SMALL = 400_000
# Channels of the first layer of each segmentation network.
CHANNELS = {"unet": 64, "tiny": 12, "dynunet": 32, "attention_unet": 64, "swin_unetr": 48, "segresnet": 32}

AnySettings = TranslateSettings | SegmentSettings


def first_layer(settings: AnySettings) -> int:
    """Numbers in the output of the first layer: pixels x channels x slices in a step."""
    if isinstance(settings, TranslateSettings):
        channels = max(settings.generator_filters, settings.discriminator_filters)
    else:
        channels = CHANNELS[settings.network]
    return settings.size**2 * channels * settings.batch_size


def is_small(settings: AnySettings) -> bool:
    """Whether more than one CPU thread would bring little."""
    return first_layer(settings) <= SMALL
