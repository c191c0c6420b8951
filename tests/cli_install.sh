#!/usr/bin/env bash
# Goal: what is installed is enough: a program outside the tree builds against libcertmill and runs. Method: install
# into a scratch directory, compile a few lines with what pkg-config says.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cmake --install "${CM_BUILD:?the build directory}" --prefix "$dir/usr" >/dev/null
"$dir/usr/bin/certmill" --version
[[ -f $dir/usr/share/man/man1/certmill.1 ]]
PKG_CONFIG_PATH=$(dirname "$(find "$dir/usr" -name certmill.pc)")
export PKG_CONFIG_PATH
# The scratch prefix is not the one that was configured.
read -ra flags <<<"$(pkg-config --define-variable=prefix="$dir/usr" --static --cflags --libs certmill)"

cat >"$dir/program.c" <<'C'
#include <engine/certmill.h>
int main(void)
{
    struct cm_error err = { 0 };
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        if (cm_cainit_probe(cm_keyalg_at(i), &err) != CM_OK)
            return 1;
    return puts(cm_sigalg_libcrypto()) == EOF;
}
C
sanitize=()
[[ -n ${CM_SANITIZE:-} ]] && sanitize=("-fsanitize=$CM_SANITIZE")
cc -std=gnu17 -Wall -Wextra -Werror "${sanitize[@]}" -o "$dir/program" "$dir/program.c" "${flags[@]}"
"$dir/program"
