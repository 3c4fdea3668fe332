#include "lockstep/record/report_html_internal.h"

namespace lockstep::record {

const std::string_view kReportStyle = R"css(
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1c2330; --soft: #5b6575; --line: #dfe3ea; --mark: #fff3d6; --mark-ink: #7a4b00;
  --same: #1f8a70; --same-soft: #e3f4ef; --different: #c8372d; --different-soft: #fdeae8; --trouble: #b26a00;
  --trouble-soft: #fff1da; --missing: #a9b1bd; --only-a: #6d5bd0; --only-b: #2b7fc4; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --card: #1a1f28; --ink: #e6e9ef; --soft: #98a2b3; --line: #2d3441; --mark: #3b2f14; --mark-ink: #ffd98a;
  --same: #3fb896; --same-soft: #14302a; --different: #f0695e; --different-soft: #3a1b1a; --trouble: #e7a23c;
  --trouble-soft: #36280f; --missing: #596273; --only-a: #9d8ff0; --only-b: #64aee8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
h2 { font-size: 13px; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 0 0 12px; font-weight: 600; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .93em;
  overflow-wrap: anywhere; }
section, .banner { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 22px;
  margin-bottom: 16px; }
.banner { display: flex; gap: 18px; align-items: center; border-width: 0 0 0 8px; border-style: solid; }
.banner .sign { flex: none; width: 52px; height: 52px; }
.banner .sign circle { fill: currentColor; }
.banner .sign path { fill: none; stroke: var(--card); stroke-width: 3.2; stroke-linecap: round; stroke-linejoin: round; }
.banner h1 { margin: 0; font-size: 27px; line-height: 1.2; letter-spacing: .01em; }
.banner p { margin: 4px 0 0; font-size: 16px; color: var(--ink); }
.banner.same { background: var(--same-soft); border-color: var(--same); } .banner.same h1, .banner.same .sign { color: var(--same); }
.banner.different { background: var(--different-soft); border-color: var(--different); }
.banner.different h1, .banner.different .sign { color: var(--different); }
.banner.trouble { background: var(--trouble-soft); border-color: var(--trouble); }
.banner.trouble h1, .banner.trouble .sign { color: var(--trouble); }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; } .two > * { min-width: 0; }
.badge { display: inline-block; min-width: 26px; text-align: center; border-radius: 6px; font-weight: 700; color: #fff;
  padding: 1px 8px; margin-right: 8px; }
.badge.a { background: var(--only-a); } .badge.b { background: var(--only-b); }
@media (prefers-color-scheme: dark) { .badge { color: #10141b; } }
.run .file { font-weight: 600; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 10px 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.where { font-size: 19px; font-weight: 600; margin: 0 0 14px; overflow-wrap: anywhere; }
.where .sep { color: var(--soft); font-weight: 400; padding: 0 7px; }
.value { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.value b { font-size: 21px; font-weight: 600; display: block; overflow-wrap: anywhere; }
.value .bits { color: var(--soft); }
.facts { margin-top: 14px; }
ul { margin: 0; padding-left: 20px; } li + li { margin-top: 5px; } li { overflow-wrap: anywhere; }
h2.inner { margin: 18px 0 8px; }
.class { font-size: 17px; font-weight: 600; margin: 0 0 6px; } .class + p { margin: 0; }
section.warn { border-left: 8px solid var(--trouble); }
.strip { width: 100%; display: block; } .strip .bed { fill: var(--line); }
.strip .same { fill: var(--same); } .strip .different { fill: var(--different); } .strip .missing { fill: var(--missing); }
.strip .only-a { fill: var(--only-a); } .strip .only-b { fill: var(--only-b); } .strip rect:hover { opacity: .6; }
.pointer { position: relative; height: 22px; } .pointer span { position: absolute;
  color: var(--different); font-weight: 600; font-size: 13px; white-space: nowrap; }
.pointer span.left { margin-left: -.45em; } .pointer span.right { margin-left: .45em; transform: translateX(-100%); }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: 13px; margin-top: 4px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px; margin-top: 8px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; padding-right: 24px; }
table.settings { table-layout: fixed; } table.settings th:first-child { width: 27%; }
tr.kind th { padding-top: 16px; color: var(--ink); } tr.differs td { background: var(--mark); color: var(--mark-ink); }
tr.differs td:first-child { box-shadow: inset 4px 0 0 var(--trouble); padding-left: 12px; font-weight: 600; }
tr.equal td { color: var(--soft); } tr.equal td:first-child { padding-left: 12px; } .bad { color: var(--different); font-weight: 600; }
footer { color: var(--soft); font-size: 13px; text-align: center; }
@media (max-width: 720px) { .two { grid-template-columns: 1fr; } .banner { padding: 16px; } }
@media print { :root { --page: #fff; } body { font-size: 12px; } main { max-width: none; padding: 0; }
  section, .banner { break-inside: avoid; } section.long { break-inside: auto; } tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

}  // namespace lockstep::record
