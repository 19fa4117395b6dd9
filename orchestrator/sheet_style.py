"""How a contact sheet looks, in light and in dark, on a phone and on a wall."""

from __future__ import annotations

STYLE = """\
:root {
  --page: #f5f4f1; --card: #ffffff; --ink: #23211d; --soft: #6b675f; --line: #dedbd3; --blank: #ebe8e1;
  --error: #a8321f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #171614; --card: #22201d; --ink: #ece9e2; --soft: #a39e93; --line: #37342f; --blank: #2c2a26;
    --error: #f08a75;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1600px; padding: clamp(16px, 3vw, 40px); background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header { margin-bottom: 24px; }
h1 { margin: 0; font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em; text-wrap: balance; }
header p { margin: 4px 0 0; color: var(--soft); }
main {
  display: grid; gap: clamp(12px, 1.6vw, 24px); align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr));
}
figure {
  display: flex; flex-direction: column; height: 100%; margin: 0; overflow: hidden;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card);
}
figure a { display: block; }
img { display: block; width: 100%; height: auto; }
.blank {
  display: grid; place-items: center; aspect-ratio: 1; padding: 16px; background: var(--blank); color: var(--soft);
  text-align: center; text-decoration: none;
}
a:focus-visible { outline: 3px solid var(--soft); outline-offset: -3px; }
figcaption { display: flex; flex: 1; flex-direction: column; gap: 8px; padding: 12px 14px; }
figcaption p { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
figcaption small { margin-top: auto; color: var(--soft); font-size: 0.82rem; overflow-wrap: anywhere; }
.error { color: var(--error); }
@media print { body { background: none; } figure { break-inside: avoid; } }
"""
