// SPDX-License-Identifier: Apache-2.0
#include "kvctl/html.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kvctl/command.h"

namespace daruma::kvctl {

namespace {

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#59636e;--line:#d8dee4;--card:#f6f8fa;--ok:#2da44e;
--heal:#0969da;--torn:#bf8700;--bad:#cf222e;--idle:#afb8c1;--accent:#8250df}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#30363d;--card:#161b22;
--ok:#3fb950;--heal:#58a6ff;--torn:#d29922;--bad:#f85149;--idle:#484f58;--accent:#bc8cff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:60rem;background:var(--bg);color:var(--fg);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .8rem}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
p{margin:.4rem 0 .8rem}
a{color:var(--heal)}
code,pre,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
code{overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem;overflow-x:auto;line-height:1.4;
margin:.6rem 0}
.dim{color:var(--dim)}
.lead{font-size:1.08rem}
.badge{display:inline-block;padding:.1rem .55rem;border-radius:1rem;font-size:.8rem;font-weight:600;
border:1px solid currentColor;margin:0 .3rem .2rem 0;white-space:nowrap}
.ok{color:var(--ok)}.heal{color:var(--heal)}.torn{color:var(--torn)}.bad{color:var(--bad)}.idle{color:var(--dim)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}
.tile b{display:block;font-size:1.15rem;line-height:1.3}
.tile span{color:var(--dim);font-size:.82rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.9rem 1rem;margin:.9rem 0}
.card pre{background:var(--bg)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem .9rem;margin:.4rem 0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.92rem}
.scroll{overflow-x:auto}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:500}
td.n,th.n{text-align:right;white-space:nowrap}
ul{padding-left:1.2rem;margin:.3rem 0}
li{margin:.2rem 0}
.bars>div{display:grid;grid-template-columns:minmax(7rem,22%) 1fr 11rem;gap:.2rem .8rem;align-items:center;margin:.35rem 0}
.bars svg{width:100%;height:1.1rem;display:block;border-radius:3px;background:var(--card)}
.bars .n{text-align:right;font-variant-numeric:tabular-nums}
.strip{margin:.7rem 0}
.strip svg{width:100%;height:1.7rem;display:block;border:1px solid var(--line);border-radius:4px;background:var(--card)}
.strip div{display:flex;justify-content:space-between;gap:1rem;font-size:.82rem;flex-wrap:wrap}
.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.35rem;vertical-align:-1px}
svg .ok{fill:var(--ok)}svg .heal{fill:var(--heal)}svg .torn{fill:var(--torn)}svg .bad{fill:var(--bad)}
svg .idle{fill:var(--idle)}svg .pass{fill:var(--accent)}
i.ok{background:var(--ok)}i.heal{background:var(--heal)}i.torn{background:var(--torn)}i.bad{background:var(--bad)}
i.idle{background:var(--idle)}
ol.time{list-style:none;margin:.4rem 0;padding:0}
ol.time li{position:relative;margin:0;padding:0 0 .7rem 1.5rem;border-left:2px solid var(--line)}
ol.time li:last-child{border-left-color:transparent}
ol.time li::before{content:"";position:absolute;left:-.44rem;top:.4rem;width:.75rem;height:.75rem;border-radius:50%;
background:currentColor;border:2px solid var(--bg)}
ol.time b,ol.time span{color:var(--fg)}
ol.time time{display:block;color:var(--dim);font-size:.82rem}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--dim)}
footer{margin-top:3rem;color:var(--dim);font-size:.85rem}
@media (max-width:36rem){body{padding:1rem .8rem 3rem}.bars>div{grid-template-columns:1fr max-content}
.bars svg{grid-row:2;grid-column:1/3}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}
pre{font-size:.72em}}
@media print{body{max-width:none}.card,.tile{break-inside:avoid}}
)";

}  // namespace

std::string html(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    const std::size_t n = utf8_length(bytes, i);
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default:
        if (n == 0 || c < 0x20 || c == 0x7f)
          out += fmt::format("\\x{:02x}", c);
        else
          out += bytes.substr(i, n);
    }
    i += std::max<std::size_t>(n, 1);
  }
  return out;
}

std::string element(std::string_view tag, std::string_view attributes, std::string_view content) {
  return fmt::format("<{}{}{}>{}</{}>", tag, attributes.empty() ? "" : " ", attributes, content, tag);
}

std::string text_in(std::string_view tag, std::string_view text, std::string_view attributes) {
  return element(tag, attributes, html(text));
}

std::string page(std::string_view title, std::string_view body) {
  const std::string head =
      "<meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">" +
      text_in("title", title) + element("style", "", kStyle);
  return "<!DOCTYPE html>\n" + element("html", "lang=\"en\"", element("head", "", head) + element("body", "", body)) +
         "\n";
}

Status write_page(const std::string& file, std::string_view contents) {
  if (file == "-") return write_out(contents);
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return {Code::kExists, "there is something already", {.file = file}};
  if (fd < 0) return {Code::kIoError, fmt::format("cannot write the page: {}", strerror(errno)), {.file = file}};
  Status written;
  while (!contents.empty() && written.ok()) {
    const ssize_t n = ::write(fd, contents.data(), contents.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) written = {Code::kIoError, fmt::format("cannot write the page: {}", strerror(errno)), {.file = file}};
    if (n > 0) contents.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::close(fd) != 0 && written.ok())
    written = {Code::kIoError, fmt::format("cannot write the page: {}", strerror(errno)), {.file = file}};
  if (!written.ok()) ::unlink(file.c_str());
  return written;
}

}  // namespace daruma::kvctl
