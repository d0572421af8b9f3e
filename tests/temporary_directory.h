// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace daruma {

/// A directory of its own that goes with the object; no path when `parent` takes none.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(std::string parent = "/tmp") {
    parent += "/daruma_test_XXXXXX";
    if (::mkdtemp(parent.data())) path_ = parent;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace daruma
