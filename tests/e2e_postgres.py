"""A PostgreSQL server of a test's own: a fresh cluster on the loopback and a UNIX socket, run by an unprivileged user,
gone with the test. `Server.find()` is None, and kit.skip tells, where PostgreSQL is not installed."""

import atexit
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import e2e_kit as kit

SUPERUSER = "tester"
PASSWORD = "p@ss/w:rd?%#"  # everything that a URL must have percent-encoded
CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{place}'
fsync = off
full_page_writes = off
autovacuum = off
max_connections = 50
max_wal_size = 4GB
logging_collector = off
"""


def _programs():
    """Directory of the newest server's programs, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: int(re.findall(r"\d+", p)[0]))
    one = found[-1] if found else shutil.which("initdb")
    return os.path.dirname(one) if one else None


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _as_user():
    """The command prefix and ids to run the server with: it refuses to run as root."""
    prefix = ["setpriv", "--pdeathsig", "QUIT"]  # should the test be killed
    if os.geteuid() != 0:
        return prefix, None
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *prefix[1:]], user


class Server:
    @classmethod
    def find(cls):
        bindir = _programs()
        if bindir is None or not kit.tool("setpriv", "util-linux"):
            kit.skip("PostgreSQL's server (package postgresql) is not installed")
            return None
        return cls(bindir)

    def __init__(self, bindir):
        self.bindir = bindir
        self.process = None
        self.port = 0
        self.prefix, user = _as_user()
        self.place = tempfile.mkdtemp(prefix="certmill-pg-")  # short: the socket's path has 107 octets at most
        atexit.register(self.close)
        self.data = f"{self.place}/data"
        self.log = f"{self.place}/log"
        with open(f"{self.place}/password", "w", encoding="ascii") as f:
            f.write(PASSWORD)
        if user is not None:
            for path in (self.place, f"{self.place}/password"):
                os.chown(path, user.pw_uid, user.pw_gid)
        kit.must([*self.prefix, f"{bindir}/initdb", "-D", self.data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C",
                  "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={self.place}/password"],
                 cwd=self.place)
        with open(f"{self.data}/postgresql.conf", "a", encoding="ascii") as f:
            f.write(CONF.format(place=self.place))
        self.start()

    def start(self):
        """A second start keeps the port, so that clients find it again. For the main thread: the server ends with the
        thread that started it (--pdeathsig)."""
        for _ in range(5):  # another process may take the free port first
            self.port = self.port or _free_port()
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen([*self.prefix, f"{self.bindir}/postgres", "-D", self.data, "-p",
                                                 str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                cwd=self.place)
            if self._answers():
                return
            self.stop("immediate")
            self.port = 0
        with open(self.log, encoding="utf-8", errors="replace") as f:
            raise SystemExit("PostgreSQL does not start:\n" + f.read()[-3000:])

    def _answers(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            r = subprocess.run([f"{self.bindir}/pg_isready", "-q", "-h", self.place, "-p", str(self.port)], check=False)
            if r.returncode == 0:
                return True
            time.sleep(0.05)
        return False

    def stop(self, how="fast"):
        """fast: cuts the clients off; immediate: like a crash."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def url(self, database="postgres", user=SUPERUSER, password=PASSWORD, port=None, **parameters):
        secret = "" if password is None else ":" + urllib.parse.quote(password, safe="")
        query = "?" + urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote) if parameters else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{port or self.port}/{database}{query}"

    def psql(self, sql, database="postgres"):
        """Rows of '|'-separated columns, over the socket, as the superuser."""
        r = kit.must([f"{self.bindir}/psql", "-h", self.place, "-p", str(self.port), "-U", SUPERUSER, "-d", database,
                      "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
        return r.out.decode().splitlines()

    def wait_idle(self):
        """Until no server works for a certmill that has gone: such a one ends its statement first."""
        while self.psql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'certmill'"):
            time.sleep(0.02)

    def close(self):
        self.stop("immediate")
        shutil.rmtree(self.place, ignore_errors=True)


class Proxy:
    """Between client and server; does something, once, to the COMMIT that passes, or to the data that comes when the
    client has sent so many octets."""
    COMMIT = b"Q\0\0\0\x0bCOMMIT\0"

    def __init__(self, port, at_commit, after=None, commits=1):
        """at_commit(proxy, client, server): does the data still go on? after: octets, instead of the commits-th
        COMMIT."""
        self.port_behind = port
        self.at_commit = at_commit
        self.after, self.commits = after, commits
        self.sent = 0
        self.hits = 0
        self.done = threading.Event()  # with what was to be done to the COMMIT
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:  # it is down
                client.close()
                continue
            self.open += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _is_it(self, data):
        self.sent += len(data)
        self.commits -= data == self.COMMIT
        return self.sent > self.after if self.after is not None else self.commits == 0 and data == self.COMMIT

    def _pump(self, source, target, watch):
        try:
            while data := source.recv(65536):
                if watch and not self.hits and self._is_it(data):
                    self.hits += 1
                    goes_on = self.at_commit(self, source, target)
                    self.done.set()
                    if not goes_on:
                        return
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            self.cut(s)

    @staticmethod
    def cut(s):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        Proxy.cut(self.listener)
        self.listener.close()
        for s in self.open:
            self.cut(s)
            s.close()
