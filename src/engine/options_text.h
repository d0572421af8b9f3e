// SPDX-License-Identifier: Apache-2.0
//
// Options as text, "name value" a line, in every manifest: those in force when it was written, for whoever inspects the
// store, and those that a rollout promoted, which are in force from the next start on.
//
// What must stay true: what a rollout promoted goes from manifest to manifest as it stands, whatever options the store
// is opened with in between.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma {

/// Those that have a name in text; each is a number.
std::vector<std::string_view> option_names();
std::string options_text(const Options& options);
/// Sets the options that `text` names; what it says of others is left alone.
void take_options(std::string_view text, Options& options);
std::uint64_t option_value(const Options& options, std::string_view name);
/// Errors: kInvalidArgument (there is none with this name). Limits are checked by `check_options`.
Status set_option(std::string_view name, std::uint64_t value, Options& options);

/// The lines of `text` that tell what was promoted.
std::string promoted_in(std::string_view text);
/// Such a line.
std::string promoted_line(std::string_view name, std::uint64_t value);
/// Sets what the promoted lines of `text` say.
void take_promoted(std::string_view text, Options& options);

}  // namespace daruma
