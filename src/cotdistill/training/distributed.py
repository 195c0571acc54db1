"""Several processes (ranks) that train one student: who takes which examples, and how gradients and counts add up.

Started by ``accelerate launch`` or ``torchrun``. Every rank takes its share of each step's examples and divides by the
loss tokens of all. DDP and FSDP2 average gradients over the ranks, so each rank's loss counts ``size`` times. All ranks
do the same number of forward passes, which both need: one with fewer micro-batches repeats an example without effect.

With FSDP2 every decoder layer is a unit, and the loss module, which holds the head, is the root: its own parameters are
whole while its forward runs, so the fused loss sees a plain head. Frozen teachers are sharded layer by layer; their
heads, which are applied chunk by chunk, stay whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from cotdistill.errors import ConfigError
from cotdistill.models.load.layers import decoder_layers
from cotdistill.training.data.batches import Batch

_LAUNCHERS = "start with accelerate launch or torchrun, or unset WORLD_SIZE"
PATIENCE = timedelta(days=30)
"""How long ranks wait for the first one while it annotates or evaluates; the launcher ends them if it fails."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. ``control`` carries their messages, on the CPU."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    control: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, indices: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """This rank's examples of a step: every ``size``-th by length, so that all have about as many tokens."""
        if self.size == 1:
            return list(indices)
        return sorted(indices, key=lambda index: (-lengths[index], index))[self.rank :: self.size]

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum over ranks of each value, the same on all of them."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed, group=self.control)
        return summed.tolist()

    def rounds(self, batches: Sequence[Batch], spare: Batch | None) -> list[tuple[Batch, int]]:
        """As many micro-batches as the rank with the most has, each with how often its loss counts.

        ``spare``, which has no effect, fills up; with several ranks each must have one.
        """
        if self.size == 1:
            return [(batch, 1) for batch in batches]
        most = torch.tensor(len(batches))
        dist.all_reduce(most, op=dist.ReduceOp.MAX, group=self.control)
        assert spare is not None
        return [(batch, self.size) for batch in batches] + [(spare, 0)] * (int(most) - len(batches))

    def wrap(self, module: nn.Module, student: PreTrainedModel, *, uses_head: bool) -> nn.Module:
        """What is called instead of ``module``, which holds the student; ``uses_head`` is False if there are only
        hidden-state terms. Sharding changes parameters, so make the optimizer afterwards.
        """
        if self.size == 1:
            return module
        if self.sharded:
            _shard(decoder_layers(student), module)
            return module
        device = student.device
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            find_unused_parameters=not uses_head,
        )

    def shard_teacher(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """Spread a frozen model's decoder layers over the ranks, if students are spread; embeddings and head stay
        whole."""
        if self.sharded:
            _shard(decoder_layers(teacher))
        return teacher

    def accumulating(self, module: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """DDP adds up gradients over ranks in the ``last`` micro-batch of a step only."""
        if isinstance(module, nn.parallel.DistributedDataParallel) and not last:
            return module.no_sync()
        return nullcontext()

    def broadcast(self, text: str | None) -> str:
        """The first rank's ``text``, on every rank; the others wait for it."""
        content = torch.frombuffer(bytearray((text or "").encode()), dtype=torch.uint8) if text else torch.zeros(0)
        size = torch.tensor(content.numel())
        dist.broadcast(size, src=0, group=self.control)
        content = content if self.is_first else torch.zeros(int(size), dtype=torch.uint8)
        dist.broadcast(content, src=0, group=self.control)
        return bytes(content.numpy()).decode()

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            dist.barrier(group=self.control)


ALONE = Ranks()


def join() -> Ranks:
    """Meet the other ranks, as the launcher's environment says. Raises ConfigError for variables that no launcher sets,
    for unsupported settings, and if the ranks do not find each other."""
    sharded = _sharding_asked()
    size = _whole_number("WORLD_SIZE", range(1, 1 << 20))
    _whole_number("RANK", range(size))
    _whole_number("MASTER_PORT", range(1 << 16))
    place = _whole_number("LOCAL_RANK", range(size), default="0")
    on_gpu = torch.cuda.is_available()
    try:
        if on_gpu:
            torch.cuda.set_device(place)
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"the processes do not meet ({reason})", where="launcher", remedy=_LAUNCHERS) from None
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return Ranks(dist.get_rank(), dist.get_world_size(), sharded, control)


def _whole_number(variable: str, allowed: range, default: str = "") -> int:
    text = os.environ.get(variable) or default
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) in allowed):
        wanted = f"a number from {allowed.start} to {allowed.stop - 1}"
        raise ConfigError(f"{variable} is {text!r}, not {wanted}", where="launcher", remedy=_LAUNCHERS)
    return int(text)


def _sharding_asked() -> bool:
    """Whether accelerate's configuration says FSDP2."""

    def flag(name: str) -> bool:
        return os.environ.get(name, "false").lower() in ("1", "true", "yes")

    refused = {
        "DeepSpeed": (flag("ACCELERATE_USE_DEEPSPEED"), "use FSDP2, which shards the same; see recipes/distributed"),
        "FSDP version 1": (
            flag("ACCELERATE_USE_FSDP") and os.environ.get("FSDP_VERSION", "1") != "2",
            "set fsdp_version: 2",
        ),
        "parameters on the CPU": (flag("FSDP_OFFLOAD_PARAMS"), "set fsdp_offload_params: false"),
        "mixed precision of the launcher": (
            os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no",
            "set mixed_precision: 'no'; training.dtype sets the computing type",
        ),
    }
    for name, (asked, remedy) in refused.items():
        if asked:
            raise ConfigError(f"{name} is not supported", where="accelerate", remedy=remedy)
    return flag("ACCELERATE_USE_FSDP")


def _shard(layers: nn.ModuleList, root: nn.Module | None = None) -> None:
    """FSDP2 in place: each layer gathers its parameters when it runs, and ``root`` all that are in no layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (dist.get_world_size(),))
    reshard = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=reshard)
    if root is not None:
        fully_shard(root, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be spread over ranks; every rank must ask for it."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread_like(value: Tensor, tensor: Tensor) -> Tensor:
    """``value``, whole on every rank, spread over them as ``tensor`` is where it has the same shape; on its device."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(tensor.device)
    if isinstance(tensor, DTensor) and value.shape == tensor.shape:
        return distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)
    return value
