// SPDX-License-Identifier: Apache-2.0
//
// One self-contained page: what each of kvctl's reports is made of.
//
// What must stay true: text from a store (names, keys, messages) reaches the page through `html` alone, so none of it
// is ever markup; tags are only made in pairs; nothing on the page is fetched from anywhere, and nothing runs.
#pragma once

#include <string>
#include <string_view>

#include "daruma/status.h"

namespace daruma::kvctl {

/// Any bytes as text of a page: what is not printable UTF-8 appears as \xHH.
std::string html(std::string_view bytes);

/// <tag attributes>content</tag>. `content` is markup already; `attributes` too, as `class="x"`.
std::string element(std::string_view tag, std::string_view attributes, std::string_view content);
/// The same around text.
std::string text_in(std::string_view tag, std::string_view text, std::string_view attributes = {});

/// The whole document: style for light and dark, for paper and for a phone.
std::string page(std::string_view title, std::string_view body);

/// Puts `contents` into a new file, or on stdout when it is "-". kExists; kIoError.
Status write_page(const std::string& file, std::string_view contents);

}  // namespace daruma::kvctl
