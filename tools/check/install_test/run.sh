#!/usr/bin/env bash
# run.sh BUILD COMPILER [bench]: installs BUILD into an empty prefix, builds this folder's project against it, and runs
# it; with `bench` also measures its calls, beside those of `manta bench`.
set -euo pipefail
source_folder="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
build="$1"
compiler="$2"
work="$build/install_test"
rm -rf "$work"

cmake --install "$build" --prefix "$work/prefix" >/dev/null
# Nothing of the repository may be needed: neither headers nor libraries.
if grep -rlE '#include [<"](base|rpc|store|runtime)/' "$work/prefix/include"; then
  echo "install_test: installed headers include headers that are not installed" >&2
  exit 1
fi
cmake -S "$source_folder" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build"
output="$("$work/build/user")"
if [[ "$output" != 13 ]]; then
  printf 'install_test: the program printed %q, not 13\n' "$output" >&2
  exit 1
fi
echo "install_test: passed"
if [[ "${3:-}" == bench ]]; then
  for _ in 1 2 3; do
    "$work/build/calls"
    for name in actor_call_p50 actor_calls_pipelined; do "$build/bin/manta" bench --filter "$name" | tail -1; done
  done
fi
