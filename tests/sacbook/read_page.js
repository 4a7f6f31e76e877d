// Runs in a page of the book and reports what a reader would see. Colours are read after style and opacity are resolved;
// a text whose background is an image is left out.
const done = arguments[arguments.length - 1];

function visible(element) {
  const shown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return shown && element.getClientRects().length > 0;
}

function label(element) {
  return (element.getAttribute("src") || element.textContent.trim()).slice(0, 80);
}

// Contrast as WCAG 2 defines it.
function parse(colour) {
  const [a, b, c, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return colour.startsWith("color(") ? [a * 255, b * 255, c * 255, alpha] : [a, b, c, alpha];
}

function over(top, below) {
  return [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
}

function luminance(colour) {
  const linear = colour
    .slice(0, 3)
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

// A page has thousands of words of code in few boxes: what is known of an element is kept.
const backgrounds = new Map([[null, [255, 255, 255, 1]]]);
function background(element) {
  if (!backgrounds.has(element)) {
    const style = getComputedStyle(element);
    const colour = parse(style.backgroundColor);
    let below = null;
    if (style.backgroundImage === "none") {
      below = colour[3] === 1 ? colour : background(element.parentElement);
      if (below && colour[3] > 0) below = over(colour, below);
    }
    backgrounds.set(element, below);
  }
  return backgrounds.get(element);
}

function texts() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  const read = new Map();
  while (walker.nextNode()) {
    const { parentElement } = walker.currentNode;
    if (!walker.currentNode.data.trim()) continue;
    if (!read.has(parentElement)) {
      const ignored = parentElement.closest("script, style, noscript, template, svg, mjx-container");
      read.set(parentElement, !ignored && visible(parentElement));
    }
    if (read.get(parentElement)) found.push(walker.currentNode);
  }
  return found;
}

function poorContrast(nodes) {
  const poor = new Set();
  for (const [element, node] of new Map(nodes.map((node) => [node.parentElement, node]))) {
    const style = getComputedStyle(element);
    const below = background(element);
    if (!below) continue;
    const [dark, bright] = [luminance(over(parse(style.color), below)), luminance(below)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      const name = `${element.tagName.toLowerCase()}.${element.className}`;
      poor.add(`${ratio.toFixed(1)}: ${name} "${node.data.trim().slice(0, 40)}"`);
    }
  }
  return [...poor];
}

async function read() {
  if (document.querySelector("script[src*=mathjax]")) await MathJax.startup.promise;
  await document.fonts.ready;
  const images = [...document.images];
  const figures = [...document.querySelectorAll("main figure img, .cell_output img")];
  const formulas = [...document.querySelectorAll("span.math, div.math")];
  const shown = texts();
  const raw = shown.filter((node) => !node.parentElement.closest("pre, code") && /\\\(|\\\[|\$\$/.test(node.data));
  const errors = [...document.querySelectorAll("mjx-merror, [data-mjx-error], mjx-container [mathcolor=red]")];
  const width = document.documentElement.clientWidth;
  const overflow = document.documentElement.scrollWidth - width;
  const wide = [...(overflow > 0 ? document.querySelectorAll("main *") : [])].filter(
    (element) => element.getBoundingClientRect().right > width + 1 && visible(element),
  );
  return {
    title: document.title,
    theme: document.documentElement.dataset.theme,
    withoutAlt: images.filter((image) => !image.alt.trim()).map(label),
    brokenImages: images.filter((image) => image.complete && image.naturalWidth === 0).map(label),
    withoutCaption: figures
      .filter((image) => !image.closest("figure")?.querySelector("figcaption")?.textContent.trim())
      .map(label),
    formulas: formulas.length,
    rawMaths: formulas
      .filter((formula) => !formula.querySelector("mjx-container"))
      .map(label)
      .concat(raw.map((node) => node.data.trim().slice(0, 80))),
    mathErrors: errors.map((element) => element.getAttribute("data-mjx-error") || label(element)),
    poorContrast: poorContrast(shown),
    width,
    overflow,
    tooWide: wide.slice(0, 3).map((element) => `${element.tagName.toLowerCase()}.${element.className}`),
  };
}

read().then(done, (error) => done({ failure: String(error) }));
