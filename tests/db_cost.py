#!/usr/bin/env python3
"""Goal: loading a row costs at most 20 us of processor time on PostgreSQL, over all processes, of which certmill's share is
4, and 18 us on SQLite; indexes and a checkpoint of the server included. Method: a fleet of CM_DB_DEVICES is loaded into
new databases, three times each; the median counts. Below 300,000 rows, where fixed costs weigh more and clocks are coarse,
three times as much is allowed: then this finds blunders only."""

import glob
import os
import resource
import sys

import e2e_kit as kit
import e2e_postgres as postgres
from db_kit import Base, File

DEVICES = int(os.environ.get("CM_DB_DEVICES") or 30_000)
SLACK = 1 if DEVICES >= 300_000 else 3
TIMES = 3


def of_children():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


def of_server(server):
    """Processor seconds of the server's processes, and of those of them that have ended."""
    ticks = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="ascii", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        pid = int(path.split("/")[2])
        if pid == server.process.pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == server.process.pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(kind, server):
    """(certmill's, the server's) microseconds a row."""
    base = kind()
    if server:
        server.psql("CHECKPOINT")
        behind = of_server(server)
    before = of_children()
    kit.must([kit.CERTMILL, "load", "fleet", "--quiet", "--to", base.url])
    own = of_children() - before
    other = 0
    if server:
        server.wait_idle()
        server.psql("CHECKPOINT")
        other = of_server(server) - behind
        server.psql(f"DROP DATABASE {base.database}")
    else:
        os.unlink(base.path)
    return own / DEVICES * 1e6, other / DEVICES * 1e6


def judge(kind, limit, own_limit=None, server=None):
    costs = sorted((measure(kind, server) for _ in range(TIMES)), key=sum)
    own, other = costs[TIMES // 2]
    kit.say(f"{kind.name}: {own + other:.1f} us a row over {DEVICES} rows: certmill {own:.1f}, server {other:.1f}"
            f" (of {TIMES}: {', '.join(f'{sum(c):.1f}' for c in costs)})")
    kit.check(own + other <= limit * SLACK, f"{kind.name}: more than {limit} us a row")
    if own_limit:
        kit.check(own <= own_limit * SLACK, f"{kind.name}: certmill's share is more than {own_limit} us a row")


def main():
    kit.enter_place("dbcost")
    kit.ca_init("ca")
    kit.must_mint("fleet", "ca", "--count", str(DEVICES))
    judge(File, 18)
    server = postgres.Server.find()
    if server:
        Base.server = server
        judge(Base, 20, 4, server)
        server.close()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
