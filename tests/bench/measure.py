"""Running what is compared, and what comes out of it."""

import os
import statistics
import subprocess
import sys
import tempfile
import time


class Sample:
    def __init__(self, seconds, cpu=0.0, peak=0):
        self.seconds = seconds
        self.cpu = cpu    # user and system time, children included
        self.peak = peak  # resident memory, KB


def run(argv, env=None, cwd=None):
    """Runs to the end; any failure ends the benchmark."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(argv, stdout=output, stderr=output, env=env, cwd=cwd)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(argv)}: exit status {child.returncode}\n"
                     + output.read().decode(errors="replace")[-4000:])
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def in_turn(kinds, runs, warm=True):
    for kind in kinds.values():
        if warm:
            kind()  # programs, initdb's template, catalogs
    samples = {name: [] for name in kinds}
    for _ in range(runs):
        for name, kind in kinds.items():
            samples[name].append(kind())
    return samples


def seconds(samples):
    return f"{statistics.median(s.seconds for s in samples):.2f} s"


def cpu(samples):
    return f"{statistics.median(s.cpu for s in samples):.2f} s"


def ratio(samples, floor, of="seconds"):
    """The median of the ratios of neighbours, not the ratio of medians."""
    return f"{statistics.median(getattr(a, of) / getattr(b, of) for a, b in zip(samples, floor)):.2f}"


def peak(samples):
    return f"{statistics.median(s.peak for s in samples) / 1024:.1f} MB"
