"""A plain training loop that continues from its last saved state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import ModernBertForMaskedLM


@dataclass(frozen=True)
class Schedule:
    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.01
    final_rate: float = 0.05


def _optimizer(model: ModernBertForMaskedLM, schedule: Schedule) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.98), eps=1e-8)


def _rate(schedule: Schedule, step: int) -> float:
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    progress = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return schedule.learning_rate * (schedule.final_rate + (1 - schedule.final_rate) * cosine)


def train(
    model: ModernBertForMaskedLM,
    schedule: Schedule,
    loss_of_step: Callable[[int], tuple[Tensor, dict[str, float]]],
    state: Path,
    save_every: int = 200,
    log_every: int = 50,
) -> None:
    """Run `schedule.steps` steps; the batch of a step depends on its number alone, so a resumed run is the same run."""
    optimizer, first = _optimizer(model, schedule), 0
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        first = int(saved["step"])
        if saved["optimizer"] is not None:
            optimizer.load_state_dict(saved["optimizer"])
    if first >= schedule.steps:
        return
    model.train()
    sums: dict[str, float] = {}
    started, seen = time.monotonic(), 0
    for step in range(first, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(schedule, step)
        loss, report = loss_of_step(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for name, value in {"loss": float(loss.detach()), **report}.items():
            sums[name] = sums.get(name, 0.0) + value
        seen += 1
        if (step + 1) % log_every == 0:
            means = "  ".join(f"{name} {value / seen:.4f}" for name, value in sums.items())
            each = (time.monotonic() - started) / (step + 1 - first)
            print(f"{state.stem} {step + 1}/{schedule.steps}  {means}  {each:.2f} s/step", flush=True)
            sums, seen = {}, 0
        if (step + 1) % save_every == 0 and step + 1 < schedule.steps:
            _save(state, model, optimizer, step + 1)
    _save(state, model, None, schedule.steps)


def _save(state: Path, model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer | None, step: int) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    partial = state.with_suffix(".part")
    held = optimizer.state_dict() if optimizer else None
    torch.save({"model": model.state_dict(), "optimizer": held, "step": step}, partial)
    partial.replace(state)
