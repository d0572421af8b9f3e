// SPDX-License-Identifier: Apache-2.0
//
// The real disk keeps the Storage contract, whichever of io_uring, O_DIRECT and RWF_DSYNC it is denied.
#include "io/posix_storage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <temporary_directory.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <thread>

#include "base/bytes.h"
#include "base/random.h"
#include "io/posix_file.h"

namespace daruma {
namespace {

std::string random_bytes(Random& random, std::size_t n) {
  std::string out(n, '\0');
  for (char& c : out) c = static_cast<char>(random.next());
  return out;
}

void fill(AlignedBuffer& buffer, std::uint64_t seed) {
  Random random(seed);
  for (char& c : buffer.span()) c = static_cast<char>(random.next());
}

std::string default_parent() {
  const char* tmp = std::getenv("TMPDIR");
  return tmp && *tmp ? tmp : ".";
}

/// A forked child that says when it is ready and then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<bool()>& work) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      const char verdict = work() ? 'y' : 'n';
      if (::write(ends[1], &verdict, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char verdict = 'n';
    ready_ = pid_ > 0 && ::read(ends[0], &verdict, 1) == 1 && verdict == 'y';
    ::close(ends[0]);
  }
  ~Child() { kill(); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

class PosixStorageTest : public testing::TestWithParam<int> {
 protected:
  static PosixStorageOptions options() {
    return {
        .use_io_uring = (GetParam() & 1) == 0, .use_direct = (GetParam() & 2) == 0, .use_dsync = (GetParam() & 4) == 0};
  }
  void SetUp() override { ASSERT_FALSE(directory_.path().empty()); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  std::unique_ptr<File> create(const std::string& name) {
    Result<std::unique_ptr<File>> file = storage_->open(path(name), OpenMode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status().to_string();
    return file.ok() ? std::move(*file) : nullptr;
  }
  std::string contents(const std::string& name) {
    Result<std::string> all = read_whole(*storage_, path(name), 1u << 30);
    EXPECT_TRUE(all.ok()) << all.status().to_string();
    return all.ok() ? *all : std::string();
  }
  /// Writes `count` frames of 1 to 4 sectors in a shuffled order, `depth` in flight, over two files; all must be there.
  void write_many_frames(Storage& storage, const std::string& directory, unsigned depth, unsigned count);

  TemporaryDirectory directory_{default_parent()};
  std::shared_ptr<Storage> storage_ = make_posix_storage(options());
};

INSTANTIATE_TEST_SUITE_P(Fallbacks, PosixStorageTest, testing::Range(0, 8),
                         [](const testing::TestParamInfo<int>& info) {
                           std::string name;
                           if (info.param & 1) name += "no_uring_";
                           if (info.param & 2) name += "no_direct_";
                           if (info.param & 4) name += "no_dsync_";
                           return name.empty() ? std::string("all") : name.substr(0, name.size() - 1);
                         });

TEST_P(PosixStorageTest, what_was_written_is_read_back) {
  Random random(1);
  auto file = create("a");
  ASSERT_TRUE(file);
  const std::string data = random_bytes(random, 100'001);
  ASSERT_TRUE(file->write(0, std::string_view(data).substr(0, 5000)).ok());
  ASSERT_TRUE(file->write(5000, std::string_view(data).substr(5000)).ok());
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(*file->size(), data.size());
  EXPECT_EQ(contents("a"), data);
  EXPECT_EQ(file->path(), path("a"));
  ASSERT_TRUE(storage_->open(path("a"), OpenMode::kReadWrite).ok());
  EXPECT_EQ(contents("a"), data);
  ASSERT_TRUE(storage_->open(path("a"), OpenMode::kCreate).ok());
  EXPECT_EQ(contents("a"), "");
}

TEST_P(PosixStorageTest, a_short_read_means_the_end_of_the_file_and_nothing_else) {
  auto file = create("a");
  ASSERT_TRUE(file->write(0, std::string(10'000, 'x')).ok());
  ASSERT_TRUE(file->sync().ok());
  AlignedBuffer buffer(3 * kSectorBytes);
  using Read = Result<std::size_t> (File::*)(std::uint64_t, std::span<char>);
  for (const Read read : {&File::read, &File::read_direct}) {
    EXPECT_EQ(*(file.get()->*read)(0, buffer.span()), 10'000u);
    EXPECT_EQ(*(file.get()->*read)(4096, buffer.span()), 10'000u - 4096);
    EXPECT_EQ(*(file.get()->*read)(8192, buffer.span().first(4096)), 10'000u - 8192);
    EXPECT_EQ(*(file.get()->*read)(12288, buffer.span()), 0u);
    EXPECT_EQ(*(file.get()->*read)(~std::uint64_t{0} - 4095, buffer.span()), 0u);
    EXPECT_EQ(*(file.get()->*read)(std::uint64_t{1} << 62, buffer.span()), 0u);
    EXPECT_EQ(*(file.get()->*read)((std::uint64_t{1} << 63) - 4096, buffer.span()), 0u);
    EXPECT_EQ(*(file.get()->*read)(0, buffer.span().first(8192)), 8192u);
  }
}

TEST_P(PosixStorageTest, hints_change_no_answer) {
  auto file = create("a");
  const std::string text(100'000, 'h');
  ASSERT_TRUE(file->write(0, text).ok());
  file->expect_reads_anywhere();
  file->expect_read(50'000, 1 << 20);
  file->expect_read(~std::uint64_t{0} - 1, 2);
  EXPECT_EQ(contents("a"), text);
  std::string got(text.size() + 1, '\0');
  EXPECT_EQ(*file->read(0, got), text.size());
  EXPECT_EQ(got.substr(0, text.size()), text);
}

TEST_P(PosixStorageTest, a_direct_read_stays_with_its_file_when_the_name_moves) {
  AlignedBuffer buffer(kSectorBytes);
  auto file = create("a");
  ASSERT_TRUE(file->write(0, std::string(kSectorBytes, 'a')).ok());
  ASSERT_TRUE(file->sync().ok());
  ASSERT_TRUE(storage_->rename(path("a"), path("b")).ok());
  auto other = create("a");
  ASSERT_TRUE(other->write(0, std::string(kSectorBytes, 'z')).ok());
  ASSERT_EQ(*file->read_direct(0, buffer.span()), kSectorBytes);
  EXPECT_EQ(buffer.view(), std::string(kSectorBytes, 'a'));
}

TEST_P(PosixStorageTest, allocated_space_reads_as_zero_and_keeps_what_was_there) {
  auto file = create("a");
  ASSERT_TRUE(file->write(0, "head").ok());
  ASSERT_TRUE(file->allocate(1 << 20).ok());
  EXPECT_EQ(contents("a"), "head" + std::string((1 << 20) - 4, '\0'));
  ASSERT_TRUE(file->allocate(100).ok());
  EXPECT_EQ(*file->size(), std::uint64_t{1} << 20);
  EXPECT_FALSE(file->allocate(~std::uint64_t{0}).ok());
}

void PosixStorageTest::write_many_frames(Storage& storage, const std::string& directory, unsigned depth,
                                         unsigned count) {
  constexpr std::size_t kSlotBytes = 4 * kSectorBytes;
  std::unique_ptr<File> files[2];
  for (int i = 0; i < 2; ++i) {
    Result<std::unique_ptr<File>> file = storage.open(directory + "/frames" + std::to_string(i), OpenMode::kCreate);
    ASSERT_TRUE(file.ok()) << file.status().to_string();
    files[i] = std::move(*file);
    ASSERT_TRUE(files[i]->allocate(count * kSlotBytes).ok());
  }
  Random random(depth * 1000 + count);
  std::vector<unsigned> order(count);
  for (unsigned i = 0; i < count; ++i) order[i] = i;
  for (unsigned i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  std::map<unsigned, AlignedBuffer> frames;
  std::map<unsigned, unsigned> completed;
  auto queue = storage.make_frame_queue(depth);
  std::vector<FrameCompletion> done;
  const auto check = [&] {
    for (const FrameCompletion& c : done) {
      EXPECT_TRUE(c.status.ok()) << c.status.to_string();
      const auto tag = static_cast<unsigned>(c.tag);
      ++completed[tag];
      std::string back(frames[tag].size(), '\0');
      EXPECT_EQ(*files[tag % 2]->read(tag * kSlotBytes, back), back.size());
      EXPECT_EQ(back, frames[tag].view()) << "frame " << tag;
    }
    done.clear();
  };
  std::size_t started = 0;
  for (const unsigned i : order) {
    AlignedBuffer& frame = frames[i] = AlignedBuffer((1 + random.below(4)) * kSectorBytes);
    fill(frame, i);
    queue->submit({.file = files[i % 2].get(), .offset = i * kSlotBytes, .data = frame.view(), .tag = i});
    ++started;
    if (random.one_in(3)) queue->reap(false, done);
    while (queue->in_flight() > depth + 2) queue->reap(true, done);  // over the depth too: the queue holds them back
    check();
    EXPECT_EQ(queue->in_flight() + completed.size(), started);
  }
  while (queue->in_flight() > 0) {
    queue->reap(true, done);
    EXPECT_FALSE(done.empty());
    check();
  }
  queue->reap(true, done);
  EXPECT_TRUE(done.empty());
  EXPECT_EQ(completed.size(), count);
  for (const auto& [tag, times] : completed) EXPECT_EQ(times, 1u) << "frame " << tag;
}

TEST_P(PosixStorageTest, many_frames_in_flight_are_each_completed_once_and_whole) {
  write_many_frames(*storage_, directory_.path(), 1, 12);
  write_many_frames(*storage_, directory_.path(), 16, 120);
}

TEST_P(PosixStorageTest, frames_may_grow_a_file_that_is_read_and_written_through_the_cache) {
  auto file = create("a");
  ASSERT_TRUE(file->write(0, std::string(kSectorBytes, 'h')).ok());
  AlignedBuffer frame(2 * kSectorBytes);
  fill(frame, 7);
  std::string head(kSectorBytes, '\0');
  ASSERT_TRUE(file->read(0, head).ok());
  auto queue = storage_->make_frame_queue(4);
  queue->submit({.file = file.get(), .offset = kSectorBytes, .data = frame.view(), .tag = 5});
  std::vector<FrameCompletion> done;
  queue->reap(true, done);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].tag, 5u);
  ASSERT_TRUE(done[0].status.ok()) << done[0].status.to_string();
  EXPECT_EQ(contents("a"), std::string(kSectorBytes, 'h') + std::string(frame.view()));
}

TEST_P(PosixStorageTest, a_frame_to_a_file_opened_for_reading_fails_and_names_the_file) {
  create("a");
  auto file = std::move(*storage_->open(path("a"), OpenMode::kRead));
  AlignedBuffer frame(kSectorBytes);
  fill(frame, 1);
  auto queue = storage_->make_frame_queue(4);
  queue->submit({.file = file.get(), .offset = 2 * kSectorBytes, .data = frame.view(), .tag = 9});
  std::vector<FrameCompletion> done;
  queue->reap(true, done);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].tag, 9u);
  EXPECT_TRUE(done[0].status.is(Code::kIoError)) << done[0].status.to_string();
  EXPECT_EQ(done[0].status.where().file, path("a"));
  EXPECT_EQ(done[0].status.where().offset, 2 * kSectorBytes);
}

TEST_P(PosixStorageTest, a_frame_of_which_only_a_part_fits_is_never_ok) {
  auto file = create("a");
  AlignedBuffer frame(2 * kSectorBytes);
  fill(frame, 1);
  auto queue = storage_->make_frame_queue(4);
  // A limit in the middle of the frame makes the kernel write its first half and say so.
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { .rlim_cur = 2 * kSectorBytes, .rlim_max = old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::vector<FrameCompletion> done;
  queue->submit({.file = file.get(), .offset = kSectorBytes, .data = frame.view(), .tag = 1});
  queue->reap(true, done);
  const Status written = file->write(kSectorBytes, frame.view());
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, old_handler);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_TRUE(done[0].status.is(Code::kIoError)) << done[0].status.to_string();
  EXPECT_TRUE(written.is(Code::kIoError)) << written.to_string();
  EXPECT_EQ(written.where().offset, 2 * kSectorBytes);
  EXPECT_EQ(*file->size(), 2 * kSectorBytes);
}

TEST_P(PosixStorageTest, a_queue_may_go_with_frames_in_flight) {
  auto file = create("a");
  std::vector<AlignedBuffer> frames;
  for (int i = 0; i < 12; ++i) {
    frames.emplace_back(16 * kSectorBytes);
    fill(frames.back(), 3);
  }
  auto queue = storage_->make_frame_queue(4);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    queue->submit({.file = file.get(), .offset = i * 16 * kSectorBytes, .data = frames[i].view(), .tag = i});
  }
  queue.reset();
  for (AlignedBuffer& frame : frames)
    std::memset(frame.data(), 0, frame.size());  // what came after must not reach the disk
  const std::string all = contents("a");
  for (std::size_t i = 0; (i + 1) * 16 * kSectorBytes <= all.size(); ++i) {
    AlignedBuffer expected(16 * kSectorBytes);
    fill(expected, 3);
    const std::string_view found = std::string_view(all).substr(i * 16 * kSectorBytes, 16 * kSectorBytes);
    EXPECT_TRUE(found == expected.view() || found.find_first_not_of('\0') == std::string_view::npos) << "frame " << i;
  }
}

TEST_P(PosixStorageTest, a_batch_reads_what_single_reads_do) {
  Random random(11);
  auto a = create("a");
  auto b = create("b");
  ASSERT_TRUE(a->write(0, random_bytes(random, 300'000)).ok());
  ASSERT_TRUE(b->write(0, random_bytes(random, 77)).ok());
  ::posix_fadvise(static_cast<PosixFile&>(*a).fd(), 0, 0, POSIX_FADV_DONTNEED);
  const auto try_batch = [&](std::uint64_t seed, std::size_t count) {
    Random dice(seed);
    std::vector<std::string> buffers(count);
    std::vector<ReadRequest> requests(count);
    for (std::size_t i = 0; i < count; ++i) {
      buffers[i].resize(dice.below(9000));
      requests[i].file = dice.one_in(4) ? b.get() : a.get();
      requests[i].offset = dice.one_in(20) ? ~std::uint64_t{0} - dice.below(5000) : dice.below(310'000);
      requests[i].out = buffers[i];
    }
    std::vector<int> told(count);
    storage_->read_batch(requests, [&](const ReadRequest& request) {
      ++told[static_cast<std::size_t>(&request - requests.data())];
      EXPECT_TRUE(request.status.ok());
    });
    EXPECT_EQ(told, std::vector<int>(count, 1)) << "seed " << seed;
    for (std::size_t i = 0; i < count; ++i) {
      std::string expected(buffers[i].size(), '\0');
      ASSERT_TRUE(requests[i].status.ok()) << requests[i].status.to_string();
      ASSERT_EQ(requests[i].bytes_read, *requests[i].file->read(requests[i].offset, expected))
          << "request " << i << " seed " << seed;
      ASSERT_EQ(buffers[i].substr(0, requests[i].bytes_read), expected.substr(0, requests[i].bytes_read))
          << "request " << i << " seed " << seed;
    }
  };
  for (const std::size_t count : {0, 1, 2, 63, 64, 65, 200}) try_batch(count, count);
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 20; ++i) try_batch(100 * t + i, 40);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_P(PosixStorageTest, a_batch_throws_what_is_thrown_at_one_of_its_reads) {
  auto a = create("a");
  ASSERT_TRUE(a->write(0, std::string(100 * kSectorBytes, 'a')).ok());
  std::string out(100 * kSectorBytes, '.');
  std::vector<ReadRequest> requests(100);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].file = a.get();
    requests[i].offset = i * kSectorBytes;
    requests[i].out = {out.data() + i * kSectorBytes, kSectorBytes};
  }
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(storage_->read_batch(requests, [](const ReadRequest&) { throw std::bad_alloc(); }), std::bad_alloc);
  }
  std::size_t done = 0;
  storage_->read_batch(requests, [&](const ReadRequest&) { ++done; });
  EXPECT_EQ(done, requests.size());
  EXPECT_EQ(out, std::string(out.size(), 'a'));
}

TEST_P(PosixStorageTest, a_failed_read_in_a_batch_hurts_no_other) {
  auto a = create("a");
  ASSERT_TRUE(a->write(0, "abcdef").ok());
  const int write_only = ::open(path("a").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(write_only, 0);
  PosixFile unreadable(std::make_shared<PosixBackend>(), path("unreadable"), Descriptor(write_only), true);
  std::string out[3] = {std::string(6, '.'), std::string(6, '.'), std::string(6, '.')};
  ReadRequest requests[3];
  for (int i = 0; i < 3; ++i) {
    requests[i].file = i == 1 ? &unreadable : a.get();
    requests[i].out = out[i];
  }
  storage_->read_batch(requests, [](const ReadRequest&) {});
  EXPECT_TRUE(requests[1].status.is(Code::kIoError));
  EXPECT_EQ(requests[1].status.where().file, path("unreadable"));
  EXPECT_EQ(requests[1].bytes_read, 0u);
  EXPECT_EQ(out[0], "abcdef");
  EXPECT_EQ(out[2], "abcdef");
}

TEST_P(PosixStorageTest, the_lock_is_refused_to_a_second_holder_in_the_same_process) {
  auto held = storage_->lock(path("lock"));
  ASSERT_TRUE(held.ok()) << held.status().to_string();
  { auto looked_at = storage_->open(path("lock"), OpenMode::kRead); }  // a close elsewhere must not drop the lock
  for (const auto& storage : {storage_, make_posix_storage(options())}) {
    const Status second = storage->lock(path("lock")).status();
    EXPECT_TRUE(second.is(Code::kBusy)) << second.to_string();
    EXPECT_NE(second.message().find(std::to_string(::getpid())), std::string::npos) << second.to_string();
    EXPECT_EQ(second.where().file, path("lock"));
  }
  const std::string before = contents("lock");
  held->reset();
  EXPECT_EQ(contents("lock"), before) << "letting go writes nothing";
  EXPECT_TRUE(storage_->lock(path("lock")).ok());
}

TEST_P(PosixStorageTest, the_lock_of_a_killed_process_is_free) {
  Child child([&] {
    auto* held = new auto(make_posix_storage(options())->lock(path("lock")));
    return held->ok();
  });
  ASSERT_TRUE(child.ready());
  const Status refused = storage_->lock(path("lock")).status();
  EXPECT_TRUE(refused.is(Code::kBusy)) << refused.to_string();
  EXPECT_NE(refused.message().find("process " + std::to_string(child.pid())), std::string::npos) << refused.to_string();
  child.kill();
  auto taken = storage_->lock(path("lock"));
  ASSERT_TRUE(taken.ok()) << taken.status().to_string();
  Child refused_child([&] { return make_posix_storage(options())->lock(path("lock")).status().is(Code::kBusy); });
  EXPECT_TRUE(refused_child.ready());
}

TEST_P(PosixStorageTest, what_a_killed_process_stored_in_a_mapping_is_there) {
  {
    auto file = create("tail");
    ASSERT_TRUE(file->allocate(1 << 20).ok());
  }
  Child child([&] {
    auto mapping = make_posix_storage(options())->map(path("tail"));
    if (!mapping.ok() || (*mapping)->bytes().size() != 1 << 20) return false;
    std::memcpy((*mapping)->bytes().data() + 123'456, "survivor", 8);
    (void)mapping->release();
    return true;
  });
  ASSERT_TRUE(child.ready());
  child.kill();
  EXPECT_EQ(contents("tail").substr(123'456, 8), "survivor");
  auto mapping = storage_->map(path("tail"));
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(std::string((*mapping)->bytes().data() + 123'456, 8), "survivor");
}

TEST_P(PosixStorageTest, of_a_mapping_only_what_is_used_is_in_memory_until_all_is_asked_for) {
  constexpr std::size_t kPages = 1024;
  ASSERT_TRUE(create("tail")->allocate(kPages * 4096).ok());
  auto mapping = storage_->map(path("tail"));
  ASSERT_TRUE(mapping.ok());
  const auto in_memory = [&] {
    unsigned char pages[kPages];
    EXPECT_EQ(::mincore((*mapping)->bytes().data(), kPages * 4096, pages), 0);
    return std::count_if(std::begin(pages), std::end(pages), [](unsigned char page) { return (page & 1) != 0; });
  };
  (*mapping)->bytes()[0] = 'a';
  (*mapping)->bytes()[kPages * 4096 / 2] = 'b';
  EXPECT_LE(in_memory(), 64) << "some file systems have no smaller pieces";
  (*mapping)->prefault();
  constexpr int kPopulateRead = 22;
  if (::madvise((*mapping)->bytes().data(), 4096, kPopulateRead) == 0) EXPECT_EQ(in_memory(), kPages);
}

TEST_P(PosixStorageTest, publish_leaves_the_whole_file_and_no_temporary_one) {
  ASSERT_TRUE(publish(*storage_, directory_.path(), "snap", "old").ok());
  ASSERT_TRUE(publish(*storage_, directory_.path(), "snap", "new contents").ok());
  EXPECT_EQ(contents("snap"), "new contents");
  auto entries = storage_->list(directory_.path());
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ((*entries)[0].name, "snap");
}

TEST_P(PosixStorageTest, a_listing_is_sorted_and_tells_directories_and_sizes) {
  ASSERT_TRUE(storage_->make_directory(path("m")).ok());
  ASSERT_TRUE(storage_->make_directory(path("m")).ok());
  for (const char* name : {"z", "b", "a10", "a9", "B"}) ASSERT_TRUE(create(name)->write(0, name).ok());
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("nowhere", path("dangling").c_str()), 0);
  auto entries = storage_->list(directory_.path());
  ASSERT_TRUE(entries.ok()) << entries.status().to_string();
  std::vector<std::string> names;
  for (const DirectoryEntry& e : *entries) {
    names.push_back(e.name);
    EXPECT_EQ(e.is_directory, e.name == "m");
    if (e.name != "m" && e.name != "fifo" && e.name != "dangling") { EXPECT_EQ(e.bytes, e.name.size()); }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"B", "a10", "a9", "b", "dangling", "fifo", "m", "z"}));
  EXPECT_TRUE(storage_->open(path("fifo"), OpenMode::kReadWrite).status().is(Code::kIoError)) << "and does not hang";
  EXPECT_TRUE(storage_->remove(path("m")).ok());
  EXPECT_TRUE(storage_->sync_directory(directory_.path()).ok());
}

TEST_P(PosixStorageTest, errors_have_their_code_and_name_the_file) {
  const std::string missing = path("missing");
  const auto expect = [](const Status& status, Code code, const std::string& file) {
    EXPECT_TRUE(status.is(code)) << status.to_string();
    EXPECT_EQ(status.where().file, file) << status.to_string();
  };
  expect(storage_->open(missing, OpenMode::kRead).status(), Code::kNotFound, missing);
  expect(storage_->open(missing, OpenMode::kReadWrite).status(), Code::kNotFound, missing);
  expect(storage_->open(missing + "/x", OpenMode::kCreate).status(), Code::kNotFound, missing + "/x");
  expect(storage_->open(directory_.path(), OpenMode::kRead).status(), Code::kIoError, directory_.path());
  expect(storage_->open(path("a") + std::string("\0b", 2), OpenMode::kCreate).status(), Code::kIoError,
         path("a") + std::string("\0b", 2));
  expect(storage_->rename(missing, path("x")), Code::kNotFound, missing);
  expect(storage_->remove(missing), Code::kNotFound, missing);
  expect(storage_->list(missing).status(), Code::kNotFound, missing);
  expect(storage_->make_directory(missing + "/x"), Code::kNotFound, missing + "/x");
  expect(storage_->sync_directory(missing), Code::kNotFound, missing);
  expect(storage_->map(missing).status(), Code::kNotFound, missing);
  expect(storage_->lock(missing + "/lock").status(), Code::kNotFound, missing + "/lock");
  expect(storage_->free_bytes(missing).status(), Code::kNotFound, missing);
  auto file = create("a");
  expect(storage_->map(path("a")).status(), Code::kInvalidArgument, path("a"));
  expect(storage_->make_directory(path("a")), Code::kExists, path("a"));
  expect(storage_->list(path("a")).status(), Code::kIoError, path("a"));
  auto read_only = std::move(*storage_->open(path("a"), OpenMode::kRead));
  expect(read_only->write(5, "x"), Code::kIoError, path("a"));
  EXPECT_EQ(read_only->write(5, "x").where().offset, 5u);
  expect(file->write(~std::uint64_t{0}, "x"), Code::kIoError, path("a"));
}

TEST(PosixStatus, a_full_disk_and_a_refusal_are_told_apart_and_hints_help) {
  EXPECT_TRUE(posix_status(ENOSPC, "write", "f", 7).is(Code::kNoSpace));
  EXPECT_TRUE(posix_status(EDQUOT, "write", "f", 7).is(Code::kNoSpace));
  EXPECT_EQ(posix_status(ENOSPC, "write", "f", 7).where().offset, 7u);
  for (const int error : {EACCES, EPERM, EROFS, EIO}) EXPECT_TRUE(posix_status(error, "open", "f").is(Code::kIoError));
  for (const int error : {EMFILE, ENFILE}) EXPECT_TRUE(posix_status(error, "open", "f").is(Code::kUnavailable));
  EXPECT_TRUE(posix_status(ENOMEM, "open", "f").is(Code::kOutOfMemory));
  for (const int error : {EACCES, EPERM, EROFS, EMFILE, ENFILE, ENOMEM, EIO}) {
    EXPECT_FALSE(posix_status(error, "open", "f").hint().empty());
    EXPECT_FALSE(posix_status(error, "open", "f").where().offset.has_value());
  }
  EXPECT_FALSE(is_refusal(EIO));
  EXPECT_FALSE(is_refusal(ENOSPC));
}

TEST_P(PosixStorageTest, the_machine_is_described) {
  EXPECT_EQ(storage_->boot_id(), make_posix_storage()->boot_id());
  auto free_bytes = storage_->free_bytes(directory_.path());
  ASSERT_TRUE(free_bytes.ok());
  EXPECT_GT(*free_bytes, 0u);
  const std::string said = storage_->describe();
  EXPECT_EQ(said.find("io_uring: switched off") != std::string::npos, !options().use_io_uring) << said;
  EXPECT_EQ(said.find("O_DIRECT: switched off") != std::string::npos, !options().use_direct) << said;
  if (!options().use_io_uring || !options().use_dsync) { EXPECT_EQ(said.rfind("pwrite + fdatasync", 0), 0u) << said; }
}

TEST_P(PosixStorageTest, the_environment_forces_fallbacks) {
  ::setenv("DARUMA_IO", "no_uring,no_direct,no_dsync", 1);
  const std::string said = make_posix_storage(options())->describe();
  ::unsetenv("DARUMA_IO");
  EXPECT_EQ(said, "pwrite + fdatasync (io_uring: switched off, RWF_DSYNC: switched off, O_DIRECT: switched off)");
}

TEST_P(PosixStorageTest, memory_file_systems_work_with_or_without_direct_writes) {
  const TemporaryDirectory memory("/dev/shm");
  if (memory.path().empty()) GTEST_SKIP() << "no /dev/shm to write to";
  write_many_frames(*storage_, memory.path(), 8, 40);
  ASSERT_TRUE(publish(*storage_, memory.path(), "x", "y").ok());
  EXPECT_TRUE(storage_->lock(memory.path() + "/lock").ok());
}

TEST_P(PosixStorageTest, a_file_that_refuses_direct_writes_steps_down_and_loses_nothing) {
  // The refusal is told to the file, as an EINVAL of the kernel would.
  auto file = create("a");
  static_cast<PosixFile&>(*file).refuse_frame_way(PosixFile::FrameWay::kRingDirect);
  auto queue = storage_->make_frame_queue(4);
  AlignedBuffer frame(kSectorBytes);
  std::vector<FrameCompletion> done;
  for (unsigned i = 0; i < 6; ++i) {
    if (i == 3) static_cast<PosixFile&>(*file).refuse_frame_way(PosixFile::FrameWay::kRingCached);
    fill(frame, i);
    queue->submit({.file = file.get(), .offset = i * kSectorBytes, .data = frame.view(), .tag = i});
    done.clear();
    queue->reap(true, done);
    ASSERT_EQ(done.size(), 1u);
    ASSERT_TRUE(done[0].status.ok()) << done[0].status.to_string();
    EXPECT_EQ(contents("a").substr(i * kSectorBytes), frame.view());
  }
}

TEST_P(PosixStorageTest, a_file_that_refuses_every_way_gets_an_error_in_the_end) {
  // A sealed memory file answers each write with EPERM, which is a refusal until the last way has met it too.
  const int fd = ::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::ftruncate(fd, 8 * kSectorBytes), 0);
  ASSERT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  PosixFile sealed(std::make_shared<PosixBackend>(), "sealed", Descriptor(fd), true);
  auto good = create("good");
  auto queue = storage_->make_frame_queue(4);
  AlignedBuffer frame(kSectorBytes);
  fill(frame, 1);
  for (unsigned i = 0; i < 6; ++i) {
    File* const file = i % 2 == 0 ? static_cast<File*>(&sealed) : good.get();
    queue->submit({.file = file, .offset = i * kSectorBytes, .data = frame.view(), .tag = i});
  }
  std::vector<FrameCompletion> done;
  while (queue->in_flight() > 0) queue->reap(true, done);
  ASSERT_EQ(done.size(), 6u);
  for (const FrameCompletion& c : done) {
    EXPECT_EQ(c.status.ok(), c.tag % 2 == 1) << c.tag << ": " << c.status.to_string();
    if (!c.status.ok()) { EXPECT_EQ(c.status.where().offset, c.tag * kSectorBytes); }
  }
  if (options().use_io_uring && options().use_dsync && storage_->describe().rfind("io_uring", 0) == 0) {
    EXPECT_EQ(sealed.frame_way(), PosixFile::FrameWay::kPwrite);
  }
}

}  // namespace
}  // namespace daruma
