"""A real Slurm of one node, in a folder of its own: for tests of the launcher."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import debian

PACKAGES = ("slurm-wlm", "munge")

CONF = """\
ClusterName=itae
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=2
SlurmctldPort={ctld}
SlurmdPort={slurmd}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why there can be no Slurm here, or an empty text."""
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        return "needs root, to start a Slurm"
    return debian.why_not(("slurmctld", "munged"), PACKAGES)


class Slurm:
    """The three daemons of a cluster."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="itae-slurm-"))
        self.base.chmod(0o755)  # munged wants its socket where everybody may go
        self.conf = self.base / "slurm.conf"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munged, slurmctld and slurmd, and wait until the node is idle."""
        base = self.base
        key = base / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        for name in ("state", "spool"):
            (base / name).mkdir()
        cpus = len(os.sched_getaffinity(0))
        host = socket.gethostname().partition(".")[0]
        self.conf.write_text(CONF.format(host=host, base=base, cpus=cpus, ctld=_free_port(), slurmd=_free_port()))
        files = [f"--{name}={base}/munge.{name.partition('-')[0]}" for name in ("key-file", "pid-file", "log-file")]
        self._daemon("munged", "--foreground", "--force", f"--socket={base}/munge.socket",
                     f"--seed-file={base}/munge.seed", *files)  # fmt: skip
        self._until(lambda: (base / "munge.socket").exists())
        self._daemon("slurmctld", "-D", "-f", str(self.conf))
        self._daemon("slurmd", "-D", "-f", str(self.conf))
        self._until(lambda: self("sinfo", "-h", "-o", "%T").strip() == "idle")

    def __call__(self, *command: str) -> str:
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        """End the jobs and the daemons."""
        for job in self("squeue", "-h", "-o", "%A").split():
            self("scancel", "--full", "--signal=KILL", job)
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def _daemon(self, name: str, *words: str) -> None:
        path = shutil.which(name) or f"/usr/sbin/{name}"
        log = (self.base / f"{name}.out").open("wb")
        self.processes.append(subprocess.Popen([path, *words], stdout=log, stderr=subprocess.STDOUT))
        log.close()

    def _until(self, ready) -> None:
        until = time.monotonic() + 20
        while not ready():
            if time.monotonic() > until:
                told = "".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in self.base.glob("*.out"))
                raise RuntimeError(f"Slurm did not start:\n{told}")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
