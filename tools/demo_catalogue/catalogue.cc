// SPDX-License-Identifier: Apache-2.0
#include "demo_catalogue/catalogue.h"

#include <unordered_set>

namespace demo {
namespace {

/// The rest of the line that begins with "Field: "; empty when there is none.
std::string_view field(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(": ")) return line.substr(name.size() + 2);
    at = end + 1;
  }
  return {};
}

std::vector<std::string_view> provided_names(std::string_view list) {
  std::vector<std::string_view> names;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    std::string_view name = list.substr(at, end - at);
    while (name.starts_with(' ')) name.remove_prefix(1);
    name = name.substr(0, name.find_first_of(" ("));
    if (!name.empty()) names.push_back(name);
    at = end + 1;
  }
  return names;
}

std::string joined(std::string_view group, std::string_view id) {
  std::string key(group);
  return key.append("\t").append(id);
}

}  // namespace

std::vector<Entry> Record::entries() const {
  const std::string_view name = field(text, "Package");
  std::vector<Entry> all;
  all.push_back({kPackages, id, text});
  all.push_back({kByMaintainer, joined(field(text, "Maintainer"), id), std::string(name)});
  all.push_back({kBySection, joined(field(text, "Section"), id), std::string(name)});
  for (const std::string_view provided : provided_names(field(text, "Provides"))) {
    all.push_back({kByProvided, joined(provided, id), std::string(name)});
  }
  return all;
}

Catalogue parse_catalogue(std::string_view text, std::size_t limit) {
  Catalogue catalogue;
  std::unordered_set<std::string> ids;
  for (std::size_t at = 0; at < text.size() && catalogue.records.size() < limit;) {
    const std::size_t end = std::min(text.find("\n\n", at), text.size());
    const std::string_view paragraph = text.substr(at, end - at);
    at = std::min(text.find_first_not_of('\n', end), text.size());
    const std::string_view name = field(paragraph, "Package");
    if (name.empty()) continue;
    std::string id(name);
    id.append(" ").append(field(paragraph, "Version")).append(" ").append(field(paragraph, "Architecture"));
    if (!ids.insert(id).second) {
      ++catalogue.doubles;
      continue;
    }
    catalogue.bytes += paragraph.size();
    catalogue.records.push_back({std::move(id), std::string(paragraph)});
  }
  return catalogue;
}

Contents expected_contents(const Catalogue& catalogue, std::size_t count) {
  Contents contents;
  for (std::size_t i = 0; i < count; ++i) {
    for (Entry& entry : catalogue.records[i].entries()) {
      contents[entry.room].insert_or_assign(std::move(entry.key), std::move(entry.value));
    }
  }
  return contents;
}

}  // namespace demo
