#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the build to a temporary prefix, moves that, and builds a program outside the tree against it: through
# find_package (shared and static) and through pkg-config. Usage: install_test.sh CMAKE BUILD_DIR CXX [FLAG...]
set -euo pipefail

cmake=$1 build=$2 cxx=$3
flags=("${@:4}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
mv "$work/first" "$work/prefix" # an installed tree may be moved: nothing in it may name the old place
if grep -rIl "$work/first" "$work/prefix"; then echo "install_test: the files above hold the prefix" >&2; exit 1; fi
pc=$(find "$work/prefix" -name daruma.pc)
libdir=$(dirname "$(dirname "$pc")")

mkdir "$work/program"
cat >"$work/program/main.cc" <<'CC'
#include <daruma/status.h>

#include <cstdio>

int main() {
  const daruma::Status status(daruma::Code::kBusy, "held", {"lock", 0, {}}, "stop the other process");
  std::puts(status.to_string().c_str());
  return status.is(daruma::Code::kBusy) ? 0 : 1;
}
CC
cat >"$work/program/CMakeLists.txt" <<'CM'
cmake_minimum_required(VERSION 3.25)
project(program LANGUAGES CXX)
find_package(daruma 0.1 REQUIRED)
add_executable(shared main.cc)
target_link_libraries(shared PRIVATE daruma::daruma)
add_executable(static main.cc)
target_link_libraries(static PRIVATE daruma::daruma_static)
CM
wanted='busy: held (lock:0); stop the other process'
check() {
  local said
  said=$("$@")
  [ "$said" = "$wanted" ] || { echo "install_test: $* said: $said" >&2; exit 1; }
}

"$cmake" -S "$work/program" -B "$work/out" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_FLAGS="${flags[*]}" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$cmake" --build "$work/out" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
check "$work/out/shared"
check "$work/out/static"

export PKG_CONFIG_PATH="$libdir/pkgconfig"
# shellcheck disable=SC2046  # pkg-config answers in words
"$cxx" -std=c++20 "${flags[@]}" "$work/program/main.cc" -o "$work/with_pkgconfig" $(pkg-config --cflags --libs daruma)
LD_LIBRARY_PATH="$libdir" check "$work/with_pkgconfig"

# Only what is meant for users is visible, and a program asks for the first ABI by its name.
[ "$(pkg-config --modversion daruma)" = 0.1.0 ]
objdump -p "$libdir/libdaruma.so" | grep -q 'SONAME *libdaruma.so.0$' || { echo "install_test: wrong SONAME" >&2; exit 1; }
if nm -DC --defined-only "$libdir/libdaruma.so" | grep -E ' T daruma::(hash64|key_hash|assertion_failed)'; then
  echo "install_test: inner functions are visible" >&2
  exit 1
fi
echo "install_test: find_package (shared, static) and pkg-config build and run"
