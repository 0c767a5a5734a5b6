"""Nested dicts and lists with tensors at their ends, as a flat dict of tensors and a JSON skeleton, and back."""

from typing import Any

from torch import Tensor

TENSOR = "tensor:"


def flatten(tree: Any, name: str = "") -> tuple[dict[str, Tensor], Any]:
    """Take the tensors out of a tree.

    Returns:
        The tensors by their path, on the CPU, and the tree with `"tensor:<path>"` in their place; dict keys become
        pairs, since JSON knows no numbers as keys.

    Raises:
        TypeError: something that is neither a tensor nor plain data.
        ValueError: two tensors of one path, as `{"a": {"b": t}, "a/b": t}` has.
    """
    if isinstance(tree, Tensor):
        # To the host first: a copy in another layout would take room on the device.
        return {name: tree.detach().cpu().contiguous()}, TENSOR + name
    if isinstance(tree, dict | list | tuple):
        pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
        tensors: dict[str, Tensor] = {}
        skeleton = []
        for key, value in pairs:
            found, plain = flatten(value, f"{name}/{key}" if name else str(key))
            if tensors.keys() & found.keys():
                raise ValueError(f"two tensors would be called {next(iter(tensors.keys() & found.keys()))}")
            tensors |= found
            skeleton.append([key, plain])
        return tensors, {"dict" if isinstance(tree, dict) else "list": skeleton}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {}, tree
    raise TypeError(f"{name}: a {type(tree).__name__} cannot go into a checkpoint")


def unflatten(tensors: dict[str, Tensor], skeleton: Any) -> Any:
    """Put the tensors back into their tree."""
    if isinstance(skeleton, dict):
        kind, pairs = next(iter(skeleton.items()))
        values = [(key, unflatten(tensors, plain)) for key, plain in pairs]
        return dict(values) if kind == "dict" else [value for _, value in values]
    if isinstance(skeleton, str) and skeleton.startswith(TENSOR):
        return tensors[skeleton.removeprefix(TENSOR)]
    return skeleton
