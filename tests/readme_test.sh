#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the one C++ block of README.md, runs it twice, and expects what the README says: the value, then a report; the
# second start recovers what the first left. Usage: readme_test.sh SOURCE_DIR LIBRARY_DIR CXX [FLAG...]
set -euo pipefail

source=$1 library=$2 cxx=$3
flags=("${@:4}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "readme_test: $*" >&2; exit 1; }

sed -n '/^```cpp$/,/^```$/{//!p}' "$source/README.md" >"$work/main.cc"
[ -s "$work/main.cc" ] || fail "README.md has no block of C++"
lines=$(grep -c . "$work/main.cc")
[ "$lines" -le 15 ] || fail "the README says fifteen lines, the program has $lines"

"$cxx" -std=c++20 -Wall -Wextra -Werror "${flags[@]}" -I"$source/include" "$work/main.cc" -o "$work/program" \
  -L"$library" -ldaruma -Wl,-rpath,"$library"
cd "$work"
said=$(./program)
[[ $said == *"stands up eight"*"Start 1, created the store"* ]] || fail "the first run said: $said"
said=$(./program)
[[ $said == *"stands up eight"*"Start 2, after the process died"* ]] || fail "the second run said: $said"
echo "readme_test: $lines lines, built and run twice"
