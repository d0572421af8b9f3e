#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the build to a temporary prefix, moves that, and builds a program outside the tree against it: through
# find_package and through pkg-config, shared and static each. Then looks at what the library shows and asks for.
# Usage: install_test.sh CMAKE BUILD_DIR CXX [FLAG...]
set -euo pipefail

cmake=$1 build=$2 cxx=$3
flags=("${@:4}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install_test: $*" >&2; exit 1; }

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
mv "$work/first" "$work/prefix" # an installed tree may be moved: nothing in it may name the old place
if grep -rIl "$work/first" "$work/prefix"; then fail "the files above hold the prefix"; fi
pc=$(find "$work/prefix" -name daruma.pc)
libdir=$(dirname "$(dirname "$pc")")
include=$work/prefix/include

mkdir "$work/program"
cat >"$work/program/main.cc" <<'CC'
#include <daruma/store.h>

#include <cstdio>

int main(int, char** words) {
  const auto opened = daruma::Store::open(words[1]);
  if (!opened.ok()) return std::puts(opened.status().to_string().c_str()), 1;
  daruma::Store store = opened.value().store;
  const auto fruit = store.create_keyspace("fruit");
  if (!fruit.ok() || !store.put(fruit.value(), "apple", "red").ok()) return 1;
  std::puts(store.get(fruit.value(), "apple").value().c_str());
  std::puts(store.get(fruit.value(), "pear").status().to_string().c_str());
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
wanted=$'red\nnot_found: the key is not there'
check() {
  local said
  said=$("$1" "$work/store_of_$(basename "$1")")
  [ "$said" = "$wanted" ] || fail "$1 said: $said"
}

"$cmake" -S "$work/program" -B "$work/out" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_FLAGS="${flags[*]}" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$cmake" --build "$work/out" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
check "$work/out/shared"
check "$work/out/static"
needs_shared() { [[ $(objdump -p "$1") == *NEEDED*libdaruma* ]]; }
if needs_shared "$work/out/static"; then fail "the static program needs the shared library"; fi

export PKG_CONFIG_PATH="$libdir/pkgconfig"
# shellcheck disable=SC2046  # pkg-config answers in words
"$cxx" -std=c++20 "${flags[@]}" "$work/program/main.cc" -o "$work/with_pkgconfig" $(pkg-config --cflags --libs daruma)
LD_LIBRARY_PATH="$libdir" check "$work/with_pkgconfig"
mkdir "$work/archive" && cp "$libdir/libdaruma.a" "$work/archive/" # where there is no shared library, -ldaruma is this one
# shellcheck disable=SC2046
"$cxx" -std=c++20 "${flags[@]}" "$work/program/main.cc" -o "$work/with_pkgconfig_static" -L"$work/archive" \
  $(pkg-config --cflags --libs --static daruma)
check "$work/with_pkgconfig_static"
if needs_shared "$work/with_pkgconfig_static"; then fail "the program linked to the archive needs the shared library"; fi

[ "$(pkg-config --modversion daruma)" = 0.1.0 ]
library=$libdir/libdaruma.so
asks=$(objdump -p "$library")
[[ $asks =~ SONAME\ +libdaruma.so.0$'\n' ]] || fail "wrong SONAME"

# Visible is what the public headers mark DARUMA_API. Besides, only instances of standard templates, which every C++ library
# shows; and coverage shows counters of its own.
public=$(sed -n -E 's/^class .*DARUMA_API ([A-Za-z]+).*/\1/p; s/^DARUMA_API .*[ &*]([a-z_]+)\(.*/\1/p' "$include"/daruma/*.h | sort -u)
public="$public"$'\n'RecoveryReport$'\n'Health$'\n'Incident$'\n'Metrics$'\n'DurationHistogram$'\n'RecoveryHistory
pattern="^((vtable|typeinfo|typeinfo name) for )?daruma::($(echo "$public" | paste -sd'|'))(::|\(|\[|$)"
shown=$(nm -DC --defined-only "$library" | cut -c18-)
inner=$(echo "$shown" | grep -v '^[VWu] ' | cut -c3- | grep -Ev "$pattern|^__llvm" || true)
[ -z "$inner" ] || fail "visible, and not marked DARUMA_API: $inner"
inner=$(echo "$shown" | grep '^[VWu] ' | cut -c3- | grep '^daruma::' | grep -Ev "$pattern" || true)
[ -z "$inner" ] || fail "visible, and not marked DARUMA_API: $inner"
for name in $public; do
  case $name in EventListener) continue ;; esac # all of them is in the headers
  [[ $shown =~ daruma::$name(::|\(|\[) ]] || fail "marked DARUMA_API, and not visible: $name"
done

# A program that uses Daruma takes on lz4, liburing, and nothing else that does not come with the compiler.
needed=$(echo "$asks" | sed -n 's/.*NEEDED *//p')
strange=$(echo "$needed" | grep -Ev '^(liblz4|liburing|libstdc\+\+|libc\+\+|libgcc_s|libm|libc|ld-linux.*|lib[a-z]*san)\.so' || true)
[ -z "$strange" ] || fail "the library needs $strange"
[[ $needed == *liblz4.* ]] || fail "the library does not need lz4, which cannot be"
echo "install_test: find_package and pkg-config, shared and static, build and run; $(echo "$public" | wc -l) public names"
