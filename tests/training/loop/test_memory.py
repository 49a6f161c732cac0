"""A run does not take more and more memory: over 2,000 iterations in the slow tests, over 20,000 in the long ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmarks.measure_memory import Sample, slopes, table

ROOT = Path(__file__).parents[3]
# In a process of its own: what other tests have left in this one would come and go in between.
PROGRAM = """
import json, sys
from pathlib import Path
from scripts.benchmarks.measure_memory import measure
print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), checkpoint_every=250, sample_every=50)))
"""
BOUND = 8e6  # bytes; a state (32 kB) kept in every iteration would be more than twice as much


def test_slopes_and_table_by_hand():
    samples = [Sample(step, 10**8 + 7 * step, 4096) for step in range(500, 6000, 500)]
    resident, device = slopes(samples)
    assert resident == pytest.approx(7000) and device == 0
    text = table(samples).splitlines()
    assert [line.split()[0] for line in text[1:-1]] == ["1,000", "5,000"]
    assert "+7,000 resident, +0 on the device" in text[-1]


@pytest.mark.parametrize(
    "steps", [pytest.param(2000, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.long)]
)
def test_memory_is_flat(steps, tmp_path):
    """Arrays on the device: to the byte the same after every chunk, but for the copies of the state that a save holds.
    Resident memory: from the third quarter of the run to the last, medians, it grows by less than `BOUND`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "run", str(steps)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("[["))
    samples = [Sample(*values) for values in json.loads(line)]
    assert samples[-1].step == steps and len(samples) > 20
    least = min(sample.device for sample in samples)
    more = {sample.device - least for sample in samples} - {0}
    assert len(more) <= 1 and max(more, default=0) < least, f"bytes on the device beyond the usual {least}: {more}"
    assert samples[0].device == least
    before = np.median([sample.resident for sample in samples if steps / 2 <= sample.step < 3 * steps / 4])
    after = np.median([sample.resident for sample in samples if sample.step >= 3 * steps / 4])
    assert after - before < BOUND
