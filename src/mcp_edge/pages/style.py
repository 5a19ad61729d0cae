"""The one stylesheet, light and dark. Contrast: 4.5:1 for text, 3:1 for edges of controls (WCAG 2.2 AA).

Buttons take no pointer for the first second of a page, so that a click meant for the page before, such as the second of
a double-click, presses none. Nothing moves, so the rule holds with reduced motion as well. A style cannot keep a key
from a button; the server does (`auth.server.browser.arming`).
"""

from __future__ import annotations

STYLE = b"""\
:root {
  color-scheme: light dark;
  --paper: #f5f5f2; --card: #ffffff; --ink: #1c1d21; --quiet: #5a5d66; --line: #d9d9d4; --edge: #7b7e88;
  --accent: #1f4fd1; --on-accent: #ffffff; --danger: #a81c1c; --note: #fff5d6; --note-ink: #533f03;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15161a; --card: #1e2026; --ink: #ececef; --quiet: #a9acb6; --line: #34363e; --edge: #7d808b;
    --accent: #9db7ff; --on-accent: #10172c; --danger: #ff9d96; --note: #3a3012; --note-ink: #ffe9ad;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { font: 100%/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere; }
main {
  max-width: 34rem; margin: clamp(0rem, 6vh, 4rem) auto; padding: clamp(1.25rem, 5vw, 2.25rem);
  background: var(--card); border: 1px solid var(--line); border-radius: .9rem;
}
@media (max-width: 36rem) { main { margin: 0; border: 0; border-radius: 0; min-height: 100vh; } }
h1 { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; text-wrap: balance; }
h2 { margin: 0 0 .25rem; font-size: 1.05rem; line-height: 1.35; }
p { margin: 0 0 1rem; }
p:has(+ ul) { margin-bottom: .25rem; }
time { white-space: nowrap; }
a { color: var(--accent); text-underline-offset: .15em; }
.quiet { color: var(--quiet); font-size: .925rem; }
.note { background: var(--note); color: var(--note-ink); border-radius: .5rem; padding: .75rem 1rem; }
code, .host { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .925em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1rem; margin: 0 0 1.25rem; }
dt { color: var(--quiet); }
dd { margin: 0; min-width: 0; }
@media (max-width: 26rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } }
fieldset { margin: 0 0 1.25rem; padding: 0; border: 0; min-width: 0; }
legend { padding: 0; margin-bottom: .5rem; font-weight: 600; }
ul { margin: 0 0 1.25rem; padding-left: 1.2rem; }
ul.plain { padding: 0; list-style: none; }
.option { padding: .6rem 0; border-top: 1px solid var(--line); }
.option label { display: grid; grid-template-columns: auto 1fr; gap: 0 .75rem; cursor: pointer; }
.option input { width: 1.25rem; height: 1.25rem; margin: .15rem 0 0; accent-color: var(--accent); }
.option .quiet { display: block; margin-left: 2rem; }
label.field { display: block; }
label.field span { display: block; margin-bottom: .35rem; font-weight: 600; }
input[type=text], input[type=password] {
  width: 100%; min-height: 2.9rem; margin-bottom: 1.25rem; padding: .5rem .75rem; font: inherit;
  color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: .5rem;
}
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1rem; }
button {
  min-height: 2.9rem; padding: .55rem 1.15rem; font: inherit; font-weight: 600; cursor: pointer;
  color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: .5rem;
  animation: arm 1s steps(1, end) both;
}
@keyframes arm { from { pointer-events: none; } to { pointer-events: auto; } }
button.main { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
button.danger { color: var(--danger); border-color: var(--danger); }
button.link {
  min-height: 1.5rem; padding: 0 .15rem; font-weight: 400; color: var(--accent); background: none; border: 0;
  text-decoration: underline; text-underline-offset: .15em;
}
button.again {
  position: absolute; width: 1px; height: 1px; min-height: 0; padding: 0; border: 0; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}
button:hover { filter: brightness(.94); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .25rem; }
@media (max-width: 26rem) { .buttons button { flex: 1 1 100%; } }
@media (prefers-color-scheme: dark) { button:hover { filter: brightness(1.12); } }
@media (forced-colors: active) { button { border: 1px solid ButtonText; } }
.app { padding: 1rem 0; border-top: 1px solid var(--line); }
.app ul { margin-bottom: .75rem; }
form.inline { display: inline; }
"""
