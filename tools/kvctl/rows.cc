// SPDX-License-Identifier: Apache-2.0
#include "kvctl/rows.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace daruma::kvctl {

namespace {

/// The longest entry in its longest text (JSON's \u00XX, six characters a byte) fits; beyond it the input is no text.
constexpr std::size_t kMaxLineBytes = 6 * (kMaxValueBytes + kMaxKeyBytes) + 4096;
constexpr std::size_t kReadBytes = 256 << 10;

constexpr Encoding kEncodings[] = {Encoding::kUtf8, Encoding::kHex, Encoding::kBase64, Encoding::kEscaped};

std::string member_name(const std::string& name, Encoding encoding) {
  return encoding == Encoding::kUtf8 ? name : name + "_" + std::string(encoding_name(encoding));
}

class NdjsonReader : public RowReader {
 public:
  NdjsonReader(LineReader& lines, std::optional<Encoding> key, std::optional<Encoding> value)
      : lines_(lines), key_(key), value_(value) {}

  Result<std::optional<Row>> next() override {
    for (;;) {
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> line, lines_.next());
      if (!line) return std::optional<Row>();
      if (line->find_first_not_of(" \t") == std::string_view::npos) continue;
      const Json object = Json::parse(*line, nullptr, false);
      if (object.is_discarded()) return lines_.error("not valid JSON");
      if (!object.is_object()) return lines_.error("not a JSON object");
      // What a failed dump leaves as its last line.
      if (object.contains("error")) return lines_.error("the dump ended with an error, it is not whole");
      Row row;
      for (const auto& [name, _] : object.items()) {
        if (!name.starts_with("key") && !name.starts_with("value"))
          return lines_.error("unknown member \"" + name + "\"");
      }
      auto keyspace = bytes_member(object, "keyspace", std::nullopt);
      if (!keyspace.ok()) return lines_.error(keyspace.status().message());
      row.keyspace = std::move(*keyspace);
      auto key = bytes_member(object, "key", key_);
      if (!key.ok()) return lines_.error(key.status().message());
      if (!*key) return lines_.error("no member \"key\"");
      auto value = bytes_member(object, "value", value_);
      if (!value.ok()) return lines_.error(value.status().message());
      if (!*value) return lines_.error("no member \"value\"");
      row.key = std::move(**key);
      row.value = std::move(**value);
      return std::optional(std::move(row));
    }
  }

 private:
  LineReader& lines_;
  std::optional<Encoding> key_;
  std::optional<Encoding> value_;
};

class CsvReader : public RowReader {
 public:
  CsvReader(LineReader& lines, std::optional<Encoding> key, std::optional<Encoding> value)
      : lines_(lines), key_(key.value_or(Encoding::kUtf8)), value_(value.value_or(Encoding::kUtf8)) {}

  Result<std::optional<Row>> next() override {
    if (!header_) {
      DARUMA_TRY_ASSIGN(const std::optional<Fields> names, record());
      if (!names) return std::optional<Row>();
      DARUMA_TRY(read_header(*names));
    }
    for (;;) {
      DARUMA_TRY_ASSIGN(std::optional<Fields> fields, record());
      if (!fields) return std::optional<Row>();
      if (fields->size() != 2) return error(fmt::format("{} fields instead of 2", fields->size()));
      auto key = decode(key_, (*fields)[key_first_ ? 0 : 1]);
      if (!key.ok()) return error("malformed key: " + key.status().message());
      auto value = decode(value_, (*fields)[key_first_ ? 1 : 0]);
      if (!value.ok()) return error("malformed value: " + value.status().message());
      return std::optional(Row{.key = std::move(*key), .value = std::move(*value)});
    }
  }

 private:
  using Fields = std::vector<std::string>;

  Status read_header(const Fields& names) {
    header_ = true;
    if (names.size() == 2) {
      const auto column = [](const std::string& field, const std::string& name, Encoding& encoding) {
        if (field == name) return true;  // the encoding given, or UTF-8
        for (const Encoding e : kEncodings) {
          if (field == member_name(name, e)) {
            encoding = e;
            return true;
          }
        }
        return false;
      };
      for (const bool first : {true, false}) {
        key_first_ = first;
        if (column(names[first ? 0 : 1], "key", key_) && column(names[first ? 1 : 0], "value", value_)) return {};
      }
    }
    return error("the header names no columns key and value (or key_hex, value_base64, …)");
  }

  // A quoted field may hold line ends: those of the input, so lines are joined by what stood between them.
  Result<std::optional<Fields>> record() {
    Fields fields;
    std::string field;
    bool quoted = false;
    bool was_quoted = false;
    for (;;) {
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> line, lines_.next_raw());
      if (!line) {
        if (!quoted) return std::optional<Fields>();
        return error("the input ends inside quotes");
      }
      const std::string_view text = *line;
      if (!quoted) {
        if (text == "\n" || text == "\r\n") continue;
        began_ = lines_.line();
      }
      for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
          if (c != '"') {
            field.push_back(c);
          } else if (i + 1 < text.size() && text[i + 1] == '"') {
            field.push_back('"');
            ++i;
          } else {
            quoted = false;
          }
        } else if (c == ',') {
          fields.push_back(std::move(field));
          field.clear();
          was_quoted = false;
        } else if (c == '\n' || (c == '\r' && i + 2 == text.size() && text[i + 1] == '\n')) {
          break;
        } else if (c == '"' && field.empty() && !was_quoted) {
          quoted = was_quoted = true;
        } else if (c == '"' || was_quoted) {
          return error("a quote in the middle of a field");
        } else {
          field.push_back(c);
        }
      }
      if (!quoted) {
        fields.push_back(std::move(field));
        return std::optional(std::move(fields));
      }
      if (field.size() > kMaxLineBytes) return error("the field is longer than any entry");
    }
  }

  Status error(const std::string& what) const {
    return {Code::kInvalidArgument, fmt::format("line {}: {}", began_, what)};
  }

  LineReader& lines_;
  Encoding key_;
  Encoding value_;
  bool header_ = false;
  bool key_first_ = true;
  std::uint64_t began_ = 1;
};

class MdbReader : public RowReader {
 public:
  explicit MdbReader(LineReader& lines) : lines_(lines) {}

  Result<std::optional<Row>> next() override {
    for (;;) {
      if (!in_data_) {
        DARUMA_TRY_ASSIGN(const bool more, read_header());
        if (!more) return std::optional<Row>();
      }
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> line, lines_.next());
      if (!line) return lines_.error("the input ends without DATA=END");
      if (*line == "DATA=END") {
        in_data_ = false;
        continue;
      }
      Row row;
      row.keyspace = keyspace_;
      DARUMA_TRY_ASSIGN(row.key, datum(*line));
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> second, lines_.next());
      if (!second || *second == "DATA=END") return lines_.error("a key without a value");
      DARUMA_TRY_ASSIGN(row.value, datum(*second));
      return std::optional(std::move(row));
    }
  }

 private:
  Result<bool> read_header() {
    print_ = false;
    keyspace_.reset();
    for (bool first = true;; first = false) {
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> line, lines_.next());
      if (!line) {
        if (first) return false;
        return lines_.error("the input ends without HEADER=END");
      }
      if (*line == "HEADER=END") break;
      const std::size_t equals = line->find('=');
      if (equals == std::string_view::npos) return lines_.error("a header line is NAME=VALUE");
      const std::string_view name = line->substr(0, equals);
      const std::string_view value = line->substr(equals + 1);
      if (name == "VERSION" && value != "3") return lines_.error("only VERSION=3 is known");
      if (name == "format") {
        if (value != "bytevalue" && value != "print") return lines_.error("format is bytevalue or print");
        print_ = value == "print";
      } else if (name == "type" && value != "btree" && value != "hash") {
        return lines_.error("a database of this type has no keys");
      } else if ((name == "duplicates" || name == "dupsort") && value != "0") {
        return lines_.error("the database has several values a key, which a keyspace cannot hold");
      } else if (name == "database") {
        auto decoded = datum_text(value, true);
        if (!decoded.ok()) return decoded.status();
        keyspace_ = std::move(*decoded);
      }
    }
    in_data_ = true;
    return true;
  }

  Result<std::string> datum(std::string_view line) {
    if (!line.starts_with(' ')) return lines_.error("a data line begins with a space");
    return datum_text(line.substr(1), print_);
  }

  Result<std::string> datum_text(std::string_view text, bool print) {
    if (!print) {
      auto bytes = decode(Encoding::kHex, text);
      if (!bytes.ok()) return lines_.error(bytes.status().message());
      return bytes;
    }
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out.push_back(text[i]);
      } else if (i + 1 < text.size() && text[i + 1] == '\\') {
        out.push_back('\\');
        ++i;
      } else {
        auto byte = decode(Encoding::kHex, text.substr(i + 1, 2));
        if (!byte.ok() || byte->size() != 1) return lines_.error("a backslash without two hex digits");
        out += *byte;
        i += 2;
      }
    }
    return out;
  }

  LineReader& lines_;
  bool in_data_ = false;
  bool print_ = false;
  std::optional<std::string> keyspace_;
};

class LdbReader : public RowReader {
 public:
  explicit LdbReader(LineReader& lines) : lines_(lines) {}

  Result<std::optional<Row>> next() override {
    for (;;) {
      DARUMA_TRY_ASSIGN(const std::optional<std::string_view> line, lines_.next());
      if (!line) return std::optional<Row>();
      if (line->empty() || line->starts_with("Keys in range:")) continue;
      const std::size_t arrow = line->find(" ==>");
      if (arrow == std::string_view::npos || !line->starts_with("0x")) {
        return lines_.error("not \"0xKEY ==> 0xVALUE\", as ldb dump --hex writes it");
      }
      std::string_view second = line->substr(arrow + 4);
      if (second.starts_with(' ')) second.remove_prefix(1);
      auto key = decode(Encoding::kHex, line->substr(0, arrow));
      if (!key.ok()) return lines_.error("malformed key: " + key.status().message());
      auto value = decode(Encoding::kHex, second);
      if (!value.ok()) return lines_.error("malformed value: " + value.status().message());
      return std::optional(Row{.key = std::move(*key), .value = std::move(*value)});
    }
  }

 private:
  LineReader& lines_;
};

std::string csv_field(Encoding encoding, std::string_view bytes) {
  const std::string text = encode(encoding, bytes);
  if (text.find_first_of(",\"\r\n") == std::string::npos && !text.empty()) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  return out + "\"";
}

/// As mdb_dump -p writes it.
std::string mdb_print(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c >= 0x20 && c < 0x7F && c != '\\') {
      out.push_back(c);
    } else {
      out += "\\" + to_hex({&c, 1});
    }
  }
  return out;
}

}  // namespace

std::optional<RowFormat> parse_row_format(std::string_view name) {
  if (name == "auto") return RowFormat::kAuto;
  if (name == "ndjson") return RowFormat::kNdjson;
  if (name == "csv") return RowFormat::kCsv;
  if (name == "mdb") return RowFormat::kMdb;
  if (name == "ldb") return RowFormat::kLdb;
  return std::nullopt;
}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) ::close(fd_);
}

Result<std::unique_ptr<LineReader>> LineReader::open(const std::string& path) {
  const int fd = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status(Code::kIoError, fmt::format("cannot read: {}", strerror(errno)), {.file = path});
  struct stat info {};
  const bool known = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  return std::unique_ptr<LineReader>(new LineReader(fd, path, known ? static_cast<std::uint64_t>(info.st_size) : 0));
}

Result<std::optional<std::string_view>> LineReader::next() {
  DARUMA_TRY_ASSIGN(std::optional<std::string_view> line, next_raw());
  if (line && line->ends_with('\n')) line->remove_suffix(line->ends_with("\r\n") ? 2 : 1);
  return line;
}

Result<std::optional<std::string_view>> LineReader::next_raw() {
  if (again_) {
    again_ = false;
    return std::optional(current_);
  }
  for (std::size_t searched = begin_;;) {
    const std::size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos || (ended_ && begin_ < buffer_.size())) {
      const std::size_t stop = end != std::string::npos ? end + 1 : buffer_.size();
      current_ = std::string_view(buffer_).substr(begin_, stop - begin_);
      begin_ = stop;
      ++line_;
      return std::optional(current_);
    }
    if (ended_) return std::optional<std::string_view>();
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (searched > kMaxLineBytes) {
      ++line_;
      return error("the line is longer than any entry");
    }
    buffer_.resize(searched + kReadBytes);
    ssize_t n = 0;
    do n = ::read(fd_, buffer_.data() + searched, kReadBytes);
    while (n < 0 && errno == EINTR);
    buffer_.resize(searched + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0) return Status(Code::kIoError, fmt::format("cannot read: {}", strerror(errno)), {.file = path_});
    bytes_ += static_cast<std::uint64_t>(n);
    ended_ = n == 0;
  }
}

Status LineReader::error(std::string_view what) const {
  return {Code::kInvalidArgument, fmt::format("line {}: {}", line_, what)};
}

Result<std::string> read_whole(const std::string& path, std::size_t limit) {
  const int fd = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status(Code::kIoError, fmt::format("cannot read: {}", strerror(errno)), {.file = path});
  std::string bytes;
  Status failed;
  for (;;) {
    const std::size_t had = bytes.size();
    bytes.resize(had + kReadBytes);
    const ssize_t n = ::read(fd, bytes.data() + had, kReadBytes);
    bytes.resize(had + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed = {Code::kIoError, fmt::format("cannot read: {}", strerror(errno)), {.file = path}};
    if (bytes.size() > limit)
      failed = {Code::kInvalidArgument, fmt::format("more than {} bytes", limit), {.file = path}};
    if (n <= 0 || !failed.ok()) break;
  }
  if (fd != STDIN_FILENO) ::close(fd);
  if (!failed.ok()) return failed;
  return bytes;
}

Result<std::optional<std::string>> bytes_member(const Json& object, const std::string& name,
                                                std::optional<Encoding> format) {
  std::optional<std::string> found;
  for (const Encoding e : kEncodings) {
    const auto member = object.find(member_name(name, e));
    if (member == object.end()) continue;
    if (found) return Status(Code::kInvalidArgument, fmt::format("\"{}\" in two encodings", name));
    if (!member->is_string())
      return Status(Code::kInvalidArgument, fmt::format("\"{}\" is not a string", member_name(name, e)));
    auto bytes = decode(e == Encoding::kUtf8 ? format.value_or(e) : e, member->get_ref<const std::string&>());
    if (!bytes.ok())
      return Status(Code::kInvalidArgument, fmt::format("malformed {}: {}", name, bytes.status().message()));
    found = std::move(*bytes);
  }
  return found;
}

Result<std::unique_ptr<RowReader>> open_rows(LineReader& lines, RowFormat format, std::optional<Encoding> key_format,
                                             std::optional<Encoding> value_format) {
  if (format == RowFormat::kAuto) {
    DARUMA_TRY_ASSIGN(const std::optional<std::string_view> first, lines.next());
    format = RowFormat::kNdjson;  // an empty input has no entries in any format
    if (first) {
      if (first->starts_with("VERSION=")) {
        format = RowFormat::kMdb;
      } else if (first->starts_with("0x")) {
        format = RowFormat::kLdb;
      } else if (first->starts_with("key") || first->starts_with("value") || first->starts_with("\"")) {
        format = RowFormat::kCsv;
      } else if (!first->starts_with("{")) {
        return lines.error("neither ndjson, csv with a header, mdb_dump nor ldb text; --format says which it is");
      }
      lines.put_back();
    }
  }
  std::unique_ptr<RowReader> rows;
  switch (format) {
    case RowFormat::kCsv: rows = std::make_unique<CsvReader>(lines, key_format, value_format); break;
    case RowFormat::kMdb: rows = std::make_unique<MdbReader>(lines); break;
    case RowFormat::kLdb: rows = std::make_unique<LdbReader>(lines); break;
    default: rows = std::make_unique<NdjsonReader>(lines, key_format, value_format); break;
  }
  return rows;
}

std::string RowWriter::head(const std::string& keyspace) {
  if (format_ == RowFormat::kCsv) {
    return member_name("key", context_.key_format.value_or(Encoding::kEscaped)) + "," +
           member_name("value", context_.value_format.value_or(Encoding::kEscaped)) + "\n";
  }
  if (format_ == RowFormat::kMdb) {
    const bool print = context_.value_format && *context_.value_format != Encoding::kHex;
    return fmt::format("VERSION=3\nformat={}\ndatabase={}\ntype=btree\nHEADER=END\n", print ? "print" : "bytevalue",
                       mdb_print(keyspace));
  }
  return "";
}

std::string RowWriter::row(std::string_view key, std::string_view value) {
  if (format_ == RowFormat::kCsv) {
    return csv_field(context_.key_format.value_or(Encoding::kEscaped), key) + "," +
           csv_field(context_.value_format.value_or(Encoding::kEscaped), value) + "\n";
  }
  if (format_ == RowFormat::kMdb) {
    const bool print = context_.value_format && *context_.value_format != Encoding::kHex;
    return print ? " " + mdb_print(key) + "\n " + mdb_print(value) + "\n"
                 : " " + to_hex(key) + "\n " + to_hex(value) + "\n";
  }
  Json object = Json::object();
  context_.put_key(object, key);
  context_.put_value(object, value);
  return dump_json(object) + "\n";
}

std::string RowWriter::tail() { return format_ == RowFormat::kMdb ? "DATA=END\n" : ""; }

}  // namespace daruma::kvctl
