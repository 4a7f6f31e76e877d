// Runs in a page into which axe-core was loaded: its serious and critical findings, in light and in dark.
const done = arguments[arguments.length - 1];

// A page has thousands of cells and of words of code that differ in their text only. Three of a kind stay: a kind is an
// element's tag and classes with those of its parent and grandparent, and what goes holds no kind that is rarer. Parts
// that a list needs or that name a link or a button stay.
function thin() {
  const name = (element) => `${element.tagName}.${element.getAttribute("class") ?? ""}`;
  const kinds = new Map();
  for (const element of document.body.querySelectorAll("*")) {
    const { parentElement } = element;
    kinds.set(element, [element, parentElement, parentElement.parentElement].map(name).join());
  }
  const kept = new Map();
  const common = (element) => (kept.get(kinds.get(element)) ?? 0) >= 3;
  const needed = "dt, dd, summary, a *, button *, summary *, label *";
  for (const element of kinds.keys()) {
    if (!element.isConnected) continue;
    if (!element.matches(needed) && common(element) && [...element.querySelectorAll("*")].every(common)) element.remove();
    else kept.set(kinds.get(element), (kept.get(kinds.get(element)) ?? 0) + 1);
  }
}

async function audit(theme, options) {
  document.documentElement.dataset.theme = theme;
  const found = await axe.run(document, { resultTypes: ["violations"], preload: false, ...options });
  return found.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .flatMap(({ id, nodes }) => nodes.map((node) => `${theme}, ${id}: ${node.target} ${node.html.slice(0, 90)}`));
}

async function both() {
  thin();
  const still = "* { transition: none !important; }";
  document.head.appendChild(document.createElement("style")).textContent = still;
  const before = document.documentElement.dataset.theme;
  // a name that lacks the words on the screen is serious, though axe does not look for it by itself
  const light = await audit("light", { rules: { "label-content-name-mismatch": { enabled: true } } });
  // in the dark nothing but colours differs
  const dark = await audit("dark", { runOnly: ["color-contrast", "link-in-text-block"] });
  document.documentElement.dataset.theme = before;
  return light.concat(dark);
}

both().then(done, (error) => done([String(error)]));
