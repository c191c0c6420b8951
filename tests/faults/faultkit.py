"""What the fault tests share: certmill-faulty as a server of forks, a CA, small fleets, scratch directories in memory."""

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

FAULTY = os.path.realpath(os.environ["CERTMILL_FAULTY"])
SHM = "/dev/shm"
PATIENCE = 20  # seconds for one tiny run: only a hang gets there


def scratch():
    """A fresh directory, in memory where that is to be had; gone at the end."""
    where = SHM if os.path.isdir(SHM) and os.access(SHM, os.W_OK) else None
    path = tempfile.mkdtemp(prefix="certmill-faults-", dir=where)
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(path, ignore_errors=True))
    return path


class Server:
    """certmill-faulty --serve. One per process: a run at a time."""

    def __init__(self, out):
        self.out = out  # where the runs' messages go
        self.proc = None

    def _start(self):
        # A group of its own: a run that hangs is a child of the server.
        self.proc = subprocess.Popen([FAULTY, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     start_new_session=True)
        atexit.register(self.close)

    def run(self, *args, plan=""):
        """Exit code, negative for a signal, None for a hang; the messages in .said()"""
        if self.proc is None:
            self._start()
        self.proc.stdin.write(("\t".join([plan, self.out, *args]) + "\n").encode())
        self.proc.stdin.flush()
        if not select.select([self.proc.stdout], [], [], PATIENCE)[0]:
            self._kill()
            return None
        return int(self.proc.stdout.readline())

    def said(self):
        with open(self.out, "rb") as f:
            return f.read().decode(errors="replace")

    def _kill(self):
        os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        self.proc = None

    def close(self):
        """All runs are over, so there is nothing to wait for."""
        if self.proc is not None:
            self._kill()


def make_ca(server, where):
    """{"cert", "key"}"""
    if server.run("ca", "init", "--out", where) != 0:
        sys.exit(f"ca init failed: {server.said()}")
    return {"cert": f"{where}/ca.pem", "key": f"{where}/ca.key"}


# Bounds that make a fleet of two dozen devices many commits and three segments or eight shards.
SMALL = "tune segment_bytes 24576;tune commit_devices 3;tune commit_bytes 1000000000;tune commit_ms 1000000;" \
        "tune shard_devices 3"
DEVICES = 24


def mint_args(ca, out, layout="tar", io="posix", devices=DEVICES):
    return ["mint", "--ca", ca["cert"], "--ca-key", ca["key"], "--out", out, "--count", str(devices), "--batch", "3",
            "--workers", "1", "--layout", layout, "--io", io, "--plaintext-keys", "--quiet"]


def want_ids(devices=DEVICES):
    return {f"SN{n:08d}" for n in range(1, devices + 1)}
