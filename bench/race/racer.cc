// SPDX-License-Identifier: Apache-2.0
//
// A racer: one store, or the machine itself, and the trials. bench/race.cc runs it, once a trial:
//
//   race_STORE                                        tells its name, version, settings and trials, as JSON
//   race_STORE TRIAL DIRECTORY KEPT SCALE SECONDS     runs one (race::Course says what these are), prints its figures
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/json_writer.h"
#include "race/trials.h"

namespace race {
namespace {

std::vector<Trial> all_trials() {
#ifdef RACE_REFERENCE
  return reference_trials();
#else
  std::vector<Trial> all = write_trials();
  for (auto more : {read_trials(), mixed_trials(), recovery_trials(), growth_trials()}) {
    all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return all;
#endif
}

std::string description(const Contender& store) {
  daruma::JsonWriter out;
  out.begin_object().member("name", store.name).member("version", store.version).member("settings", store.settings);
  out.key("cannot").begin_object();
  for (const auto& [trial, why] : store.cannot) out.member(trial, why);
  out.end().key("trials").begin_array();
  for (const Trial& trial : all_trials()) {
    out.begin_object().member("id", trial.id).member("what", trial.what).member("growth", trial.growth).end();
  }
  out.end().end();
  return out.take();
}

std::string as_json(const Figures& figures) {
  daruma::JsonWriter out;
  out.begin_object();
  for (const auto& [name, value] : figures) out.member(name, value);
  out.end();
  return out.take();
}

int main_of(int argc, char** argv) {
  const Contender store = contender();
  if (argc == 1) return std::puts(description(store).c_str()) < 0;
  for (const Trial& trial : all_trials()) {
    if (argc != 6 || trial.id != argv[1]) continue;
    const Figures figures = trial.run({store, argv[2], argv[3], std::atof(argv[4]), std::atof(argv[5])});
    return std::puts(as_json(figures).c_str()) < 0;
  }
  std::fprintf(stderr, "%s: wrong use; bench/race.cc runs it\n", argv[0]);
  return 2;
}

}  // namespace
}  // namespace race

int main(int argc, char** argv) { return race::main_of(argc, argv); }
