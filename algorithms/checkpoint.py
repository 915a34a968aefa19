"""The whole state of a run, saved and restored.

A checkpoint is one safetensors file, with what is not a tensor as JSON in its header, and its
SHA-256 in a second file beside it (a flipped bit would load silently otherwise). It holds tensors
and plain Python values only, so loading one runs no code. Files are written under other names,
forced to the disk and then moved into place, the checkpoint last: a checkpoint that is there is
whole. Two generations are kept, so that the newest may be lost.
"""

import base64
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from algorithms.files import BEING_WRITTEN, NotWritten, written_whole

GENERATIONS = 2
"""Checkpoints kept."""
SUFFIX, DIGEST_SUFFIX = ".safetensors", ".sha256"
_TAG = "$"
"""Key of a JSON object that stands for what JSON has no word for."""


class CheckpointDamaged(Exception):
    """A checkpoint that cannot be used, and why; one line."""


class Checkpoints:
    """The checkpoints in a folder, by generation: `<number>.safetensors`, `<number>.sha256`."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._damaged: set[int] = set()
        """Generations that could not be loaded."""

    def generations(self) -> list[int]:
        """Numbers of the checkpoints that are there, oldest first."""
        names = (file.stem for file in self.folder.glob(f"*{SUFFIX}"))
        return sorted(int(name) for name in names if name.isdecimal())

    def save(self, state: Any) -> Path:
        """Write a new generation and remove all but the newest two, damaged ones not counted.

        `state` is nested dictionaries, lists and tuples of tensors, NumPy arrays and plain values.
        Raises NotWritten (a full disk, a folder that cannot be written to).
        """
        number = max(self.generations(), default=0) + 1
        file, digest = self._files(number)
        encoder = _Encoder()
        header = {"state": json.dumps(encoder.encode(state))}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotWritten(f"{self.folder} cannot be made: {error.strerror}") from None
        with written_whole(file) as new_file:
            save_file(encoder.tensors, new_file, header)
            # Into place first: a checkpoint that is there has its digest.
            with written_whole(digest) as new_digest:
                new_digest.write_text(f"{_sha256(new_file)}  {file.name}\n")
        whole = [number for number in self.generations() if number not in self._damaged]
        self._remove_all_but(whole[-GENERATIONS:])
        return file

    def load(self, device: torch.device) -> tuple[Any, list[str]]:
        """(the newest state that is whole, or None; a line for each damaged one that is not it).

        Tensors that were on a device when saved are put on `device`, others stay on the host.
        """
        complaints = []
        for number in reversed(self.generations()):
            try:
                return read(self._files(number)[0], device), complaints
            except CheckpointDamaged as error:
                complaints.append(str(error))
                self._damaged.add(number)
        return None, complaints

    def remove(self) -> None:
        """Remove every checkpoint, and the folder where nothing else is in it."""
        self._remove_all_but([])
        with contextlib.suppress(OSError):  # not there, or something else is in it
            self.folder.rmdir()

    def _files(self, number: int) -> tuple[Path, Path]:
        file = self.folder / f"{number:06d}{SUFFIX}"
        return file, file.with_suffix(DIGEST_SUFFIX)

    def _remove_all_but(self, kept: list[int]) -> None:
        keep = {file.name for number in kept for file in self._files(number)}
        for suffix in (SUFFIX, DIGEST_SUFFIX, BEING_WRITTEN):
            for file in self.folder.glob(f"*{suffix}"):
                if file.name not in keep:
                    with contextlib.suppress(OSError):  # the next save tries again
                        file.unlink()


def read(file: Path, device: torch.device) -> Any:
    """The state in a checkpoint. Raises CheckpointDamaged if it is not what was written."""
    try:
        told = (
            file.with_suffix(DIGEST_SUFFIX).read_bytes().split(b" ")[0].decode("ascii", "replace")
        )
        if _sha256(file) != told:
            raise CheckpointDamaged(f"{file} is damaged: it does not have its SHA-256")
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
            document = json.loads((opened.metadata() or {})["state"])
        return _decode(document, tensors, device)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointDamaged(f"{file} is damaged: {type(error).__name__}: {reason}") from None


class _Encoder:
    """Turns a state into JSON and gathers its tensors."""

    def __init__(self):
        self.tensors: dict[str, torch.Tensor] = {}
        self._memory: set[int] = set()

    def encode(self, value: Any) -> Any:
        """`value` as JSON, with tensors and arrays by name."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, torch.Tensor):
            name = self._keep(value.detach().contiguous())
            return {_TAG: "tensor", "name": name, "on_host": value.device.type == "cpu"}
        if isinstance(value, np.ndarray):
            # As bytes: NumPy has types that torch lacks.
            content = torch.frombuffer(bytearray(value.tobytes() or b"\0"), dtype=torch.uint8)
            name, shape = self._keep(content), list(value.shape)
            return {_TAG: "array", "name": name, "dtype": value.dtype.str, "shape": shape}
        if isinstance(value, np.generic):
            return self.encode(value.item())
        if isinstance(value, int | float):
            return value
        if isinstance(value, bytes):
            return {_TAG: "bytes", "value": base64.b64encode(value).decode()}
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, tuple):
            return {_TAG: "tuple", "items": [self.encode(item) for item in value]}
        if isinstance(value, dict):
            if all(isinstance(key, str) and key != _TAG for key in value):
                return {key: self.encode(item) for key, item in value.items()}
            items = [[self.encode(key), self.encode(item)] for key, item in value.items()]
            return {_TAG: "dict", "items": items}
        raise TypeError(f"a checkpoint cannot hold a {type(value).__qualname__}")

    def _keep(self, tensor: torch.Tensor) -> str:
        """Name of the tensor. One that shares memory with another, as views of one vector do, is
        copied: safetensors refuses it. The filled part of a replay is not."""
        memory = tensor.untyped_storage().data_ptr()
        name = str(len(self.tensors))
        self.tensors[name] = tensor.clone() if memory in self._memory else tensor
        self._memory.add(memory)
        return name


def _decode(value: Any, tensors: dict[str, torch.Tensor], device: torch.device) -> Any:
    """Inverse of `_Encoder.encode`."""
    if isinstance(value, list):
        return [_decode(item, tensors, device) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind is None:
        return {key: _decode(item, tensors, device) for key, item in value.items()}
    if kind == "tensor":
        tensor = tensors[value["name"]]
        # A copy, aligned as torch does: the file is mapped, and sums depend on alignment.
        return tensor.clone() if value["on_host"] else tensor.to(device, copy=True)
    if kind == "array":
        dtype, shape = np.dtype(value["dtype"]), tuple(value["shape"])
        content = tensors[value["name"]].numpy().tobytes()
        return np.frombuffer(content, dtype, count=int(np.prod(shape))).reshape(shape).copy()
    if kind == "bytes":
        return base64.b64decode(value["value"], validate=True)
    if kind == "tuple":
        return tuple(_decode(item, tensors, device) for item in value["items"])
    if kind == "dict":
        return {
            _decode(key, tensors, device): _decode(item, tensors, device)
            for key, item in value["items"]
        }
    raise ValueError(f"unknown kind '{kind}'")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
