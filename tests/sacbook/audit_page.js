// Runs in a page into which axe-core was loaded: its serious and critical findings, in light and in dark.
const done = arguments[arguments.length - 1];

// The pages are alike, and a page has thousands of cells and of words of code that differ in nothing but their text. So the
// first of a kind is audited in all pages that this browser reads one after the other. A kind is an element's tag and classes
// with those of its parent and grandparent. What is known goes, unless it holds something new, a list, a page or the theme's
// script needs it, or it names a link or a button. Returns what is to be audited.
function thin() {
  const needed = "main, header, h1, dt, dd, summary, input, label, a *, button *, summary *, label *";
  const name = (element) => `${element.tagName}.${element.getAttribute("class") ?? ""}`;
  const kinds = new Map();
  for (const element of document.body.querySelectorAll("*")) {
    const { parentElement } = element;
    kinds.set(element, [element, parentElement, parentElement.parentElement].map(name).join());
  }
  const seen = new Set(JSON.parse(localStorage.getItem("kinds") ?? "[]"));
  const known = (element) => seen.has(kinds.get(element));
  const fresh = [];
  for (const element of kinds.keys()) {
    if (!element.isConnected) continue;
    if (!known(element)) {
      fresh.push(element);
      seen.add(kinds.get(element));
    } else if (!element.matches(needed) && [...element.querySelectorAll("*")].every(known)) {
      element.remove();
    }
  }
  localStorage.setItem("kinds", JSON.stringify([...seen]));
  return fresh;
}

async function audit(theme, include, options) {
  document.documentElement.dataset.theme = theme;
  const found = await axe.run({ include }, { resultTypes: ["violations"], preload: false, ...options });
  return found.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .flatMap(({ id, nodes }) => nodes.map((node) => `${theme}, ${id}: ${node.target} ${node.html.slice(0, 90)}`));
}

async function both() {
  const fresh = thin();
  if (!fresh.length) return [];
  const still = "* { transition: none !important; }";
  document.head.appendChild(document.createElement("style")).textContent = still;
  const before = document.documentElement.dataset.theme;
  // a name that lacks the words on the screen is serious, though axe does not look for it by itself
  const light = await audit("light", fresh, { rules: { "label-content-name-mismatch": { enabled: true } } });
  // in the dark nothing but colours differs
  const dark = await audit("dark", fresh, { runOnly: ["color-contrast", "link-in-text-block"] });
  document.documentElement.dataset.theme = before;
  return light.concat(dark);
}

both().then(done, (error) => done([String(error)]));
