"""What a process has cost."""

from __future__ import annotations

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Largest memory of this process so far, in MB.

    `getrusage` starts from the memory of the parent that forked this process, so it stands in only where there is no /proc:
    on macOS, where it counts bytes.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
