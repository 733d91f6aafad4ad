"""The page's one style sheet: light, dark, narrow and printed."""

from __future__ import annotations

# Blue and orange are told apart with every common kind of colour vision (Okabe and Ito, 2008), and no
# chart says by colour alone what it does not also say in words or by shape.
CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f6f7f9; --ink: #1d2229; --soft:
  #56606d;
  --line: #d9dee5; --grid: #e6e9ee; --ref: #0067a5; --other: #828d9b; --worse: #c14a00; --heat: #1f79b8;
  --miss: #d55e00; --focus: #0067a5; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --card: #1c2229; --ink: #e8ebef; --soft: #a3adba; --line: #333c47;
    --grid: #29313a; --ref: #56b4e9; --other: #7f8b99; --worse: #f28e3c; --heat: #1272b6;
    --miss: #c25a10; --focus: #56b4e9; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 2px solid var(--line);
  }
h3 { font-size: 1.05rem; margin: 0 0 .25rem; }
p { margin: .35rem 0; max-width: 46rem; }
a { color: var(--ref); }
bdi { overflow-wrap: anywhere; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 0;
  padding: 0; }
nav a { display: inline-block; padding: .3rem 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.25rem, 1fr)); gap: .5rem
  1.25rem;
  margin: 1rem 0; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric:
  tabular-nums; }
.summary li { margin: .3rem 0; max-width: 50rem; }
.summary { padding-left: 1.2rem; }
.note { border-left: 4px solid var(--worse); padding: .2rem 0 .2rem .8rem; }
figure { margin: 1.75rem 0 2.25rem; }
figcaption { margin-bottom: .75rem; }
.read { color: var(--soft); font-size: .92rem; }
.rows { list-style: none; margin: 0; padding: 0; }
.row { display: grid; grid-template-columns: minmax(0, 17rem) minmax(0, 1fr) 9.5rem; column-gap:
  .9rem;
  align-items: center; break-inside: avoid; }
.row > .who { font-size: .92rem; line-height: 1.3; padding: .25rem 0; }
.row:not(.axis) { overflow-y: clip; }
.rank { display: inline-block; color: var(--soft); min-width: 1.3rem; margin-right: .45rem;
  text-align: right;
  font-size: .8rem; }
.ref .who bdi { color: var(--ref); font-weight: 700; }
.row > .value { font-size: .92rem; line-height: 1.2; padding: .25rem 0; font-variant-numeric:
  tabular-nums; }
.value small { color: var(--soft); display: block; }
.tag { display: inline-block; margin-left: .45rem; font-size: .72rem; font-weight: 400; line-height:
  1; padding: .15rem .35rem; border: 1px solid var(--other);
  border-radius: .3rem; color: var(--soft); white-space: nowrap; }
.tag.untrained { border: 1px dashed var(--ink); color: var(--ink); }
.track { display: block; width: 100%; overflow: visible; }
h4 { margin: .5rem 0; }
td.words { white-space: normal; min-width: 6.2rem; }
.axis { color: var(--soft); font-size: .8rem; }
svg text { fill: currentColor; font: inherit; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); }
.zero { stroke: var(--ink); stroke-width: 1.5; }
.chance { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 4 3; }
.bar { fill: var(--other); } .ref .bar { fill: var(--ref); }
.hatch { stroke: var(--other); stroke-width: 1; }
.halo { stroke: var(--paper); } .whisker { stroke: var(--ink); }
.better { color: var(--ref); } .worse { color: var(--worse); } .none { color: var(--soft); }
.mark { fill: currentColor; stroke: currentColor; }
.thin { stroke: currentColor; stroke-width: 1.5; } .thick { stroke: currentColor; stroke-width: 5; }
.dot-ref { fill: var(--ref); stroke: var(--paper); } .dot-other { fill: var(--paper); stroke:
  var(--worse); stroke-width: 2.5; }
.link { stroke: var(--other); stroke-width: 2; }
.dots .row { grid-template-columns: minmax(0, 15rem) minmax(0, 1fr) 7rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: 0 0 .6rem; padding: 0;
  list-style: none;
  font-size: .88rem; }
.legend svg { vertical-align: -.2em; margin-right: .4rem; }
.plot { padding: .5rem .5rem 2.6rem 3rem; font-size: .8rem; color: var(--soft); }
.plot svg { display: block; width: 100%; overflow: visible; }
.key { columns: 17rem; column-gap: 2rem; list-style: none; margin: .75rem 0 0; padding: 0;
  font-size: .9rem; }
.key li { break-inside: avoid; display: grid; grid-template-columns: 1.6rem 1fr auto; gap: .4rem;
  padding: .1rem 0; font-variant-numeric: tabular-nums; }
.point { fill: var(--other); stroke: var(--paper); stroke-width: 1; } .point.ref { fill: var(--ref);
  }
.point.untrained { fill: var(--paper); stroke: var(--other); stroke-width: 2; }
.points text { fill: var(--ink); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .3rem .35rem; text-align: right; border-bottom: 1px solid var(--line); white-space:
  nowrap; }
thead th { vertical-align: bottom; white-space: normal; font-size: .75rem;
  line-height: 1.25; }
th[scope=row], thead th:first-child, td.words, th.words, th[scope=rowgroup] { text-align: left; }
th[scope=row] { font-weight: 500; white-space: normal; min-width: 8.5rem; max-width: 16rem;
  position: sticky;
  left: 0; background: var(--paper); }
tr.ref { background: var(--card); } tr.ref th[scope=row] { font-weight: 700; color: var(--ref);
  background: var(--card); }
th[scope=rowgroup] { padding-top: 1rem; font-size: .95rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; }
.pair > div { min-width: 0; max-width: 100%; }
.heat { display: block; color: var(--ink); } .heat.narrow { max-width: 100%; height: auto; }
.heat .ground { fill: var(--card); } .heat .right { fill: var(--heat); } .heat .wrong { fill:
  var(--miss); }
.heat .axis-name { fill: var(--soft); }
.cards { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.5rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem;
  break-inside: avoid; margin: 0; }
.card img { display: block; width: 100%; min-width: 60rem; height: auto; border-radius: .3rem; }
.card .scroll { margin-top: .9rem; }
.card .facts { margin: .5rem 0; }
.card .row { grid-template-columns: minmax(0, 14rem) minmax(0, 1fr) 4rem; }
.verdict { font-weight: 700; }
details { margin: 1rem 0; } summary { cursor: pointer; padding: .35rem 0; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; background: var(--card);
  padding: 1rem; border-radius: .5rem; }
footer { color: var(--soft); font-size: .85rem; padding-top: 2rem; padding-bottom: 3rem; }
.defs { position: absolute; }
@media (max-width: 44rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  .row, .dots .row, .card .row { grid-template-columns: minmax(0, 1fr) auto; row-gap: 0;
    padding-bottom: .45rem; }
  .row > .who { grid-area: 1 / 1; } .row > .value { grid-area: 1 / 2; text-align: right; }
  .row > .track { grid-area: 2 / 1 / auto / span 2; overflow-y: clip; }
  .tag { white-space: normal; } .plot { padding-left: 2.4rem; } }
@media print {
  :root { color-scheme: light; } html, body { font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; } .scroll { overflow: visible; } .card img { min-width: 0; }
  table { font-size: 6.5pt; width: 100%; } caption { font-size: 9pt; }
  th, td, thead th, th[scope=row], td.words { padding: .15rem .2rem; min-width: 0; white-space: normal;
    font-size: inherit; position: static; }
  thead th { font-size: 5.5pt; } th[scope=row] { overflow-wrap: anywhere; }
  th[scope=rowgroup] { font-size: 9pt; }
  h2, h3, figcaption { break-after: avoid; } .heat { max-width: 100%; height: auto; } }
"""
