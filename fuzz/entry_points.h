// SPDX-License-Identifier: Apache-2.0
//
// One entry point for each decoder and for whole directories, shared by the fuzz programs and by the test that replays
// fuzz/corpus in every build. Each takes any bytes at all; what it holds them to is said here, and a violation aborts.
#pragma once

#include <string_view>

namespace daruma::fuzz {

/// Sequences rise, every record lies in its frame's range, and the scan ends inside the file.
void wal_segment(std::string_view input);

/// Sequences rise and no entry reaches out of the ring. The file is padded to the ring's size.
void wal_tail(std::string_view input);

/// One frame: a header that verifies fits its frame and verifies nowhere else; what decodes encodes to the same bytes,
/// and its records to a frame that gives them back; hurt as parity can mend, by noise or by sectors that cannot be
/// read, or in two copies at different places, it is healed to what it was, and left as it was read when it is not.
/// `input`: u8 a sector; u8 which of the eight from there on are hurt, u8 which of them in the copy; header, footprint,
/// payload, and zeros where it ends before they do.
void wal_frame(std::string_view input);

/// What decodes encodes to the same bytes; a footprint names every key of its event.
void event_and_footprint(std::string_view input);

/// What decodes passes the checks and encodes to something that decodes to the same.
void manifest(std::string_view input);

/// What decodes encodes to something that decodes to the same.
void damage_map(std::string_view input);

/// Whatever stands in the ledger, an entry put behind it is found again, and opening writes nothing.
void quarantine_ledger(std::string_view input);

/// A run of any bytes opens, verifies, and is walked and asked both ways, with answers or a Status; forwards and
/// backwards give the same entries.
void run(std::string_view input);

/// The filter of a run: any is loaded, or its run refused; any hash is answered, and never denied by what did not
/// verify. One that was made of hashes denies none of them, also with a byte of it changed.
/// `input`: u32 lines, u32 blocks, u32 bytes of the section, u16 bits a key; the section, and zeros where it ends
/// before that does. The hashes are the words of the section.
void run_filter(std::string_view input);

/// The contents of a data block: both ways the same entries, and searches for each that end.
void data_block(std::string_view input);

/// What decodes encodes to something that decodes to the same, and a lookup finds each.
void erase_block(std::string_view input);

/// A run's own words on itself.
void run_info(std::string_view input);

/// Whatever the note of a start says, a start that finishes is forgiven all.
void attempts_note(std::string_view input);

/// What decodes encodes to the same bytes.
void scrub_note(std::string_view input);

/// Any text: a document or an error with its place. What is read is written, and read again as the same; as a report,
/// an incident or a live view it is taken without complaint.
void json(std::string_view input);

/// `input` as HurtStore takes it. The store must open, never answer wrongly, and answer the same when it is opened once
/// more.
void recover(std::string_view input);

/// As `recover`, with the checksums mended, as nothing but a forger would: some answer or a refusal, and the end.
void forged(std::string_view input);

/// Lives, deaths and damage of a whole store, decoded from the input, against the model. Has no dictionary: a byte is a
/// choice among as many as there are at its place, so that no word means anything.
void simulation(std::string_view input);

}  // namespace daruma::fuzz
