// SPDX-License-Identifier: Apache-2.0
//
// Entries as text: what dump writes and load reads, and the lines of a batch.
//
// What must stay true: what a writer wrote, the reader of that format reads back byte for byte; every malformed line is
// an error that names the line; what a format cannot say (duplicates, other encodings) is refused, not dropped.
//
//   ndjson  {"key":"a","value":"b"}; the name tells the encoding: key, key_hex, key_base64, key_escaped, likewise
//   value;
//           an optional "keyspace" (same suffixes) moves that entry there
//   csv     RFC 4180 with a header line that names two columns the same way
//   mdb     mdb_dump and db_dump text, VERSION=3, format=bytevalue or print; database= names the keyspace
//   ldb     "0x61 ==> 0x62", as `ldb dump --hex` writes it; read only
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daruma/status.h"
#include "kvctl/command.h"
#include "kvctl/encoding.h"

namespace daruma::kvctl {

enum class RowFormat : std::uint8_t { kAuto, kNdjson, kCsv, kMdb, kLdb };
std::optional<RowFormat> parse_row_format(std::string_view name);

/// Lines of a descriptor or file. Thread: one at a time.
class LineReader {
 public:
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  static Result<std::unique_ptr<LineReader>> open(const std::string& path);  ///< "-": stdin

  /// The next line without its end (\n or \r\n); nothing at the end of the input. Valid until the next call.
  Result<std::optional<std::string_view>> next();
  Result<std::optional<std::string_view>> next_raw();  ///< with its end
  void put_back() { again_ = true; }                   ///< `next` returns the same line once more
  [[nodiscard]] std::uint64_t line() const { return line_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  ///< read so far
  [[nodiscard]] std::uint64_t size() const { return size_; }    ///< of the input; 0: not known
  /// kInvalidArgument, "line 7: what".
  [[nodiscard]] Status error(std::string_view what) const;

 private:
  LineReader(int fd, std::string path, std::uint64_t size) : fd_(fd), path_(std::move(path)), size_(size) {}
  int fd_;
  std::string path_;
  std::uint64_t size_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of the unread part of buffer_
  std::string_view current_;
  bool again_ = false;
  bool ended_ = false;
  std::uint64_t line_ = 0;
  std::uint64_t bytes_ = 0;
};

/// All of a file or of stdin ("-"), at most `limit` bytes.
Result<std::string> read_whole(const std::string& path, std::size_t limit);

struct Row {
  std::optional<std::string> keyspace{};  ///< when the input names one
  std::string key{};
  std::string value{};
};

class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual Result<std::optional<Row>> next() = 0;
};

/// `key_format` and `value_format` decode columns and members whose name tells no encoding. kAuto looks at the first
/// line.
Result<std::unique_ptr<RowReader>> open_rows(LineReader& lines, RowFormat format, std::optional<Encoding> key_format,
                                             std::optional<Encoding> value_format);

/// `name`, `name`_hex, … of a JSON object, decoded; nothing when none of them is there.
Result<std::optional<std::string>> bytes_member(const Json& object, const std::string& name,
                                                std::optional<Encoding> format);

class RowWriter {
 public:
  RowWriter(const Context& context, RowFormat format) : context_(context), format_(format) {}
  std::string head(const std::string& keyspace);
  std::string row(std::string_view key, std::string_view value);
  std::string tail();

 private:
  const Context& context_;
  RowFormat format_;
};

}  // namespace daruma::kvctl
