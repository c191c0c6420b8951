#!/usr/bin/env python3
"""Goal: the passphrase prompt asks once, without echo, and leaves the terminal as it was, also after ^C.
Method: run the program on a pseudo-terminal and look at the terminal's own flags."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time

CERTMILL = os.environ["CERTMILL"]


def echo_is_on(fd):
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


def read_until(fd, words, seconds=30.0):
    """What came, once it holds words."""
    got, end = b"", time.monotonic() + seconds
    while words not in got:
        if time.monotonic() > end:
            raise AssertionError(f"no {words!r} in {got!r}")
        try:
            got += os.read(fd, 4096)
        except OSError:
            break
    return got


def run(args, typed):
    """Exit status (negative: signal) and all output; typed goes in once echo is off."""
    fd, keeper = pty.openpty()  # the terminal, and an end of it that outlives the program
    program = subprocess.Popen([CERTMILL, *args], stdin=keeper, stdout=keeper, stderr=keeper,
                               start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    said = read_until(fd, b": ")
    assert b"Passphrase of the" in said, said
    deadline = time.monotonic() + 10
    while echo_is_on(fd) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not echo_is_on(fd), "echo stayed on"
    os.write(fd, typed)
    code = program.wait(60)
    assert echo_is_on(keeper), "echo was not restored"
    os.set_blocking(fd, False)
    try:
        said += os.read(fd, 65536)
    except BlockingIOError:
        pass
    os.close(keeper)
    os.close(fd)
    return code, said


def main():
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        with open("pass", "w", encoding="ascii") as f:
            f.write("correct horse\n")
        init = [CERTMILL, "ca", "init", "--quiet"]
        subprocess.run([*init, "--out", "ca", "--passphrase-file", "pass"], check=True)
        issuer = ["--issuer-cert", "ca/ca.pem", "--issuer-key", "ca/ca.key", "--quiet"]

        code, said = run(["ca", "init", "--out", "right", *issuer], b"correct horse\n")
        assert code == 0, said
        assert b"horse" not in said, "the passphrase was echoed"
        assert os.path.exists("right/ca.key")

        code, said = run(["ca", "init", "--out", "wrong", *issuer], b"incorrect\n")
        assert code == 2 and b"wrong passphrase" in said, (code, said)
        assert said.count(b"Passphrase of the") == 1, "asked twice"

        code, said = run(["ca", "init", "--out", "none", *issuer], b"\n")
        assert code == 2 and b"no passphrase was typed" in said, (code, said)

        code, said = run(["ca", "init", "--out", "stopped", *issuer], b"\x03")
        assert code == -signal.SIGINT, (code, said)
        for name in ("wrong", "none", "stopped"):
            assert not os.path.exists(name), name
    return 0


if __name__ == "__main__":
    sys.exit(main())
