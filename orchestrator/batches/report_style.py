"""How a report's grids look, beyond what a contact sheet has."""

from __future__ import annotations

GRID_STYLE = """\
h2 { margin: 32px 0 12px; font-size: 1.1rem; font-weight: 600; overflow-wrap: anywhere; white-space: pre-line; }
h3 { margin: 20px 0 8px; font-size: 0.95rem; font-weight: 600; color: var(--soft); }
header p { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-spacing: 10px; }
th { color: var(--soft); font-size: 0.85rem; font-weight: 600; text-align: left; overflow-wrap: anywhere; }
th[scope="row"] {
  position: sticky; left: 0; z-index: 1; min-width: 88px; max-width: 180px; padding: 4px 8px 4px 4px;
  background: var(--page);
}
td { min-width: 180px; max-width: 340px; height: 1px; vertical-align: top; }
td:empty { min-width: 0; }
td figure { height: auto; }
td figure + figure { margin-top: 10px; }
figcaption a { color: inherit; }
figcaption small a { display: inline; }
@media print { .scroll { overflow: visible; } th[scope="row"] { position: static; } }
"""
