#!/usr/bin/env bash
# Goal: knowledge flows one way: cli and bench know engine and io, io knows the engine's headers, engine knows
# neither; and each foreign library is known to few files. Method: look at every #include.
set -euo pipefail
cd "${CM_SOURCE:-$(dirname "$0")/..}"
failed=0

# forbid ROOM PATTERN REASON [EXCEPT…]: no #include in ROOM may match PATTERN, but in the files named.
forbid() {
    local room=$1 pattern=$2 reason=$3 hit file
    shift 3
    while IFS= read -r hit; do
        file=${hit%%:*}
        [[ " $* " == *" $file "* ]] && continue
        echo "$hit"
        echo "    $reason"
        failed=1
    done < <(grep -rnE --include='*.c' --include='*.h' "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$pattern" "$room" || true)
}

forbid engine '(io|aws|rehearsal|cli|bench|tests)/' 'engine/ is pure computation and knows no other room'
forbid io '(aws|rehearsal|cli|bench|tests)/' "io/ knows only the engine's headers"
forbid aws '(rehearsal|cli|bench|tests)/' 'aws/ knows engine/ and io/ only'
forbid rehearsal '(cli|bench|tests)/' 'rehearsal/ knows engine/, io/ and aws/ only'
forbid cli 'tests/' 'cli/ knows engine/, io/, aws/, rehearsal/ and, for one command, bench/'
forbid bench 'tests/' 'bench/ knows engine/, io/ and cli/ only'

forbid io 'openssl/' 'libcrypto is known to engine/, aws/, rehearsal/, tests/ and bench/ only'
forbid cli 'openssl/' 'libcrypto is known to engine/, aws/, rehearsal/, tests/ and bench/ only'
for room in io aws rehearsal cli bench tests; do
    forbid "$room" 'engine/[a-z_]*_impl\.h' "an _impl.h is its module's own"
done
for room in engine io aws rehearsal cli bench tests; do
    forbid "$room" 'liburing' 'liburing is known to io/ring.c only' io/ring.c
    forbid "$room" 'microhttpd' 'libmicrohttpd is known to rehearsal/control.c only' rehearsal/control.c
    forbid "$room" 'xxhash' 'xxHash is known to engine/xxh.c only' engine/xxh.c
    forbid "$room" '(sqlite3|io/sqlitekit)' 'SQLite is known to what keeps books in it only' io/sqlitekit.h \
        io/sqlitekit.c io/dburl.c io/ledger_sqlite.c io/db_sqlite.c io/db_sqlite.h \
        io/db_sqlite_query.c rehearsal/registry_impl.h tests/test_db.c tests/test_ledger.c
    forbid "$room" 'io/ledger_pg\.h' "how a server is talked to is ledger_pg's own" io/ledger_pg.c io/ledger_pg_db.c
    forbid "$room" '(libpq-fe|io/pgurl|io/pgkit)' 'libpq is known to what keeps books on a server only' io/ledger_pg.c \
        io/ledger_pg.h io/ledger_pg_db.c io/db_pg.c io/db_pg.h io/db_pg_query.c io/dburl.c io/pgkit.c io/pgkit.h io/pgscratch.c io/pgurl.c io/pgurl.h
    forbid "$room" '[^>"]*\.c[>"]' 'a .c file is compiled, not included'
done
forbid engine 'jansson' 'JSON is read in io/ and cli/; engine/ writes its rows itself'
forbid engine '(fcntl|sys/stat|dirent)\.h' 'engine/ opens no files'

# jansson's own readers don't survive that memory runs out.
while IFS= read -r hit; do
    echo "$hit"
    echo "    JSON is read by io/jsonread.h"
    failed=1
done < <(grep -rnE --include='*.c' '\<json_load[a-z_]*\(' engine io aws rehearsal cli bench | grep -vE '^(io/jsonread|bench/child)\.c:' || true)

# Paths in includes begin at the root, so that the room a file depends on is visible.
while IFS= read -r hit; do
    echo "$hit"
    echo "    write the path from the root: \"engine/…\""
    failed=1
done < <(grep -rnE --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' engine io aws rehearsal cli bench tests |
    grep -vE '"(engine|io|aws|rehearsal|cli|bench|tests)/' || true)

[[ $failed -eq 0 ]] && echo "the arrows point the right way"
exit "$failed"
