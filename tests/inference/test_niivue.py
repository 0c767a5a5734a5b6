"""A translated volume in the viewer that readers use: it opens, at the place and in the values that were written."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import crossmod
from crossmod.data.nifti import write_nifti
from tests.support.stores import made_volume

CHROMIUM = Path("/usr/bin/chromium")
VIEWER = Path(crossmod.__file__).parent / "reader" / "static" / "niivue.umd.js"
PAGE = """<!doctype html><canvas id="view" width="200" height="200"></canvas>
<script src="niivue.umd.js"></script><script>
const viewer = new niivue.Niivue(); viewer.attachTo("view").then(async () => {
  await viewer.loadVolumes([{url: "mr.nii"}]); const image = viewer.volumes[0];
  window.found = {shape: image.dims.slice(1, 4), least: image.img.reduce((a, b) => Math.min(a, b)),
    most: image.img.reduce((a, b) => Math.max(a, b)),
    corner: Array.from(image.matRAS).map(Number)}; });
</script>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium: apt install chromium"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/page.html"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_volume_of_ours_opens_where_it_lies(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    volume = made_volume(np.random.default_rng(3), "mr")
    write_nifti(volume, tmp_path / "mr.nii")
    shutil.copy(VIEWER, tmp_path)
    (tmp_path / "page.html").write_text(PAGE)
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with served(tmp_path) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function("window.found", timeout=60_000)
        found = page.evaluate("window.found")
        browser.close()
    assert sorted(found["shape"]) == sorted(volume.voxels.shape)
    assert (found["least"], found["most"]) == (volume.voxels.min(), volume.voxels.max())
    # Voxels to RAS+ millimetres, its axes in RAS order: the volume covers the same box.
    matrix = np.array(found["corner"]).reshape(4, 4)
    matrix = matrix if abs(matrix[3, :3]).max() < 1e-6 else matrix.T
    ends = [matrix @ np.array([*corner, 1]) for corner in ((0, 0, 0), np.array(found["shape"]) - 1)]
    ours = [volume.affine @ np.array([*corner, 1]) for corner in ((0, 0, 0), np.array(volume.voxels.shape) - 1)]
    for theirs, own in ((np.minimum(*ends), np.minimum(*ours)), (np.maximum(*ends), np.maximum(*ours))):
        np.testing.assert_allclose(theirs[:3], own[:3], atol=1e-3)
