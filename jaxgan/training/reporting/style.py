"""The style sheet and the script of a report. Without the script all is there, side by side; with it pictures are
turned over by a slider."""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1c1d20; --soft: #62656c; --rule: #dddcd6; --box: #f3f2ee;
  --good: #146b3f; --bad: #b3261e; --odd: #8a5a00;
  --c0: #2563ab; --c1: #c2570c; --c2: #2c8a57; --c3: #8a3fa0; --c4: #97752a; --c5: #4a5361 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16171a; --ink: #e9e8e4; --soft: #9da1a8; --rule: #34363c; --box: #212328;
    --good: #58c98b; --bad: #ff8a80; --odd: #e5b567;
    --c0: #7db4f0; --c1: #f0a06a; --c2: #74cf9d; --c3: #cf94e0; --c4: #dcc078; --c5: #aeb6c2 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
p { margin: .4rem 0; max-width: 50rem }
.verdict { border-left: .4rem solid var(--soft); background: var(--box); padding: .6rem .9rem; max-width: none }
.verdict strong { display: block; font-size: 1.25rem }
.learning, .converged { border-color: var(--good) } .learning strong, .converged strong { color: var(--good) }
.collapsed, .diverged, .lost-modes { border-color: var(--bad) }
.collapsed strong, .diverged strong, .lost-modes strong { color: var(--bad) }
.not-begun { border-color: var(--odd) } .not-begun strong { color: var(--odd) }
.soft, figcaption { color: var(--soft); font-size: .875rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule) }
th { color: var(--soft); font-weight: 500 } th, td { overflow-wrap: break-word } td:last-child { min-width: 9rem }
code { font: .85rem/1.45 ui-monospace, monospace }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem 1.5rem }
figure { margin: 0 } svg { width: 100%; height: auto; display: block }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft) } .grid { stroke: var(--rule) }
.line { fill: none; stroke: currentColor; stroke-width: 1.6 } .faint { opacity: .35; stroke-width: 1 }
.band { fill: currentColor; opacity: .16; stroke: none } svg .level { stroke: currentColor; stroke-dasharray: 4 4 }
.dot { fill: currentColor } .c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) }
.c3 { color: var(--c3) } .c4 { color: var(--c4) } .c5 { color: var(--c5) }
.names { font-size: .8rem; margin: 0 } .names span { margin-right: .8rem }
.names span::before { content: ""; display: inline-block; width: .8rem; border-top: 2px solid currentColor;
  vertical-align: middle; margin-right: .3rem }
.names .level::before { border-top-style: dashed } .names b { font-weight: 500; color: var(--ink) }
.frames { display: flex; gap: .6rem; overflow-x: auto; padding-bottom: .4rem }
.frames figure { flex: 0 0 min(85%, 18rem) }
.frames img, .copies { width: 100%; height: auto; display: block; image-rendering: pixelated }
.copies { max-width: 44rem } .turn { display: none }
.js .frames { display: block; max-width: 34rem } .js .frames figure { display: none }
.js .frames figure.shown { display: block }
.js .turn { display: flex; gap: .6rem; align-items: center; max-width: 34rem }
.turn input { flex: 1; min-width: 0; height: 2rem } button { font: inherit; padding: .25rem .8rem; min-width: 4.5rem }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 2rem }
article { min-width: 0; border-top: 2px solid var(--rule); padding-top: 1rem }
details { margin: .8rem 0 } summary { cursor: pointer }
"""

SCRIPT = """
for (const strip of document.querySelectorAll('.strip')) {
  const figures = [...strip.querySelectorAll('.frames figure')], slider = strip.querySelector('input');
  const button = strip.querySelector('button'), last = figures.length - 1;
  let timer = 0;
  const show = () => figures.forEach((figure, at) => figure.classList.toggle('shown', at === +slider.value));
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = 'Play'; };
  const turn = () => {
    slider.value = +slider.value + 1;
    show();
    if (+slider.value === last) stop();
  };
  slider.addEventListener('input', () => { stop(); show(); });
  button.addEventListener('click', () => {
    if (timer) return stop();
    if (+slider.value === last) slider.value = 0;
    show();
    button.textContent = 'Stop';
    timer = setInterval(turn, 250);
  });
  strip.classList.add('js');
  show();
}
"""
