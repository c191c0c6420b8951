#!/usr/bin/env python3
"""Goal: the tests notice when a decision in the modules that must not be wrong goes the other way. Method: each module
is compiled to assembly; one conditional jump is inverted or taken away; the object is put into a build, its tests
run, and must fail, stop or hang. Sampled by a printed seed; survivors are listed with the line that they come from.
Exit code 1: fewer than 90 % were killed.

    tests/mutate.py --build build/mutate [--count 200] [--seed N] [--module io/journal.c]...

The build must have been configured with the preset dev in that directory, and have been built; it is left as it was.

Compiled with -O0 and without jump tables: then each condition of the source, and each case of a switch, is one jump
of its own. With optimisation a condition becomes several jumps (loops unrolled, code doubled) or none (setcc, cmov),
and what survives can't be read off the source. Two kinds of jumps are left alone: those of CM_ASSERT, which a correct
program never takes, and the stack protector's. Those of inline functions in headers count, under the header's line.

The program and certmill-faulty, which is built of the same modules, get the same mutant.
"""
import argparse
import json
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time

# Module and the tests that are its own, in the order in which they run: quick and strong ones first, because a
# mutant is done with at its first failure.
RUNS = ["run_words", "cli_resume", "cli_ledger", "limits_process", "limits_disk", "cli_bad_inputs"]
MODULES = {
    "io/journal.c": ["unit_journal", "torture_records", "unit_journal_again", "unit_journalread", "unit_leftovers",
                     "cli_ledger", "crash_states", "cli_rework"],
    "io/journalread.c": ["unit_journalread", "unit_journal", "unit_journal_again", "fuzz_journal", "unit_leftovers",
                         "cli_verify", "cli_ledger", "cli_rework"],
    "io/journalstate.c": ["unit_journalread", "unit_journal_again", "unit_leftovers", "torture_records", "cli_ledger",
                          "cli_verify", "cli_rework"],
    "io/leftovers.c": ["unit_leftovers", "torture_records", "kill_points", "crash_states"],
    "engine/ranges.c": ["unit_ranges"],
    "engine/serials.c": ["unit_serials", "unit_registrar", "torture_records", "stress_serials"],
    "engine/registrar.c": ["unit_registrar", "unit_pipeline", "stress_pipeline"],
    "engine/der.c": ["unit_der", "unit_tbs", "unit_keyenc"],
    "engine/derread.c": ["unit_derread", "unit_certread"],
    "engine/derwalk.c": ["unit_derread", "unit_certread"],
    "cli/cmd_resume.c": [*RUNS, "cli_rework"],
    "cli/rerun.c": [*RUNS, "cli_rework"],
    "cli/minting.c": [*RUNS, "torture_minting", "kill_points", "cli_rework"],
    "cli/request.c": ["unit_request", *RUNS, "cli_rework"],
}
# The short versions of those that are counted.
SHORT = {"CM_FLIPS": "20", "CM_SIZES": "8", "CM_CRASH_STATES": "400"}

INVERSE = {"je": "jne", "ja": "jbe", "jae": "jb", "jg": "jle", "jge": "jl", "js": "jns", "jc": "jnc", "jo": "jno", "jp": "jnp"}
INVERSE.update({other: name for name, other in INVERSE.items()})
JUMP = re.compile(r"^\t(j[a-z]+)\t(\.L\w+)$")
FILE = re.compile(r'^\t\.file (\d+) "(.*)"$')
WHERE = re.compile(r"^\t\.loc (\d+) (\d+)")
FUNCTION = re.compile(r"^([A-Za-z_]\w*):$")
AS_SOURCE = ["-g", "-O0", "-U_FORTIFY_SOURCE", "-fno-jump-tables", "-fno-stack-protector", "-w", "-S", "-o", "-"]


def sh(argv, **how):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True, **how)


# --- modules and their jumps --------------------------------------------------------------------------------------------

def asserted(path):
    """The lines of a source file that are a CM_ASSERT's."""
    lines, depth = set(), 0
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if depth == 0 and "CM_ASSERT(" not in line:
                continue
            rest = line if depth > 0 else line[line.index("CM_ASSERT("):]
            depth += rest.count("(") - rest.count(")")
            lines.add(number)
    return lines


class Assembly:
    """One way in which a module is compiled, and where its object lies in the build."""

    def __init__(self, command):
        directory, words = command["directory"], shlex.split(command["command"])
        out = words.index("-o")
        self.object = os.path.join(directory, words[out + 1])
        del words[out:out + 2]
        r = sh([*[w for w in words if w != "-c"], *AS_SOURCE], cwd=directory)
        if r.returncode != 0:
            sys.exit(f"tests/mutate.py: {command['file']} can't be compiled:\n{r.stdout}")
        self.lines = r.stdout.split("\n")
        self.jumps = self._find(directory)

    def _find(self, directory):
        """Place in the text by (function, number in it, file, line)."""
        files, known, found, function, at, count = {}, {}, {}, "", ("", 0), 0
        for i, line in enumerate(self.lines):
            if m := FILE.match(line):
                files[m[1]] = os.path.join(directory, m[2])
            elif m := WHERE.match(line):
                at = files[m[1]], int(m[2])
            elif m := FUNCTION.match(line):
                function, count = m[1], 0
            elif (m := JUMP.match(line)) and m[1] in INVERSE:
                count += 1
                if at[0] not in known:
                    known[at[0]] = asserted(at[0])
                if at[1] not in known[at[0]]:
                    found[function, count, *at] = i
        return found

    def write(self, jump=None, how=""):
        """The object with this mutant, or without any. It keeps its time of change: newer, ninja would make it again."""
        lines, st = list(self.lines), os.stat(self.object)
        if jump is not None:
            name, label = JUMP.match(lines[self.jumps[jump]]).groups()
            lines[self.jumps[jump]] = f"\t{INVERSE[name]}\t{label}" if how == "inverted" else "\tnop"
        subprocess.run(["cc", "-c", "-x", "assembler", "-", "-o", self.object], input="\n".join(lines), text=True, check=True)
        os.utime(self.object, ns=(st.st_atime_ns, st.st_mtime_ns))


class Module:
    def __init__(self, source, commands):
        mine = [c for c in commands if c["file"].endswith("/" + source) and "certmill-starved" not in c["command"]]
        if not mine:
            sys.exit(f"tests/mutate.py: {source} is not part of the build")
        self.source = source
        self.ways = [Assembly(c) for c in mine]
        self.jumps = sorted(set.intersection(*[set(w.jumps) for w in self.ways]))

    def write(self, jump=None, how=""):
        for way in self.ways:
            way.write(jump, how)

    def name(self, jump, how):
        function, number, file, line = jump
        instruction = JUMP.match(self.ways[0].lines[self.ways[0].jumps[jump]])[1]
        return f"{self.source}: {os.path.relpath(file, ROOT)}:{line}, {function}'s jump {number}, {instruction} {how}"


# --- the build and its tests --------------------------------------------------------------------------------------------

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Build:
    def __init__(self, where, seed):
        self.where, self.limit, self.seed = where, {}, seed
        self.said = ""  # the end of what the last test printed
        listed = json.loads(sh(["ctest", "--test-dir", where, "--show-only=json-v1"]).stdout)
        self.tests = {t["name"]: t for t in listed["tests"]}
        for name in {t for tests in MODULES.values() for t in tests}:
            if name not in self.tests:
                sys.exit(f"tests/mutate.py: there is no test {name} in {where}")

    def make(self, targets):
        """False: it can't be linked."""
        for old in ("libcertmill.a", "libcertmill_io.a", "libcertmill_cli.a", "tests/faults/certmill-faulty"):
            if os.path.exists(f"{self.where}/{old}"):
                os.unlink(f"{self.where}/{old}")
        return sh(["cmake", "--build", self.where, "-j", str(os.cpu_count()), "--target", *targets]).returncode == 0

    @staticmethod
    def targets(test):
        kind, name = test.split("_", 1)
        own = {"unit": f"test_{name}", "stress": test, "torture": test, "fuzz": test}
        return [own[kind]] if kind in own else ["certmill", "certmill-faulty", "t_ledger_tool"]

    def run(self, test):
        """Seconds, or None for a failure. Whatever the test has started ends with it."""
        properties = {p["name"]: p["value"] for p in self.tests[test]["properties"]}
        env = {**os.environ, **SHORT, "CM_SEED": str(self.seed), **dict(e.split("=", 1) for e in properties["ENVIRONMENT"])}
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cm-mutate-") as scratch, tempfile.TemporaryFile() as said:
            os.chmod(scratch, 0o755)  # a database server under another user works in it
            env["TMPDIR"] = scratch
            with subprocess.Popen(self.tests[test]["command"], cwd=properties["WORKING_DIRECTORY"], env=env,
                                  stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                                  preexec_fn=small) as p:
                try:
                    code = p.wait(timeout=self.limit.get(test, 900))
                except subprocess.TimeoutExpired:
                    code = None
                end_session(p.pid)
            said.seek(max(0, said.seek(0, os.SEEK_END) - 4000))
            self.said = said.read().decode(errors="replace")
        return time.monotonic() - begun if code in (0, 77) else None

    def control(self, tests):
        """Without a mutant all pass; how long they may take with one."""
        for test in tests:
            took = self.run(test) if self.make(self.targets(test)) else None
            if took is None:
                sys.exit(f"{self.said}\ntests/mutate.py: {test} fails without a mutant")
            self.limit[test] = 15 + 4 * took
            print(f"{test}: {took:.1f} s", flush=True)

    def killed(self, tests):
        """The test that failed, or None."""
        made = set()
        for test in tests:
            if not made.issuperset(self.targets(test)):
                if not self.make(self.targets(test)):
                    return "the linker"
                made.update(self.targets(test))
            if self.run(test) is None:
                return test
        return None


def small():
    """Of a mutant: no more memory, no larger files than a test needs. Only the soft limits: tests set their own."""
    for what, most in ((resource.RLIMIT_AS, 8 << 30), (resource.RLIMIT_FSIZE, 2 << 30)):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_session(session):
    """Ends what a test that was given up has left behind: the processes of its session."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == session:
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass


# --- the sample ---------------------------------------------------------------------------------------------------------

def sampled(modules, count, rng):
    """As many of each module as its share of all the jumps."""
    places = [(m, j, how) for m in modules for j in m.jumps for how in ("inverted", "removed")]
    sample = rng.sample(places, min(count, len(places)))
    print(f"{len(sample)} of {len(places)} mutants of {len(modules)} modules", flush=True)
    return sorted(sample, key=lambda s: (s[0].source, s[1][2:], s[2]))


def tell(results):
    """Killed by module, the survivors; the share that was killed."""
    for source in sorted({r[0] for r in results}):
        own = [r for r in results if r[0] == source]
        print(f"{source:24} {sum(r[2] is not None for r in own):4} of {len(own):4} killed")
    dead = sum(r[2] is not None for r in results)
    print(f"{'all':24} {dead:4} of {len(results):4} killed: {100 * dead / max(1, len(results)):.1f} %")
    for _, what, by in results:
        if by is None:
            print(f"survivor: {what}")
    return dead / max(1, len(results))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CM_SEED") or random.randrange(1, 1 << 31)))
    parser.add_argument("--module", action="append", choices=MODULES)
    o = parser.parse_args()
    print(f"CM_SEED={o.seed}", flush=True)
    build = Build(os.path.realpath(o.build), o.seed)
    with open(f"{build.where}/compile_commands.json", encoding="utf-8") as f:
        commands = json.load(f)
    names = o.module or MODULES
    modules = [Module(name, commands) for name in names]
    results = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for module in modules:
            module.write()
        build.control(dict.fromkeys(test for name in names for test in MODULES[name]))
        for module, jump, how in sampled(modules, o.count, random.Random(o.seed)):
            begun = time.monotonic()
            module.write(jump, how)
            by = build.killed(MODULES[module.source])
            module.write()
            what = module.name(jump, how)
            results.append((module.source, what, by))
            print(f"{what}: {'killed by ' + by if by else 'SURVIVES'} ({time.monotonic() - begun:.0f} s)", flush=True)
    finally:
        for module in modules:
            for way in module.ways:
                os.unlink(way.object)
        build.make(["all"])
    return 0 if tell(results) >= 0.9 and results else 1


if __name__ == "__main__":
    sys.exit(main())
