"""Run directories that are written by hand, for what reads them and trains nothing."""

import json

import numpy as np

from jaxgan.training.output.pictures import save_png

MARGIN = {"discriminator/real_logits": 2.0, "discriminator/fake_logits": -1.0}


def written(directory, steps=60, name="experiments.gan_ring", members=0, scores=(), pictures=4, **more):
    """A run of so many steps, whose FID is `scores`, one every ten steps, and whose picture of step n is n + 1 grey."""
    (directory / "samples").mkdir(parents=True)
    record = {"jaxgan": "9.9.9", "experiment": name, "options": {"steps": steps, "seed": 3}, "data": {"name": "ring"}}
    (directory / "options.json").write_text(json.dumps({**record, "frozen": {}, **more}))
    rows = []
    for step in range(10, steps + 1, 10):
        row = {
            "step": step,
            "images": 8 * step,
            "generator/loss": 1.0 + 1 / step,
            "generator/gradient_norm": 0.5,
            **MARGIN,
        }
        each = {name: [value + member for member in range(members)] for name, value in row.items() if "/" in name}
        rows.append({**row, **({"members": each} if members else {})})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        {"key": "fid", "name": "Fréchet distance, features x", "value": value + (member or 0), "step": 10 * number}
        | {"member": member, "samples": 100, "real": 200, "weights": "ema", "version": 1, "features": None}
        for number, value in enumerate(scores, 1)
        for member in (range(members) if members else [None])
    ]
    (directory / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in range(pictures):
        save_png(directory / "samples" / f"{10 * number:08d}.png", np.full((40, 30, 1), 10 * number + 1, np.uint8))
    return directory
