// SPDX-License-Identifier: Apache-2.0
//
// Writes the Prometheus text exposition format, version 0.0.4: families with # HELP and # TYPE, one sample a line.
//
// What must stay true: each family is begun once and has all its samples behind it; label values may hold any bytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/utf8.h"

namespace daruma {

class PrometheusWriter {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  /// `type`: counter, gauge or histogram. `help` is one line without backslashes.
  PrometheusWriter& family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_.append("# HELP ").append(name).append(" ").append(help);
    text_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
    return *this;
  }
  PrometheusWriter& sample(std::uint64_t value, Labels labels = {}) { return line({}, labels, std::to_string(value)); }
  PrometheusWriter& seconds(std::int64_t ns, Labels labels = {}, std::string_view suffix = {}) {
    return line(suffix, labels, number(static_cast<double>(ns) / 1e9));
  }
  PrometheusWriter& real(double value, Labels labels = {}) { return line({}, labels, number(value)); }
  /// As `sample`, under the family's name and `suffix`: "_bucket", "_count".
  PrometheusWriter& part(std::string_view suffix, std::uint64_t value, Labels labels) {
    return line(suffix, labels, std::to_string(value));
  }
  /// The shortest text that reads back as the same number.
  static std::string number(double value) {
    char text[32];
    for (const int digits : {6, 9, 15, 17}) {
      std::snprintf(text, sizeof text, "%.*g", digits, value);
      for (char* p = text; *p != '\0'; ++p)
        if (*p == ',') *p = '.';  // the C locale is the process's, not ours
      if (std::strtod(text, nullptr) == value) break;
    }
    return text;
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  PrometheusWriter& line(std::string_view suffix, Labels labels, std::string_view value) {
    text_.append(name_).append(suffix);
    char before = '{';
    for (const auto& [label, of] : labels) {
      text_.push_back(before);
      text_.append(label).append("=\"");
      escape(of);
      text_.push_back('"');
      before = ',';
    }
    if (before == ',') text_.push_back('}');
    text_.append(" ").append(value).append("\n");
    return *this;
  }
  void escape(std::string_view value) {
    for (std::size_t i = 0; i < value.size();) {
      const char c = value[i];
      const std::size_t n = utf8_length(value, i);
      if (c == '\\' || c == '"') {
        text_.push_back('\\');
        text_.push_back(c);
      } else if (c == '\n') {
        text_ += "\\n";
      } else if (n == 0) {  // the character that Latin-1 has there
        text_.push_back(static_cast<char>(0xc0 | static_cast<std::uint8_t>(c) >> 6));
        text_.push_back(static_cast<char>(0x80 | (c & 0x3f)));
      } else {
        text_.append(value.substr(i, n));
      }
      i += n == 0 ? 1 : n;
    }
  }

  std::string text_;
  std::string name_;
};

}  // namespace daruma
