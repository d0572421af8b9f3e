// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/options_in_force.h"

#include "base/status_macros.h"
#include "engine/options_text.h"
#include "io/posix_storage.h"
#include "snapshot/catalogue.h"

namespace daruma::rehearsal {

Result<Options> options_in_force(const std::string& directory) {
  Options options;
  DARUMA_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(*make_posix_storage(), directory, std::nullopt));
  if (const Manifest* newest = catalogue.newest()) {
    take_options(newest->options, options);
    take_promoted(newest->options, options);
  }
  return options;
}

}  // namespace daruma::rehearsal
