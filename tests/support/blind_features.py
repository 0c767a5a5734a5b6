"""All that a reader's machine sees of a scan, without its pixels, as numbers; and whether they tell its class."""

import time
from pathlib import Path
from zlib import crc32

import httpx
import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict

from tests.support.web_study import fields

# Of an image, before its pixels.
HEADER = 352
DRAWS, FOLDS = 500, 5

Row = dict[str, float]


def seen(client: httpx.Client, images: Path, number: int) -> tuple[str, Row]:
    """One place: the scan's id, and all that can be told of it. Each is asked for twice, for the times."""
    row: Row = {"place": number, "odd place": number % 2}
    page, row["page seconds"] = _timed(client, f"/scan/{number}")
    scan = fields(page)["scan"]
    path = f"/image/{scan}.nii"
    image, row["image seconds"] = _timed(client, path)
    row["page seconds again"] = _timed(client, f"/scan/{number}")[1]
    row["image seconds again"] = _timed(client, path)[1]
    row |= _response("page", page) | _response("image", image)
    since = {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    row |= _response("range", client.get(path, headers={"Range": "bytes=0-99"}))
    row |= _response("since", client.head(path, headers=since))
    row |= {f"header byte {index}": float(byte) for index, byte in enumerate(image.content[:HEADER])}
    row |= {f"digit {index}": float(int(digit, 16)) for index, digit in enumerate(scan)}
    return scan, row | _file(images / f"{scan}.nii")


def _timed(client: httpx.Client, path: str) -> tuple[httpx.Response, float]:
    before = time.perf_counter()
    response = client.get(path)
    taken = time.perf_counter() - before
    assert response.status_code == 200
    return response, taken


def _response(kind: str, response: httpx.Response) -> Row:
    row: Row = {f"{kind} status": response.status_code, f"{kind} bytes": len(response.content)}
    row[f"{kind} order of headers"] = crc32(" ".join(response.headers).encode())
    for name, value in response.headers.multi_items():
        # When it was asked for says nothing of its own: places are asked for in their order.
        if name != "date":
            row[f"{kind} {name}"] = float(value) if value.isdecimal() else crc32(value.encode())
    return row


def _file(path: Path) -> Row:
    """Of the folder, which whoever makes backups sees."""
    status = path.stat()
    listed = [one.name for one in path.parent.iterdir()].index(path.name)
    return {
        "modified": status.st_mtime_ns,
        "file bytes": status.st_size,
        "mode": status.st_mode,
        "listed": listed,
        "inode": status.st_ino,
    }


def ranked(rows: list[Row]) -> tuple[np.ndarray, list[str]]:
    """A row a scan of what is not the same for all, by rank: a busy machine has times without end."""
    names = sorted({name for row in rows for name in row})
    columns = np.array([[row.get(name, -1.0) for name in names] for row in rows])
    varies = np.flatnonzero((columns != columns[0]).any(axis=0))
    ranks = rankdata(columns[:, varies], axis=0)
    return (ranks - ranks.mean(axis=0)) / ranks.std(axis=0), [names[index] for index in varies]


def verdict(rows: list[Row], synthetic: np.ndarray) -> tuple[float, float, str]:
    """How likely classes that mean nothing would be told as well (of three ways, the best, and corrected for three);
    the accuracy of a logistic regression on scans that it was not fitted to; the feature that tells most."""
    values, names = ranked(rows)
    truth = np.where(synthetic, 1.0, -1.0)
    shuffles = np.random.default_rng(0).permuted(np.tile(truth, (DRAWS, 1)), axis=1)
    both = np.vstack([truth, shuffles]).T
    alone = np.abs(values.T @ both)
    ways = [alone.max(axis=0), _right(values, both, ridge=len(names)), _right(values, both, ridge=1e9)]
    p = min(float((way[1:] >= way[0] - 1e-9).sum() + 1) / (DRAWS + 1) for way in ways)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    told = cross_val_predict(LogisticRegression(C=0.1, max_iter=1000), values, synthetic, cv=folds)
    return min(1.0, len(ways) * p), float(np.mean(told == synthetic)), names[int(alone[:, 0].argmax())]


def _right(values: np.ndarray, classes: np.ndarray, ridge: float) -> np.ndarray:
    """By column of classes, the share that a ridge regression on the other folds tells; with no end of ridge it is the
    nearest centroid."""
    right = np.zeros(classes.shape[1])
    for others, own in KFold(FOLDS, shuffle=True, random_state=0).split(values):
        fitted = values[others]
        middle = classes[others].mean(axis=0)
        weights = np.linalg.solve(
            fitted.T @ fitted + ridge * np.eye(fitted.shape[1]), fitted.T @ (classes[others] - middle)
        )
        right += (np.sign(values[own] @ weights) == classes[own]).sum(axis=0)
    return right / len(values)
