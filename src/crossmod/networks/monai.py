"""Segmentation networks of MONAI (Cardoso et al. 2022), at full size: 2D, one channel in, one logit per pixel out,
or, of `outputs` classes, one of each.

Notable:
- MONAI takes seconds to import and is an extra of the package: it is imported when one of its networks is built.
- Initial weights are drawn by MONAI.
- Last layers compute in fp32, as in our own networks.
"""

from importlib import import_module
from typing import Any

from crossmod.errors import InputError
from crossmod.networks.blocks import Float32Sequential, PadToMultiple

# Each 2D, of one channel in.
SHAPE: dict[str, int] = {"spatial_dims": 2, "in_channels": 1}


def dynunet(size: int, outputs: int = 1) -> PadToMultiple:
    """nnU-Net's plain 2D network (Isensee et al. 2021): instance norm, leaky ReLU, no deep supervision. As nnU-Net
    plans it, images are halved down to four pixels per side: six times from 256, with 32 to three times 512
    channels."""
    halvings = (size // 4).bit_length() - 1
    network = _nets("dynunet").DynUNet(
        **SHAPE,
        out_channels=outputs,
        kernel_size=[3] * (halvings + 1),
        strides=[1] + [2] * halvings,
        upsample_kernel_size=[2] * halvings,
        deep_supervision=False,
    )
    network.output_block = Float32Sequential(network.output_block)
    # Twice the step: instance norm of a single pixel is undefined.
    return PadToMultiple(network, step=2**halvings, least=2 ** (halvings + 1))


def attention_unet(size: int, outputs: int = 1) -> PadToMultiple:
    """Attention U-Net (Oktay et al. 2018): the U-Net's 64 to 1024 channels, gates on the skips, batch norm."""
    network = _nets("attention_unet").AttentionUnet(
        **SHAPE, out_channels=outputs, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2)
    )
    network.model[-1] = Float32Sequential(network.model[-1])
    return PadToMultiple(network, step=16, least=32)


def swin_unetr(size: int, outputs: int = 1) -> PadToMultiple:
    """Swin UNETR (Hatamizadeh et al. 2022) with its 48 features: windows of 7 x 7 patches of 2 x 2 pixels."""
    network = _nets("swin_unetr").SwinUNETR(**SHAPE, out_channels=outputs, feature_size=48)
    network.out = Float32Sequential(network.out)
    return PadToMultiple(network, step=32, least=64)


def segresnet(size: int, outputs: int = 1) -> PadToMultiple:
    """SegResNet (Myronenko 2018) with its 32 filters, group norm and dropout of 0.2, without the autoencoder."""
    network = _nets("segresnet").SegResNet(**SHAPE, out_channels=outputs, init_filters=32, dropout_prob=0.2)
    network.conv_final = Float32Sequential(network.conv_final)
    return PadToMultiple(network, step=8)


def _nets(name: str) -> Any:
    try:
        # Only SwinUNETR needs it, and MONAI would fail in the middle of a step.
        import_module("einops")
        return import_module("monai.networks.nets")
    except ImportError as error:
        do = "Install it: pip install 'crossmod[monai]'."
        raise InputError(f"--network {name}", found=f"no MONAI ({error})", expected="MONAI and einops", do=do) from None
