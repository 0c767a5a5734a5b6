"""Inception, the network with the 2048 features of Fréchet inception distances (FID).

It is Inception v3 (Szegedy et al. 2016) as the TensorFlow graph of 2015-12-05 computes it. Unlike in torchvision,
average pooling does not count the padding (blocks A, C and the first E), the last block pools by the maximum, and there
are 1008 classes and other weights. The layer of the classes is omitted here. Units and blocks have the names of the
weights file of PyTorch's port of FID, `pt_inception-2015-12-05-6726825d.pth`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor, nn

SIZE = 299

Maps = Float[Tensor, "batch maps rows columns"]
MapsOut = Float[Tensor, "batch maps_out rows_out columns_out"]


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU; filters of one size or rows and columns. `same`: zeros around the image
    keep its size."""

    def __init__(self, maps_in: int, maps_out: int, *size: int, stride: int = 1, same: bool = True):
        super().__init__()
        rows, columns = size if len(size) == 2 else size * 2
        padding = (rows // 2, columns // 2) if same else (0, 0)
        self.conv = nn.Conv2d(maps_in, maps_out, (rows, columns), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(maps_out, eps=1e-3)

    def forward(self, x: Maps) -> MapsOut:
        """Maps that are 0 or more."""
        return F.relu(self.bn(self.conv(x)))


def average(x: Maps) -> Maps:
    """Mean over 3 x 3; at the border over the existing pixels."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class InceptionA(nn.Module):
    """35 x 35: branches of 1 x 1, 5 x 5, twice 3 x 3, and pooling."""

    def __init__(self, maps: int, pooled: int):
        super().__init__()
        self.branch1x1 = Unit(maps, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(maps, 48, 1), Unit(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(maps, 64, 1), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3)
        self.branch_pool = Unit(maps, pooled, 1)

    def forward(self, x: Maps) -> MapsOut:
        """All branches, one after another."""
        b = self.branch5x5_2(self.branch5x5_1(x))
        c = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), b, c, self.branch_pool(average(x))], 1)


class InceptionB(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, maps: int):
        super().__init__()
        self.branch3x3 = Unit(maps, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(maps, 64, 1), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2, same=False)

    def forward(self, x: Maps) -> MapsOut:
        """All branches, one after another."""
        b = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), b, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """17 x 17: filters of 7 x 7, taken as rows and columns."""

    def __init__(self, maps: int, narrow: int):
        super().__init__()
        self.branch1x1 = Unit(maps, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Unit(maps, narrow, 1), Unit(narrow, narrow, 1, 7)
        self.branch7x7_3 = Unit(narrow, 192, 7, 1)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(maps, narrow, 1), Unit(narrow, narrow, 7, 1)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(narrow, narrow, 1, 7), Unit(narrow, narrow, 7, 1)
        self.branch7x7dbl_5 = Unit(narrow, 192, 1, 7)
        self.branch_pool = Unit(maps, 192, 1)

    def forward(self, x: Maps) -> MapsOut:
        """All branches, one after another."""
        b = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        c = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        c = self.branch7x7dbl_5(self.branch7x7dbl_4(c))
        return torch.cat([self.branch1x1(x), b, c, self.branch_pool(average(x))], 1)


class InceptionD(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self, maps: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(maps, 192, 1), Unit(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(maps, 192, 1), Unit(192, 192, 1, 7)
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, 7, 1), Unit(192, 192, 3, stride=2, same=False)

    def forward(self, x: Maps) -> MapsOut:
        """All branches, one after another."""
        a = self.branch3x3_2(self.branch3x3_1(x))
        b = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([a, b, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """8 x 8; the last one, unlike the paper's, pools by the maximum."""

    def __init__(self, maps: int, *, last: bool):
        super().__init__()
        self.last = last
        self.branch1x1 = Unit(maps, 320, 1)
        self.branch3x3_1 = Unit(maps, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, 1, 3), Unit(384, 384, 3, 1)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(maps, 448, 1), Unit(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, 1, 3), Unit(384, 384, 3, 1)
        self.branch_pool = Unit(maps, 192, 1)

    def forward(self, x: Maps) -> MapsOut:
        """All branches, one after another."""
        b, c = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        split = [self.branch3x3_2a(b), self.branch3x3_2b(b), self.branch3x3dbl_3a(c), self.branch3x3dbl_3b(c)]
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.last else average(x)
        return torch.cat([self.branch1x1(x), *split, self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """From one-channel images to 2048 features; never trained here."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = Unit(32, 32, 3, same=False), Unit(32, 64, 3)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Unit(64, 80, 1), Unit(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(768, 128), InceptionC(768, 160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(768, 160), InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b, self.Mixed_7c = InceptionE(1280, last=False), InceptionE(2048, last=True)
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch 2048"]:
        """Features of images in [-1, 1], of any size.

        They are resampled to 299 x 299 by bilinear interpolation between pixel centres (`align_corners=False`, without
        smoothing), and their channel is used for red, green and blue. The PyTorch port of FID does the same with images
        in [0, 1] and scales them to [-1, 1] afterwards, which differs only by rounding.
        """
        x = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))


def with_weights(weights: Mapping[str, Float[Tensor, "..."]]) -> Inception:
    """The network with weights by name, all of them and no others, in fp32."""
    network = empty()
    # PyTorch sets the counters of batch normalisation, which do not affect the features, to 0.
    network.load_state_dict(weights, strict=True, assign=True)
    return network


def empty() -> Inception:
    """The network without memory, and without random draws for weights, which would affect a training around it."""
    with torch.device("meta"):
        return Inception()
