// SPDX-License-Identifier: Apache-2.0
// The owner of the precompiled headers that the tests share (CMakeLists.txt); no test itself.

int main() { return 0; }
