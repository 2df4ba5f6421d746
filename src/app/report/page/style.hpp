#pragma once

namespace th::app {

/// The page's look: by the reader's setting light or dark, and black on white in print.
inline constexpr const char* kPageStyle = R"css(
:root { color-scheme: light dark; --text: #1c1e21; --ground: #ffffff; --soft: #5c6570;
  --line: #d5d9de; --row: #f4f6f8; --link: #1a5fb4; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6ea; --ground: #16181c; --soft: #9aa3ad;
  --line: #3a3f46; --row: #1f2227; --link: #7db3f5; } }
@media print { :root { --text: #000; --ground: #fff; --soft: #444; --line: #999; --row: #fff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.5rem 4rem; color: var(--text);
  background: var(--ground); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; padding-top: 0.5rem;
  border-top: 2px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.4rem; }
a { color: var(--link); }
p { margin: 0.4rem 0; max-width: 60rem; }
p.soft, figcaption, footer { color: var(--soft); font-size: 0.9rem; }
p.trouble { border-left: 4px solid #d8484f; padding-left: 0.7rem; overflow-wrap: anywhere; }
nav { margin: 0.6rem 0; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.4rem 0; font-size: 0.92rem; }
th, td { padding: 0.22rem 0.8rem 0.22rem 0.4rem; text-align: start; vertical-align: top;
  border-bottom: 1px solid var(--line); max-width: 36rem; overflow-wrap: break-word;
  white-space: pre-line; }
thead th { white-space: nowrap; border-bottom: 2px solid var(--line); }
tbody th { font-weight: 600; }
tbody tr:nth-child(even) { background: var(--row); }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr));
  gap: 1.2rem 1.5rem; align-items: start; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure h3 { margin: 0.3rem 0 0; }
figure svg { width: 100%; height: auto; display: block; }
pre { overflow-x: auto; font-size: 0.85rem; background: var(--row); padding: 0.6rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; margin: 0.4rem 0; }
)css";

}  // namespace th::app
