/** What a payload does where it runs. */
const ACT = "window.ran=1";

/** Markup that runs scripts, or loads, submits or frames, in browsers that take it as markup. */
const MARKUP: readonly string[] = [
  `<script>${ACT}</script>`,
  `<script src="data:text/javascript,${ACT}"></script>`,
  `<script type="module">${ACT}</script>`,
  `<script type="importmap">{"imports":{"preact":"data:text/javascript,${ACT}"}}</script>`,
  `<img src=x onerror=${ACT}>`,
  `<img src=x onerror="${ACT}" alt='"'>`,
  `<img/src=x/onerror=${ACT}>`,
  `<img src="x" title="--><img src=x onerror=${ACT}>">`,
  `<svg onload=${ACT}>`,
  `<svg><script>${ACT}</script></svg>`,
  `<svg><animate onbegin=${ACT} attributeName=x dur=1s>`,
  `<svg><a xlink:href="javascript:${ACT}"><text y=20>x</text></a></svg>`,
  `<svg><foreignObject><iframe srcdoc="<script>parent.${ACT}</script>"></foreignObject></svg>`,
  `<svg><style><img src=x onerror=${ACT}></style></svg>`,
  `<math><mtext><table><mglyph><style><img src=x onerror=${ACT}></style></mglyph></table></mtext></math>`,
  `<math><mi//xlink:href="data:x,<script>${ACT}</script>">`,
  `<form><math><mtext></form><form><mglyph><style></math><img src onerror=${ACT}>`,
  `<iframe src="javascript:parent.${ACT}"></iframe>`,
  `<iframe srcdoc="<img src=x onerror=parent.${ACT}>"></iframe>`,
  `<object data="javascript:${ACT}"></object>`,
  `<embed src="javascript:${ACT}">`,
  `<body onload=${ACT}>`,
  `<video><source onerror=${ACT}></video>`,
  `<audio src=x onerror=${ACT}>`,
  `<details open ontoggle=${ACT}><summary>x</summary></details>`,
  `<input autofocus onfocus=${ACT}>`,
  `<select autofocus onfocus=${ACT}>`,
  `<textarea autofocus onfocus=${ACT}>`,
  `<marquee onstart=${ACT}>x</marquee>`,
  `<div style="animation:breathe 1s" onanimationstart=${ACT}>x</div>`,
  `<div style="background:url(javascript:${ACT})">x</div>`,
  `<style>@import 'data:text/css,*{color:red}';body{display:none}</style>`,
  `<link rel=stylesheet href="data:text/css,body{display:none}">`,
  `<base href="https://evil.example/">`,
  `<meta http-equiv=refresh content="0;url=javascript:${ACT}">`,
  `<a href="javascript:${ACT}" id=hit>x</a>`,
  `<a href="java&#115;cript:${ACT}">x</a>`,
  `<a href="jav\tascript:${ACT}">x</a>`,
  `<a href="data:text/html,<script>${ACT}</script>">x</a>`,
  `<form action="javascript:${ACT}"><button autofocus>x</button></form>`,
  `<button formaction="javascript:${ACT}" form=f>x</button>`,
  `<template><script>${ACT}</script></template>`,
  `<noscript><p title="</noscript><img src=x onerror=${ACT}>">`,
  `<textarea><img title="</textarea><img src=x onerror=${ACT}>"></textarea>`,
  `<x onclick=${ACT} onpointerenter=${ACT} autofocus tabindex=1 onfocus=${ACT}>x</x>`,
  `<p id="app"><p name="body"><p id="cookie">`,
  `<sub onclick=${ACT}>x</sub><br onfocus=${ACT}>`,
];

/** Markdown that becomes links and images. */
const MARKDOWN: readonly string[] = [
  `[x](javascript:${ACT})`,
  `[x](JaVaScRiPt:${ACT})`,
  `[x](  javascript:${ACT})`,
  `[x](java%0ascript:${ACT})`,
  `[x](javascript&colon;${ACT})`,
  `[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)`,
  `[x](vbscript:${ACT})`,
  `[x](<javascript:${ACT}>)`,
  `<javascript:${ACT}>`,
  `[x][y]\n\n[y]: javascript:${ACT}`,
  `![x](x" onerror="${ACT})`,
  `![x"onerror="${ACT}](x)`,
  `![x](javascript:${ACT})`,
  `[x](https://a.example" onmouseover="${ACT})`,
  `[<img src=x onerror=${ACT}>](https://a.example)`,
  `\`\`\`"><img src=x onerror=${ACT}>\nx\n\`\`\``,
  `| a |\n| - |\n| <img src=x onerror=${ACT}> |`,
  `# <svg onload=${ACT}>`,
];

/** The ways in which markup stands among other text. */
const PLACES: readonly ((markup: string) => string)[] = [
  (markup) => markup,
  (markup) => `Before ${markup} behind`,
  (markup) => `- a list\n  - ${markup}`,
  (markup) => `> **bold ${markup}**`,
];

/** Answers that try to become more than text. */
export const PAYLOADS: readonly string[] = [
  ...MARKUP.flatMap((markup) => PLACES.map((place) => place(markup))),
  ...MARKDOWN,
];
