#!/usr/bin/env python3
"""Goal: clang takes what gcc takes. The fuzz targets are built with clang, which warns of other things, and warnings
are errors there. Method: clang reads each source file of this build, without generating code, with the options
that gcc had."""
import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys

CLANG = shutil.which("clang")
DROPPED = {"-MD", "-MMD", "-c"}
DROPPED_WITH_VALUE = {"-o", "-MT", "-MF"}


def options(command):
    """What stands behind the compiler in a command, without what names outputs."""
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if os.path.basename(word).startswith(("gcc", "cc")) and not kept:
            continue
        if word in DROPPED_WITH_VALUE:
            next(words)
        elif word not in DROPPED and not word.endswith("/ccache") and word != "ccache":
            kept.append(word)
    return kept


def read(entry):
    done = subprocess.run([CLANG, "-fsyntax-only", "-Werror", *options(entry["command"])], cwd=entry["directory"],
                          capture_output=True, text=True, timeout=120)
    return entry["file"], done.returncode, done.stderr


def main():
    if CLANG is None:
        print("clang is missing: scripts/deps test installs it")
        return 1
    with open(os.path.join(os.environ["CM_BUILD"], "compile_commands.json"), encoding="utf-8") as f:
        entries = {e["file"]: e for e in json.load(f) if e["file"].endswith(".c")}
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, code, said in pool.map(read, entries.values()):
            if code != 0:
                failed += 1
                print(f"{name}:\n{said}")
    print(f"{len(entries)} files, {failed} refused")
    return 1 if failed or len(entries) < 300 else 0


if __name__ == "__main__":
    sys.exit(main())
