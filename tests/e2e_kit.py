"""What the end-to-end scripts share: the program under test, checks that are counted, randomness with a printed seed,
a directory that goes away, CAs. A script ends with sys.exit(kit.finish())."""

import atexit
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CERTMILL = os.path.realpath(os.environ["CERTMILL"]) if "CERTMILL" in os.environ else None
SANITIZE = os.environ.get("CM_SANITIZE", "")
SLOW = bool(SANITIZE)  # a sanitizer's build: smaller sizes
PATIENCE = 600 if SLOW else 240  # seconds for one program; only a hang gets there

# What no program may ever say.
BROKEN = re.compile(rb"Sanitizer|runtime error:|Traceback|certmill: bug at|Assertion|terminate called|core dumped")

passed = 0
failed = 0
skipped = []
SEED = int(os.environ.get("CM_SEED") or random.SystemRandom().getrandbits(32))
rng = random.Random(SEED)
_started = time.monotonic()

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell that put us in the background: programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def check(good, *what):
    """Counts one check; what is printed when it fails."""
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("FAIL:", *what, flush=True)
    return bool(good)


def skip(what):
    if what not in skipped:
        skipped.append(what)


def say(*text):
    print(f"[{time.monotonic() - _started:6.1f} s]", *text, flush=True)


def finish():
    for what in skipped:
        print("skipped:", what)
    if failed:
        print(f"again with: CM_SEED={SEED}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def tool(name, package):
    """Path of a program, or None and a word about it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        skip(f"{name} (package {package}) is not installed")
    return path


def asn1crypto():
    """Debian's package, also under a Python that is not Debian's."""
    try:
        import asn1crypto.x509  # pylint: disable=import-outside-toplevel
    except ImportError:
        sys.path.append("/usr/lib/python3/dist-packages")
        import asn1crypto.x509  # pylint: disable=import-outside-toplevel
    return asn1crypto


def enter_place(prefix, memory=False):
    """A new directory to work in, removed at the end; in memory if that is wanted and to be had. The seed is printed."""
    assert CERTMILL, "CERTMILL: the program to test"
    print(f"CM_SEED={SEED}", flush=True)
    where = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else None
    place = tempfile.mkdtemp(prefix=f"certmill-{prefix}-", dir=where)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    atexit.register(os.chdir, "/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(place)
    return place


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def __str__(self):
        out = self.out if len(self.out) < 2000 else self.out[:1000] + b" ... " + self.out[-1000:]
        return (f"{' '.join(map(str, self.argv))}\n  exit {self.code}\n  stdout: {out.decode(errors='replace')}"
                f"\n  stderr: {self.err[-3000:].decode(errors='replace')}")


def run(argv, timeout=PATIENCE, stdin=subprocess.DEVNULL, **how):
    """Runs to the end; a hang is exit code 'hang'."""
    argv = [os.fspath(a) if not isinstance(a, (str, bytes)) else a for a in argv]
    how.setdefault("stdout", subprocess.PIPE)
    how.setdefault("stderr", subprocess.PIPE)
    with subprocess.Popen(argv, stdin=stdin, **how) as p:
        try:
            out, err = p.communicate(timeout=timeout)
            code = p.returncode
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            code = "hang"
    result = Result(argv, code, out or b"", err or b"")
    if BROKEN.search(result.err) or (isinstance(code, int) and -code in (4, 6, 7, 8, 11)):
        check(False, "the program broke:", result)
    return result


def mill(*args, **how):
    return run([CERTMILL, *args], **how)


def ok(argv, **how):
    """Must exit 0."""
    r = run(argv, **how)
    check(r.code == 0, r)
    return r


def must(argv, **how):
    """Like ok, but for what the rest of the script builds on."""
    r = run(argv, **how)
    if r.code != 0:
        check(False, r)
        sys.exit(finish())
    return r


def ca_init(out, *args):
    must([CERTMILL, "ca", "init", "--quiet", "--out", out, *args])
    return f"{out}/ca.pem", f"{out}/ca.key"


def mint(out, ca, *args, **how):
    return run([CERTMILL, "mint", "--quiet", "--ca", f"{ca}/ca.pem", "--ca-key", f"{ca}/ca.key", "--out", out,
                "--plaintext-keys", *args], **how)


def must_mint(out, ca, *args, **how):
    r = mint(out, ca, *args, **how)
    if r.code != 0:
        check(False, r)
        sys.exit(finish())
    return r


def files_below(top):
    """Relative path -> (type and mode, size) of everything below top."""
    found = {}
    for base, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(base, name)
            st = os.lstat(path)
            found[os.path.relpath(path, top)] = (st.st_mode, st.st_size if name in files else 0)
    return found
