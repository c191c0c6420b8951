#!/usr/bin/env python3
"""Goal: whatever happens to processes, connections and the server, an id belongs to one run, a reservation is whole or
not there, and what was reported as reserved is. Method: t_ledger_tool, many at a time, against a PostgreSQL server of
the test's own and SQLite files: races, kill -9, a server that crashes, a proxy that loses a COMMIT or its answer; what
the ledger holds is read by psql and by Python's sqlite3. Random choices come from a printed seed."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import e2e_kit as kit
import e2e_postgres as postgres

TOOL = os.path.realpath(os.path.join(os.environ["CM_BUILD"], "tests", "t_ledger_tool"))
CA = "ca" * 32
MANY = 50_000 if kit.SLOW else 1_000_000
KILLED = 1_000 if kit.SLOW else 6_000
WAIT_MS = 20_000


def run_id(n):
    return f"00000000-0000-4000-8000-{n:012d}"


def start(url, run, ids, order="-", wait=WAIT_MS, hold=False):
    """A reservation under way. With hold it says "ready" once all ids are sent, and waits for its input to end."""
    p = subprocess.Popen([TOOL, "reserve", url, str(wait), CA, run_id(run), order], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text = ("".join(i + "\n" for i in ids) + ("\n" if hold else "")).encode()

    def feed():
        try:
            p.stdin.write(text)
            p.stdin.flush()
            if not hold:
                p.stdin.close()
        except OSError:
            pass  # it ended, or was killed, before it had read all

    p.feeder = threading.Thread(target=feed)
    p.feeder.start()
    if hold and p.stdout.readline() != b"ready\n":
        kit.check(False, "never ready:", p.stderr.read())
    return p


def end(p):
    p.feeder.join()
    try:
        p.stdin.close()
    except OSError:
        pass
    p.stdin = None
    try:
        out, err = p.communicate(timeout=kit.PATIENCE)
        code = p.returncode
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        code = "hang"
    result = kit.Result(p.args, code, out, err)
    kit.check(not kit.BROKEN.search(err) and code != "hang", "the program broke:", result)
    return result


def reserve(url, run, ids, **how):
    return end(start(url, run, ids, **how))


def release(url, run):
    return kit.run([TOOL, "release", url, str(WAIT_MS), CA, run_id(run)])


def refused(r, code, *words):
    kit.check(r.code == code and all(w.encode() in r.err for w in words), f"expected exit {code} and {words}:", r)


class File:
    """A ledger in a file."""
    name = "sqlite"
    files = 0

    def __init__(self):
        File.files += 1
        self.path = os.path.abspath(f"ledger-{File.files}")
        self.url = f"sqlite:{self.path}"

    def holders(self):
        """id -> number of its run"""
        with sqlite3.connect(self.path, timeout=20) as db:
            rows = db.execute("SELECT device_id, run_id FROM ledger_device JOIN ledger_run USING (run_no)").fetchall()
            lost = db.execute("SELECT count(*) FROM ledger_device WHERE run_no NOT IN (SELECT run_no FROM ledger_run)")
            kit.check(lost.fetchone() == (0,), "ids of no run")
        db.close()
        return {i: int(r[-12:]) for i, r in rows}


class Base:
    """A ledger in a database of its own."""
    name = "postgresql"
    server = None
    bases = 0

    def __init__(self):
        Base.bases += 1
        self.database = f"ledger_{Base.bases}"
        self.server.psql(f"CREATE DATABASE {self.database}")
        self.url = self.server.url(self.database)

    def holders(self):
        self.server.wait_idle()
        rows = self.server.psql("SELECT device_id, run_id FROM certmill.ledger_device LEFT JOIN certmill.ledger_run"
                                " USING (run_no)", self.database)
        return {i: int(r[-12:]) for i, r in (row.rsplit("|", 1) for row in rows)}


def contract(kind):
    """What a ledger of any kind does."""
    book = kind()
    odd = ["é", "e\u0301", "a|b", "it's", "a\\b", '"q"', "x" * 96]
    r = reserve(book.url, 1, ["SN1", "SN2", *odd], order="A-17")
    kit.check(r.code == 0 and b"reserved 9 new 1" in r.out, r)
    r = reserve(book.url, 1, ["SN2", "SN3", "SN3"])
    kit.check(r.code == 0 and b"reserved 3 new 0" in r.out, "the same run once more", r)
    r = reserve(book.url, 2, ["SN9", "SN3", "SN1", *odd])
    refused(r, 2, "9 of the 10", run_id(1), "order A-17", "holds SN3, SN1, ", ", …", "since 2", "resume that run")
    kit.check(reserve(book.url, 2, ["sn1", "SN9"]).code == 0, "nothing of what was refused stays; case matters")
    refused(reserve(book.url, 3, ["sn1", "SN1"]), 2, f"run {run_id(2)} (on", f"run {run_id(1)} (order A-17")
    kit.check(release(book.url, 1).code == 0 and release(book.url, 1).code == 0)
    kit.check(book.holders() == {"sn1": 2, "SN9": 2}, "release frees one run's", book.holders())
    kit.check(reserve(book.url, 3, ["SN1", *odd]).code == 0, "what was freed is free")
    kit.check(book.holders() == {"sn1": 2, "SN9": 2, "SN1": 3, **{i: 3 for i in odd}}, book.holders())


def first_together(kind):
    """Processes that find no ledger make one, together."""
    book = kind()
    going = [start(book.url, n, [f"id{n}"]) for n in range(6)]
    ended = [end(p) for p in going]
    kit.check(all(r.code == 0 for r in ended), *ended)
    kit.check(sum(b"new 1" in r.out for r in ended) == 1, "one of them made it", *ended)
    kit.check(book.holders() == {f"id{n}": n for n in range(6)})


def races(kind, rounds, hold):
    """Four at a time with overlapping ids, in different orders: the winners have all of theirs, nobody else anything,
    and who was refused overlaps with a winner."""
    book = kind()
    won = {}
    refusals = 0
    for n in range(rounds):
        wanted = {}
        for run in range(4 * n, 4 * n + 4):
            first = kit.rng.randrange(400)
            ids = [f"{n}-{i}" for i in range(first, first + kit.rng.randrange(1, 300))]
            kit.rng.shuffle(ids)
            wanted[run] = ids
        going = {run: start(book.url, run, ids, hold=hold) for run, ids in wanted.items()}
        if hold:  # all at once, when all are ready
            for p in going.values():
                p.stdin.close()
        ended = {run: end(p) for run, p in going.items()}
        winners = [run for run, r in ended.items() if r.code == 0]
        for run, r in ended.items():
            kit.check(r.code in (0, 2), r)
            overlaps = any(set(wanted[run]) & set(wanted[w]) for w in winners if w != run)
            kit.check((r.code == 2) == overlaps, f"round {n}: run {run} and those who won: {winners}", r)
            refusals += r.code == 2
        won.update((i, run) for run in winners for i in wanted[run])
    kit.check(book.holders() == won, "the ledger holds what the winners asked for")
    kit.say(f"{book.name}: {rounds} rounds of 4, {refusals} refused")


def kills(kind, count):
    """kill -9 at a random moment: all of it or nothing, and the same run can do it again."""
    book = kind()
    began = time.monotonic()
    kit.check(reserve(book.url, 0, [f"first-{i}" for i in range(KILLED)]).code == 0)
    takes = time.monotonic() - began
    whole = nothing = late = 0
    for n in range(1, count + 1):
        ids = [f"{n}-{i}" for i in range(KILLED)]
        p = start(book.url, n, ids)
        time.sleep(kit.rng.uniform(0, takes * 1.5))
        late += p.poll() is not None
        p.kill()
        end(p)
        held = {i for i, run in book.holders().items() if run == n}
        kit.check(not held or held == set(ids), f"kill {n}: {len(held)} of {len(ids)} ids are held")
        whole += bool(held)
        nothing += not held
        r = reserve(book.url, n, ids)
        kit.check(r.code == 0 and sum(run == n for run in book.holders().values()) == len(ids), "again:", r)
    kit.say(f"{book.name}: {count} kills: {nothing} held nothing, {whole} all ({late} had ended before)")


def figures(kind):
    book = kind()
    for what, count in (("new", MANY), ("once more", MANY // 5)):
        r = reserve(book.url, 1, (f"SN{i:08}" for i in range(count)))
        seconds, kib = re.search(rb"seconds (\S+) kib (\d+)", r.out).groups() if r.code == 0 else (b"-", b"-")
        kit.check(r.code == 0, r)
        kit.say(f"{book.name}: {count} ids {what}: {seconds.decode()} s, at most {kib.decode()} KiB of memory")
    r = reserve(book.url, 2, (f"SN{i:08}" for i in range(MANY - 1, MANY + 9)))
    refused(r, 2, "1 of the 10", f"holds SN{MANY - 1:08}:")


def server_says_no(server):
    """Connections that can't be, and databases that won't do."""
    book = Base()
    secret = "Zm9vYmFy"
    for url, *words in (
            (server.url(book.database, password=secret), "authentication failed"),
            (server.url(book.database, password=None), "no password", "PGPASSWORD"),
            (server.url(book.database, user="nobody", password=secret), "authentication failed"),
            (server.url("nowhere"), "nowhere", "does not exist"),
            (server.url(book.database, port=1, password=secret), "refused")):
        r = reserve(url, 1, ["a"])
        refused(r, 3, "postgresql://127.0.0.1:", *words)
        kit.check(secret.encode() not in r.err and postgres.PASSWORD.encode() not in r.err, "a password is shown", r)
    server.psql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    refused(reserve(server.url("latin"), 1, ["a"]), 2, "LATIN1", "createdb -E UTF8")
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    server.psql("UPDATE certmill.ledger_version SET version = 2", book.database)
    refused(reserve(book.url, 2, ["b"]), 2, "schema version 2", "up to 1")
    with socket.socket() as mute:  # takes connections and never says a word
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        refused(reserve(server.url(port=mute.getsockname()[1], connect_timeout="2"), 1, ["a"]), 3, "timeout expired")


def rights(server):
    """A user with the rights that docs/formats.md lists, and without."""
    book = Base()
    server.psql("CREATE ROLE miller LOGIN PASSWORD 'm'")
    url = server.url(book.database, user="miller", password="m")
    refused(reserve(url, 1, ["a"]), 3, "permission denied", "docs/formats.md")
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    refused(reserve(url, 2, ["b"]), 3, "permission denied", "docs/formats.md")
    server.psql("GRANT USAGE ON SCHEMA certmill TO miller; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA"
                " certmill TO miller", book.database)
    # Whatever search_path and defaults the user has, it is the same ledger, and durable.
    server.psql("CREATE SCHEMA miller AUTHORIZATION miller; ALTER ROLE miller SET synchronous_commit = off;"
                " ALTER ROLE miller SET default_transaction_isolation = 'serializable';"
                " ALTER ROLE miller SET default_transaction_read_only = on; CREATE TABLE public.seen (how text);"
                " GRANT INSERT ON public.seen TO miller; CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit'));"
                " RETURN NULL; END $$; CREATE TRIGGER see AFTER INSERT ON certmill.ledger_run"
                " EXECUTE FUNCTION public.see()", book.database)
    refused(reserve(url, 2, ["a"]), 2, run_id(1))
    kit.check(reserve(url, 2, ["b"]).code == 0 and book.holders() == {"a": 1, "b": 2})
    kit.check(server.psql("SELECT how FROM public.seen", book.database) == ["on"], "synchronous_commit")
    kit.check(release(url, 2).code == 0 and book.holders() == {"a": 1})


def statements_cut(server):
    """The server's own limits, a lock that is not given back, a backend that is terminated."""
    book = Base()
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    p = start(server.url(book.database, options="-cstatement_timeout=700"), 2, ["b"], hold=True)
    time.sleep(1)
    refused(end(p), 3, "statement timeout", "raise statement_timeout")
    holder = subprocess.Popen([f"{server.bindir}/psql", "-h", server.place, "-p", str(server.port), "-U",
                               postgres.SUPERUSER, "-d", book.database, "-Xqc",
                               "BEGIN; SELECT 'held' FROM certmill.ledger_ca FOR UPDATE; SELECT pg_sleep(60)"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while not server.psql(f"SELECT 1 {sleeping}"):
        time.sleep(0.02)
    refused(reserve(book.url, 2, ["b"], wait=300), 3, "lock timeout", "try again")
    p = start(book.url, 2, ["b"])
    time.sleep(0.2)
    server.psql(f"SELECT pg_terminate_backend(pid) {sleeping}")
    holder.wait(kit.PATIENCE)
    kit.check(end(p).code == 0, "who waited gets its turn")
    p = start(book.url, 3, ["c"], hold=True)
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'certmill'")
    refused(end(p), 3, "terminating connection")
    kit.check(book.holders() == {"a": 1, "b": 2}, book.holders())


def server_restarts(server):
    book = Base()
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    for how in ("fast", "immediate"):
        p = start(book.url, 2, ["b", "c"], hold=True)
        server.stop(how)
        refused(reserve(book.url, 3, ["d"]), 3, "refused")
        server.start()
        r = end(p)
        kit.check(r.code == 3, how, r)
        kit.check(book.holders() == {"a": 1}, how, book.holders())
    kit.check(reserve(book.url, 2, ["b", "c"]).code == 0)


def commits_lost(server):
    """The connection breaks when COMMIT is on its way: the program finds out how it ended, or says that it can't."""
    book = Base()
    kit.check(reserve(book.url, 1, ["a"]).code == 0)

    def committed():
        while not server.psql("SELECT 1 FROM certmill.ledger_device WHERE device_id = 'b'", book.database):
            time.sleep(0.01)

    def answer_lost(proxy, client, behind):
        proxy.cut(client)  # before the server can answer
        behind.sendall(proxy.COMMIT)
        committed()
        return False

    def request_lost(proxy, client, behind):
        proxy.cut(client)
        proxy.cut(behind)
        return False

    def server_not_told(proxy, client, _behind):
        proxy.cut(client)  # the server's end stays, and with it the lock, until it gives up waiting
        return False

    def terminated(_proxy, _client, _behind):
        server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'certmill'")
        return True

    def never_back(proxy, client, behind):
        postgres.Proxy.cut(proxy.listener)
        proxy.listener.close()
        return answer_lost(proxy, client, behind)

    def crashed_after(proxy, client, behind):
        answer_lost(proxy, client, behind)
        server.stop("immediate")
        return False

    nothing = "nothing was reserved"
    for at_commit, wait, code, word, held in ((answer_lost, 9000, 0, "", True), (request_lost, 9000, 3, nothing, False),
                                              (server_not_told, 3000, 3, nothing, False),
                                              (terminated, 9000, 3, nothing, False),
                                              (never_back, 1000, 3, "not known, resume the run", True),
                                              (crashed_after, 9000, 0, "", True)):
        proxy = postgres.Proxy(server.port, at_commit)
        url = server.url(book.database, port=proxy.port, sslmode="disable", gssencmode="disable")
        p = start(url, 2, ["b", "c"], wait=wait)
        kit.check(proxy.done.wait(kit.PATIENCE), f"{at_commit.__name__}: the COMMIT was not seen")
        if server.process is None:
            server.start()
        refused(end(p), code, word)
        proxy.close()
        kit.check(book.holders() == ({"a": 1, "b": 2, "c": 2} if held else {"a": 1}), at_commit.__name__, book.holders())
        r = reserve(book.url, 2, ["b", "c"])
        kit.check(r.code == 0 and len(book.holders()) == 3, f"{at_commit.__name__}: the same run again:", r)
        kit.check(release(book.url, 2).code == 0)


def file_is_durable():
    """The last thing that a commit to a file does is to sync the directory that the journal is gone from."""
    if kit.SLOW or not kit.tool("strace", "strace"):
        return
    book = File()
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    with open("one", "w", encoding="ascii") as f:
        f.write("b\n")
    with open("one", "rb") as f:
        r = kit.run(["strace", "-y", "-o", "calls", "-e", "trace=unlink,fsync,fdatasync", TOOL, "reserve", book.url, "1000",
                     CA, run_id(2), "-"], stdin=f)
    if r.code != 0 and b"ptrace" in r.err:
        kit.skip("strace may not trace here")
        return
    with open("calls", encoding="ascii") as f:
        calls = [line for line in f if line.startswith(("unlink", "fsync", "fdatasync"))]
    gone = [i for i, line in enumerate(calls) if line.startswith(f'unlink("{book.path}-journal")')]
    kit.check(r.code == 0 and len(gone) == 1, "one commit", r, *calls)
    kit.check(any(f"<{book.path}>" in line for line in calls[:gone[0]]), "the file is synced first", *calls)
    kit.check(any(f"<{os.path.dirname(book.path)}>" in line for line in calls[gone[0]:]), "the directory last", *calls)


def file_trouble():
    """A file system that is full, a file that may not be written, as they really are."""
    place = os.path.abspath("small")
    os.mkdir(place)
    script = ('mount -t tmpfs -o size=256k none "$1" || exit 77; "$2" reserve "sqlite:$1/l" 1000 "$3" "$4" - <ids; '
              'echo "code $?"; echo SN1 | "$2" reserve "sqlite:$1/l" 1000 "$3" "$5" - ; echo "code $?"')
    with open("ids", "w", encoding="ascii") as f:
        f.writelines(f"SN{i}\n" for i in range(20_000))
    r = kit.run(["unshare", "-m", "sh", "-c", script, "-", place, TOOL, CA, run_id(1), run_id(2)])
    if b"code" not in r.out:
        kit.skip("no file system can be mounted here: a full disk below SQLite")
    else:
        kit.check(r.out.split(b"\n")[0] == b"code 3" and b"full: free space" in r.err, r)
        kit.check(b"reserved 1 new 0" in r.out and b"code 0" in r.out, "afterwards all is free", r)
    book = File()
    kit.check(reserve(book.url, 1, ["a"]).code == 0)
    os.chmod(book.path, 0o444)
    argv = ["./tool", "reserve", book.url, "1000", CA, run_id(2), "-"]
    if os.geteuid() == 0:
        shutil.copy(TOOL, "tool")
        os.chmod(".", 0o755)
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]
    else:
        argv[0] = TOOL
    refused(kit.run(argv), 3, "can't be written", "must be writable")


def main():
    kit.enter_place("ledger")
    kinds = [File]
    server = postgres.Server.find()
    if server:
        Base.server = server
        kinds.append(Base)
    for kind in kinds:
        contract(kind)
        first_together(kind)
        races(kind, 6, hold=False)
        kills(kind, 3 if kit.SLOW else 8)
        figures(kind)
    file_is_durable()
    file_trouble()
    if server:
        races(Base, 6, hold=True)
        for part in (server_says_no, rights, statements_cut, server_restarts, commits_lost):
            part(server)
            kit.say(f"{part.__name__}: done")
        server.close()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
