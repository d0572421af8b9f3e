// SPDX-License-Identifier: Apache-2.0
#include "io/storage.h"

#include "base/bytes.h"
#include "base/status_macros.h"

namespace daruma {

void Storage::read_batch(std::span<ReadRequest> requests, const std::function<void(ReadRequest&)>& done) {
  for (ReadRequest& request : requests) {
    Result<std::size_t> got = request.file->read(request.offset, request.out);
    request.status = got.status();
    request.bytes_read = got.ok() ? *got : 0;
    done(request);
  }
}

Status probe(Storage& storage, const std::string& path, std::uint64_t bytes) {
  Status status = [&]() -> Status {
    const std::string sector(kSectorBytes, 'p');
    std::string back(kSectorBytes, '\0');
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kCreate));
    DARUMA_TRY(file->allocate(bytes));
    DARUMA_TRY(file->write(0, sector));
    DARUMA_TRY(file->sync());
    DARUMA_TRY_ASSIGN(const std::size_t got, file->read(0, back));
    if (got == kSectorBytes && back == sector) return {};
    return {Code::kIoError, "reads back otherwise than it was written", {.file = path}};
  }();
  (void)storage.remove(path);
  return status;
}

Status publish(Storage& storage, const std::string& directory, const std::string& name, std::string_view contents) {
  // A crash may have left the temporary name on the very file that `name` stands for: never empty it, make a new one.
  if (Status removed = storage.remove(directory + "/" + name + std::string(kTemporarySuffix));
      !removed.ok() && !removed.is(Code::kNotFound)) {
    return removed;
  }
  {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file,
                      storage.open(directory + "/" + name + std::string(kTemporarySuffix), OpenMode::kCreate));
    DARUMA_TRY(file->write(0, contents));
    DARUMA_TRY(file->sync());
  }
  return publish_prepared(storage, directory, name);
}

Status replace(Storage& storage, const std::string& directory, const std::string& name, std::string_view contents) {
  const std::string path = directory + "/" + name;
  const std::string temporary = path + std::string(kTemporarySuffix);
  if (Status removed = storage.remove(temporary); !removed.ok() && !removed.is(Code::kNotFound)) return removed;
  Status written = [&]() -> Status {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(temporary, OpenMode::kCreate));
    return file->write(0, contents);
  }();
  if (written.ok()) return storage.rename(temporary, path);
  (void)storage.remove(temporary);
  return written;
}

Status publish_prepared(Storage& storage, const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name;
  DARUMA_TRY(storage.rename(path + std::string(kTemporarySuffix), path));
  return storage.sync_directory(directory);
}

Result<std::unique_ptr<File>> open_to_read(Storage& storage, const std::string& path) {
  Result<std::unique_ptr<File>> file = storage.open(path, OpenMode::kRead);
  if (file.ok() || file.status().is(Code::kNotFound) || file.status().is(Code::kAborted)) return file;
  return storage.open(path, OpenMode::kRead);
}

bool stands_as_file(Storage& storage, const std::string& directory, std::string_view name) {
  const Result<std::vector<DirectoryEntry>> entries = storage.list(directory);
  if (!entries.ok()) return false;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name == name) return !entry.is_directory;
  }
  return false;
}

Result<std::string> read_whole(Storage& storage, const std::string& path, std::uint64_t limit) {
  DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kRead));
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file->size());
  if (size > limit) {
    return Status(Code::kInvalidArgument,
                  "file of " + std::to_string(size) + " bytes is over the limit of " + std::to_string(limit),
                  {.file = path});
  }
  std::string contents(size, '\0');
  DARUMA_TRY_ASSIGN(const std::size_t got, file->read(0, contents));
  contents.resize(got);
  return contents;
}

}  // namespace daruma
