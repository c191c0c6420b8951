#!/usr/bin/env python3
"""Goal: the tests notice when a decision in the modules that must not be wrong goes the other way. Method: each module
is compiled to assembly; one conditional jump is inverted or taken away; the object is put into a build, its tests
run, and must fail. Sampled by a printed seed; survivors are listed with the line that they come from.

    tests/mutate.py --build build/mutate [--count 200] [--seed N] [--module io/journal.c]...

The build must have been configured with the preset dev in that directory, and have been built.
"""
import argparse
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time

# Module and the tests that are its own. The stronger the earlier: a mutant is done with at its first failure.
MODULES = {
    "io/journal.c": "unit_journal|unit_leftovers|cli_rework",
    "io/journalread.c": "unit_journal|unit_leftovers",
    "io/leftovers.c": "unit_leftovers|kill_random",
    "engine/ranges.c": "unit_ranges",
    "engine/serials.c": "unit_serials|unit_pipeline|unit_tbs",
    "engine/registrar.c": "unit_pipeline|stress_pipeline|unit_journal|kill_random",
    "engine/der.c": "unit_der|unit_tbs",
    "engine/derread.c": "unit_der|unit_certread|unit_audit",
    "engine/derwalk.c": "unit_der|unit_certread|unit_audit",
    "cli/cmd_resume.c": "limits|kill_random",
    "cli/minting.c": "limits|kill_random|cli_bad_inputs",
    "cli/request.c": "unit_request|limits",
}

INVERSE = {"je": "jne", "jne": "je", "ja": "jbe", "jbe": "ja", "jae": "jb", "jb": "jae", "jg": "jle", "jle": "jg",
           "jge": "jl", "jl": "jge", "js": "jns", "jns": "js", "jc": "jnc", "jnc": "jc", "jo": "jno", "jno": "jo",
           "jp": "jnp", "jnp": "jp"}
JUMP = re.compile(r"^\t(j[a-z]+)\t(\.L\w+)$")
WHERE = re.compile(r"^\t\.loc (\d+) (\d+)")


def sh(argv, cwd=None, timeout=600):
    try:
        return subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              check=False)
    except subprocess.TimeoutExpired:
        return None


class Module:
    def __init__(self, build, source):
        self.build, self.source = build, source
        with open(f"{build}/compile_commands.json", encoding="utf-8") as f:
            commands = [c for c in json.load(f) if c["file"].endswith("/" + source)]
        if not commands:
            sys.exit(f"tests/mutate.py: {source} is not part of {build}")
        # The first is the program's own; tests may build it again with other definitions.
        self.directory = commands[0]["directory"]
        words = shlex.split(commands[0]["command"])
        self.object = os.path.join(self.directory, words[words.index("-o") + 1])
        self.argv = [w for i, w in enumerate(words)
                     if w not in ("-o", "-c", "-MD") and words[i - 1] not in ("-o", "-MT", "-MF") and w not in ("-MT", "-MF")]
        r = sh([*self.argv, "-g", "-O1", "-S", "-o", "-"], cwd=self.directory)
        if r is None or r.returncode != 0:
            sys.exit(f"tests/mutate.py: {source} can't be compiled:\n{r.stdout.decode() if r else ''}")
        self.lines = r.stdout.decode().split("\n")
        self.jumps = [i for i, line in enumerate(self.lines) if JUMP.match(line) and JUMP.match(line)[1] in INVERSE]

    def where(self, index):
        for line in reversed(self.lines[:index]):
            if WHERE.match(line):
                return int(WHERE.match(line)[2])
        return 0

    def write(self, lines):
        r = subprocess.run(["cc", "-c", "-x", "assembler", "-", "-o", self.object], input="\n".join(lines).encode(),
                           timeout=60, check=False)
        return r.returncode == 0

    def mutant(self, index, how):
        lines = list(self.lines)
        name, label = JUMP.match(lines[index]).groups()
        lines[index] = f"\t{INVERSE[name]}\t{label}" if how == "inverted" else "\tnop"
        return lines


def build_all(build):
    r = sh(["cmake", "--build", build, "-j", str(os.cpu_count())], timeout=1800)
    return r is not None and r.returncode == 0


def killed(build, tests):
    """The test that failed, or None."""
    if not build_all(build):
        return "the build"
    r = sh(["ctest", "--test-dir", build, "-R", f"^({tests})$", "--stop-on-failure", "--timeout", "240"], timeout=1200)
    if r is None:
        return "a test that hangs"
    if b"No tests were found" in r.stdout:
        sys.exit(f"tests/mutate.py: there is no test {tests}")
    failed = re.findall(rb"Test +#\d+: (\S+) .*(?:\*\*\*|Failed|Timeout)", r.stdout)
    return failed[0].decode() if failed else None if r.returncode == 0 else "?"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CM_SEED", random.randrange(1 << 31))))
    parser.add_argument("--module", action="append")
    o = parser.parse_args()
    rng = random.Random(o.seed)
    print(f"CM_SEED={o.seed}", flush=True)
    build = os.path.realpath(o.build)
    modules = [Module(build, m) for m in o.module or MODULES]
    places = [(m, i, how) for m in modules for i in m.jumps for how in ("inverted", "removed")]
    sample = rng.sample(places, min(o.count, len(places)))
    sample.sort(key=lambda s: (s[0].source, s[1]))
    survivors, count = [], {}
    for module, index, how in sample:
        started = time.monotonic()
        what = f"{module.source}:{module.where(index)}, {JUMP.match(module.lines[index])[1]} {how}"
        if not module.write(module.mutant(index, how)):
            sys.exit(f"tests/mutate.py: {what}: can't be assembled")
        by = killed(build, MODULES[module.source])
        module.write(module.lines)
        seen = count.setdefault(module.source, [0, 0])
        seen[0] += 1
        seen[1] += by is not None
        if by is None:
            survivors.append(what)
        print(f"{what}: {'killed by ' + by if by else 'SURVIVES'} ({time.monotonic() - started:.0f} s)", flush=True)
    for module in modules:
        os.unlink(module.object)
    build_all(build)
    dead, total = sum(c[1] for c in count.values()), sum(c[0] for c in count.values())
    for source, (n, k) in sorted(count.items()):
        print(f"{source:24} {k} of {n} killed")
    print(f"all: {dead} of {total} mutants killed ({100 * dead / max(total, 1):.0f} %), of {len(places)} possible")
    for s in survivors:
        print(f"survivor: {s}")
    return 0 if total and dead >= 0.9 * total else 1


if __name__ == "__main__":
    sys.exit(main())
