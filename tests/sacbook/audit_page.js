// Runs in a page into which axe-core was loaded: its serious and critical findings, in light and in dark.
const done = arguments[arguments.length - 1];

async function audit(theme, options) {
  document.documentElement.dataset.theme = theme;
  const found = await axe.run(document, { resultTypes: ["violations"], ...options });
  return found.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .flatMap(({ id, nodes }) => nodes.map((node) => `${theme}, ${id}: ${node.target} ${node.html.slice(0, 90)}`));
}

async function both() {
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
