// SPDX-License-Identifier: Apache-2.0
// A process killed in the middle of a store into the tail ring leaves a ring that is whole: what it had not finished is
// not there, rather than there and damaged.
#include "wal/tail_ring.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "base/random.h"
#include "io/posix_storage.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

TEST(TailRing, IsWholeWheneverItsWriterIsKilled) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const TemporaryDirectory directory;
  ASSERT_FALSE(directory.path().empty());
  const std::string wal = directory.path() + "/wal";
  const std::shared_ptr<Storage> storage = make_posix_storage({});
  ASSERT_TRUE(storage->make_directory(wal).ok());
  const TailHeader header{{1, 2}, 77, kMinTailBytes, 5};
  const std::string path = wal + "/" + tail_name(header.nonce);
  for (int kill = 0; kill < 60; ++kill) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      Result<std::unique_ptr<TailRing>> made = TailRing::create(*storage, path, header, 0);
      if (!made.ok() || ::write(ready[1], "r", 1) != 1) ::_exit(3);
      TailRing& ring = **made;
      const std::string event(40'000, 'e');
      for (Sequence sequence = 1;; ++sequence) {
        if (!ring.fits(event.size())) ring.release(ring.head(), sequence - 1);
        ring.push({sequence, event});
      }
    }
    char word = 0;
    ASSERT_EQ(::read(ready[0], &word, 1), 1);
    ::usleep(static_cast<useconds_t>(random.below(3000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child stopped by itself";
    ::close(ready[0]);
    ::close(ready[1]);
    const TailScan scan = read_tail(*storage, directory.path(), header.store, header.nonce);
    ASSERT_TRUE(scan.status.ok()) << scan.status.to_string();
    EXPECT_TRUE(scan.mark_known);
    EXPECT_FALSE(scan.torn_end) << "kill " << kill;
    EXPECT_TRUE(scan.whole) << "kill " << kill;
  }
}

}  // namespace
}  // namespace daruma
