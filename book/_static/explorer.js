// The explorer: the interactive figure of sacbook/explorer.py. It computes no statistics: AUCs, intervals and bounds stand
// in the page as sacutils.evaluation computed them. Here models are counted, values are looked up, and all is drawn.
(() => {
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const NONE = 255;
  const CONTROLS = {
    attack: "Attack",
    negatives: "Independent models",
    probes: "Probe set",
    form: "Output form or score",
    n: "Number of probes",
  };
  const LEAD =
    "Each dot is a model, placed by its distance to the source, and a test calls every model left of the threshold stolen. " +
    "Move the threshold, or choose other models and probes: how many stolen models are found, and how many independent ones are accused?";
  // Half sizes: a marker is drawn around (0, 0).
  const MARKERS = {
    o: "M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0Z",
    "^": "M0,-5.5L5.5,4.5L-5.5,4.5Z",
    v: "M0,5.5L5.5,-4.5L-5.5,-4.5Z",
    s: "M-4.6,-4.6H4.6V4.6H-4.6Z",
    P: "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
  };

  function element(space, name, attributes, children) {
    const made = document.createElementNS(`http://www.w3.org/${space}`, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  const h = (name, attributes = {}, ...children) => element("1999/xhtml", name, attributes, children);
  const s = (name, attributes = {}, ...children) => element("2000/svg", name, attributes, children);

  function bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  // ---- what the page knows -------------------------------------------------------------------------------------------

  function read(text) {
    const data = JSON.parse(text);
    data.offsets = [];
    let offset = 0;
    for (const group of data.groups) {
      data.offsets.push(offset);
      offset += 2 * (group.models.length + 1);
    }
    for (const test of data.tests) {
      const view = new DataView(bytes(test.distances).buffer);
      test.distances = data.models.map((_, i) => view.getFloat32(4 * i, true));
      test.auc = bytes(test.auc);
      test.bounds = bytes(test.bounds);
    }
    // every combination that was measured
    data.choices = data.tests.flatMap((test) =>
      data.comparisons
        .map(({ attack, negatives }, i) => ({ attack, negatives, probes: test.probes, form: test.form, n: test.n, test, i }))
        .filter((choice) => test.auc[3 * choice.i] !== NONE),
    );
    return data;
  }

  // The measured combination with this value of one control that keeps most of the others.
  function nearest(data, wanted, control) {
    const kept = (choice) => Object.keys(CONTROLS).filter((name) => choice[name] === wanted[name]).length;
    const found = data.choices.filter((choice) => !control || choice[control] === wanted[control]);
    return found.reduce((best, choice) => (kept(choice) > kept(best) ? choice : best));
  }

  // Places of the models of both groups by distance.
  function compared(data, choice) {
    const sides = ["stolen", "independent"].map((side) => {
      const place = data.comparisons[choice.i][side];
      const models = [...data.groups[place].models].sort((a, b) => choice.test.distances[a] - choice.test.distances[b]);
      return { place, models, name: data.groups[place].name };
    });
    return { stolen: sides[0], independent: sides[1], all: sides.flatMap((side) => side.models) };
  }

  const below = (choice, models, threshold) => models.filter((i) => choice.test.distances[i] < threshold).length;

  // A share of a group as a text, with the bounds that belong to so many models found.
  function share(data, choice, side, found) {
    const at = data.offsets[side.place] + 2 * found;
    const [low, high] = choice.test.bounds.subarray(at, at + 2);
    const n = side.models.length;
    return `${found} of ${n}: ${Math.round((100 * found) / n)}\u00a0% [${low}\u00a0%, ${high}\u00a0%]`;
  }

  function auc(choice) {
    return [...choice.test.auc.subarray(3 * choice.i, 3 * choice.i + 3)];
  }
  const decimal = (percent) => (percent / 100).toFixed(2);
  const aucText = ([value, low, high]) => `${decimal(value)} [${decimal(low)}, ${decimal(high)}]`;

  // Thresholds between which the answer changes: below all models, between neighbours, above all.
  function steps(choice, models) {
    const values = [...new Set(models.map((i) => choice.test.distances[i]))].sort((a, b) => a - b);
    const inner = values.slice(1).map((value, k) => (value + values[k]) / 2);
    const last = values[values.length - 1];
    return [values[0] / 2, ...inner, last + 0.02 * (last || 1)];
  }

  // ---- correlation matrices ------------------------------------------------------------------------------------------

  // Outputs of a model in a form, from rounded logits; see sacbook.explorer.coded.
  function outputs(data, choice, model) {
    const { scale, codes, temperatures } = data.answers;
    const text = codes[choice.probes][model];
    const width = text.length / data.answers.shown;
    const [low, high, span] = scale;
    return Array.from({ length: data.answers.shown }, (_, row) => {
      const levels = [...text.slice(row * width, (row + 1) * width)].map((code) => DIGITS.indexOf(code) / 63);
      const top = low + levels[0] * (high - low);
      const logits = levels.slice(1).map((level) => top - span * level * level);
      const mean = logits.reduce((a, b) => a + b) / logits.length;
      const first = logits.indexOf(top);
      if (choice.form === data.forms.logits) return logits;
      if (choice.form === data.forms.centred) return logits.map((z) => z - mean);
      if (choice.form === data.forms.probabilities) return softmax(logits);
      if (choice.form === data.forms.matched) return softmax(logits.map((z) => z / temperatures[choice.probes][model]));
      return softmax(logits.map((_, k) => (k === first ? 1 : 0.01))); // labels, label agreement
    });
  }

  function softmax(values) {
    const most = Math.max(...values);
    const powers = values.map((value) => Math.exp(value - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  function matrix(rows) {
    const unit = rows.map((row) => row.map((value) => value / (Math.hypot(...row) || 1)));
    return unit.map((a) => unit.map((b) => (1 - a.reduce((sum, value, k) => sum + value * b[k], 0)) / 2));
  }

  function drawMatrix(canvas, values, colours) {
    const n = values.length;
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    values.flat().forEach((value, i) => {
      const level = Math.min(1, Math.max(0, value / 0.5)) * (colours.length - 1);
      image.data.set([...colours[Math.round(level)], 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }

  // ---- the figure ----------------------------------------------------------------------------------------------------

  function start(root) {
    const data = read(root.querySelector("script").textContent);
    const state = { choice: nearest(data, data.first), guessing: false, hidden: false, threshold: 0, selected: null, guess: 50 };
    const name = `explorer-${[...document.querySelectorAll(".explorer")].indexOf(root)}`;
    const parts = build(data, name);
    root.prepend(parts.app);
    root.classList.add("live");

    function choose(control, value) {
      const wanted = { ...state.choice, [control]: value };
      state.choice = nearest(data, wanted, control);
      restart();
    }

    // The threshold goes to where it accuses no independent model; before a guess, to the middle.
    function restart() {
      const groups = compared(data, state.choice);
      state.hidden = state.guessing;
      const nearestHonest = state.choice.test.distances[groups.independent.models[0]];
      const places = steps(state.choice, groups.all);
      state.threshold = state.hidden
        ? places[Math.floor(places.length / 2)]
        : places.filter((place) => place < nearestHonest).pop() ?? places[0];
      if (!groups.all.includes(state.selected)) state.selected = groups.stolen.models[0];
      draw();
    }

    function move(threshold) {
      state.threshold = threshold;
      draw();
    }

    function step(by) {
      const places = steps(state.choice, compared(data, state.choice).all);
      if (by === Infinity || by === -Infinity) return move(by > 0 ? places[places.length - 1] : places[0]);
      const after = places.filter((place) => place > state.threshold + 1e-12);
      const before = places.filter((place) => place < state.threshold - 1e-12);
      const rest = by > 0 ? after : before.reverse();
      if (rest.length) move(rest[Math.min(Math.abs(by), rest.length) - 1]);
    }

    function select(by) {
      const { all } = compared(data, state.choice);
      const order = [...all].sort((a, b) => state.choice.test.distances[a] - state.choice.test.distances[b]);
      const next = order.indexOf(state.selected) + by;
      state.selected = order[Math.min(order.length - 1, Math.max(0, next))];
      draw();
    }

    function draw() {
      drawControls(data, parts, state);
      drawStrip(data, parts, state);
      drawNumbers(data, parts, state);
      drawRoc(data, parts, state);
      drawMatrices(data, parts, state);
    }

    for (const [control, field] of Object.entries(parts.fields)) {
      field.addEventListener("change", () => choose(control, control === "n" ? Number(field.value) : field.value));
    }
    parts.toggle.addEventListener("click", () => {
      state.guessing = !state.guessing;
      restart();
    });
    parts.guess.addEventListener("input", () => {
      state.guess = Number(parts.guess.value);
      draw();
    });
    parts.reveal.addEventListener("click", () => {
      state.hidden = false;
      draw();
      parts.verdict.focus();
    });
    const MOVES = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -Infinity, End: Infinity };
    parts.strip.addEventListener("keydown", (event) => {
      if (!(event.key in MOVES) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (event.target === parts.slider) step(MOVES[event.key]);
      else if (event.target === parts.dots && !state.hidden) select(MOVES[event.key]);
    });

    // The pointer: a dot that is pressed is chosen, anything else moves the threshold.
    let dragging = false;
    function at(event) {
      const box = parts.strip.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }
    parts.strip.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const [x, y] = at(event);
      const near = [...parts.places].map(([i, [a, b]]) => [Math.hypot(a - x, b - y), i]).sort((a, b) => a[0] - b[0])[0];
      const onLine = Math.abs(x - parts.scale(state.threshold)) < 8;
      if (!state.hidden && !onLine && near[0] < 12) {
        state.selected = near[1];
        draw();
        return parts.dots.focus({ preventScroll: true });
      }
      dragging = true;
      parts.strip.setPointerCapture(event.pointerId);
      move(Math.max(0, parts.scale.invert(x)));
      parts.slider.focus({ preventScroll: true });
      event.preventDefault();
    });
    parts.strip.addEventListener("pointermove", (event) => {
      if (dragging) move(Math.max(0, parts.scale.invert(at(event)[0])));
    });
    for (const end of ["pointerup", "pointercancel"]) parts.strip.addEventListener(end, () => (dragging = false));

    let width = 0;
    new ResizeObserver(() => {
      if (parts.app.clientWidth !== width) draw();
      width = parts.app.clientWidth;
    }).observe(parts.app);
    restart();
  }

  // Everything that stays; what changes is drawn into it.
  function build(data, name) {
    const fields = {};
    const labels = Object.entries(CONTROLS).map(([control, label]) => {
      fields[control] = h("select", { name: control });
      return h("label", {}, label, fields[control]);
    });
    const toggle = h("button", { type: "button", "aria-pressed": "false" }, "Guess first");
    const words = h("p", { class: "explorer-note explorer-words" });
    const guess = h("input", { type: "range", min: 0, max: 100, step: 5 });
    const guessed = h("output");
    const reveal = h("button", { type: "button" }, "Reveal");
    const ask = h(
      "div",
      { class: "explorer-ask" },
      h("span", {}, "Which dots are stolen? Put the threshold where you would accuse, and guess the AUC: "),
      h("label", {}, h("span", { class: "sr-only" }, "Your guess of the AUC"), guess, guessed),
      reveal,
    );
    const verdict = h("p", { class: "explorer-verdict", tabindex: -1, role: "status" });

    const slider = s("g", { role: "slider", tabindex: 0, "aria-label": "Threshold", "aria-valuemin": 0, class: "explorer-slider" });
    const dots = s("g", { role: "listbox", tabindex: 0, "aria-label": "Models by distance", class: "explorer-dots" });
    const [back, front] = [s("g", { "aria-hidden": "true" }), s("g", { "aria-hidden": "true", class: "explorer-front" })];
    const strip = s("svg", { class: "explorer-strip" }, back, slider, front, dots);
    const roc = s("svg", { class: "explorer-roc", role: "img" });

    const numbers = {};
    const rows = [
      ["tpr", "Stolen models found", "true positive rate"],
      ["fpr", "Independent models accused", "false positive rate"],
      ["auc", "AUC", "over all thresholds"],
    ].map(([key, words, gloss]) => {
      numbers[key] = h("dd", { class: `explorer-${key}` });
      return h("div", {}, h("dt", {}, words, h("small", {}, ` (${gloss})`)), numbers[key]);
    });
    const note = h(
      "p",
      { class: "explorer-note" },
      "In brackets: the one-sided 95\u00a0% bounds of a share, the 95\u00a0% interval of the AUC. They count models of one architecture " +
        "as alike, and are wide because the groups are small.",
    );

    const canvases = [h("canvas", { role: "img" }), h("canvas", { role: "img" })];
    const captions = [h("span"), h("span")];
    const about = h("p", { class: "explorer-about" });
    const shades = data.colours.map((colour) => `rgb(${colour})`).join();
    const scale = h("p", { class: "explorer-scale" }, "0", h("i", { style: `background: linear-gradient(to right, ${shades})` }), "0.5 or more");
    const matrices = h(
      "div",
      { class: "explorer-matrices" },
      ...canvases.map((canvas, k) => h("div", {}, captions[k], canvas)),
      h("div", {}, about, scale),
    );
    const app = h(
      "section",
      { class: "explorer-app", "aria-label": "Explorer" },
      h("p", { class: "explorer-lead" }, LEAD),
      h("div", { class: "explorer-controls" }, ...labels, toggle),
      words,
      ask,
      verdict,
      strip,
      h("div", { class: "explorer-row" }, roc, h("div", {}, h("dl", { "aria-live": "polite" }, ...rows), note)),
      matrices,
    );
    return {
      app, fields, words, toggle, ask, guess, guessed, reveal, verdict, strip, back, front, dots, slider, roc, numbers,
      canvases, captions, about, matrices, name, places: new Map(),
    };
  }

  function drawControls(data, parts, state) {
    for (const [control, field] of Object.entries(parts.fields)) {
      const rows = control === "negatives" ? data.choices.filter((row) => row.attack === state.choice.attack) : data.choices;
      const values = [...new Set(rows.map((row) => row[control]))];
      if (control === "n") values.sort((a, b) => a - b);
      const known = [...field.options].map((option) => option.value);
      if (known.join() !== values.join()) field.replaceChildren(...values.map((value) => h("option", { value }, String(value))));
      field.value = state.choice[control];
    }
    const said = ["attack", "negatives", "probes", "form"].map((control) => state.choice[control]);
    parts.words.replaceChildren(...said.flatMap((name) => [h("b", {}, name), `: ${data.words[name]}. `]));
    parts.toggle.setAttribute("aria-pressed", state.guessing);
    parts.ask.hidden = !state.hidden;
    parts.guess.value = state.guess;
    parts.guessed.textContent = decimal(state.guess);
    parts.verdict.hidden = !state.guessing || state.hidden;
    const { stolen, independent } = compared(data, state.choice);
    const [value, low, high] = auc(state.choice);
    const place = state.guess >= low && state.guess <= high ? "inside" : "outside";
    const found = [stolen, independent].map((side) => below(state.choice, side.models, state.threshold));
    parts.verdict.textContent =
      `You guessed an AUC of ${decimal(state.guess)}; it is ${aucText([value, low, high])}, and your guess lies ${place} the interval. ` +
      `The threshold finds ${found[0]} of ${stolen.models.length} stolen models and accuses ${found[1]} of ` +
      `${independent.models.length} independent ones. Choose something else above to guess again.`;
  }

  // Ticks at 1, 2 or 5 times a power of ten.
  function ticks(most, count) {
    const raw = most / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= raw);
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, k) => Number((k * step).toPrecision(12)));
  }

  // Vertical places of dots, so that none covers another: the free row nearest to the middle.
  function stacked(xs, apart) {
    const ends = [];
    return xs.map((x) => {
      let row = ends.findIndex((end) => x - end >= apart);
      if (row < 0) row = ends.length;
      ends[row] = x;
      return row;
    });
  }

  function marker(look, x, y, more) {
    const path = MARKERS[look.marker] ?? MARKERS.o;
    const fill = look.filled ? look.colour : "var(--explorer-surface)";
    return s("path", { d: path, transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, fill, stroke: look.colour, ...more });
  }

  const PAD = 14;
  const TOP = 30;
  const HIDDEN = { label: "Model", colour: "var(--explorer-muted)", marker: "o", filled: true };

  function drawStrip(data, parts, state) {
    const { choice, threshold } = state;
    const groups = compared(data, choice);
    const width = Math.max(240, parts.app.clientWidth - 2);
    const most = 1.06 * Math.max(...groups.all.map((i) => choice.test.distances[i])) || 1;
    const scale = (value) => PAD + (value / most) * (width - 2 * PAD);
    scale.invert = (x) => Math.min(most, ((x - PAD) / (width - 2 * PAD)) * most);
    parts.scale = scale;
    const lanes = state.hidden
      ? [{ name: `All ${groups.all.length} models of the comparison`, models: groups.all }]
      : [
          { name: `Stolen, ${groups.stolen.name} (${groups.stolen.models.length})`, models: groups.stolen.models },
          {
            name: `Independent, ${groups.independent.name} (${groups.independent.models.length})`,
            models: groups.independent.models,
          },
        ];
    const [front, dots] = [[], []];
    parts.places.clear();
    let y = TOP;
    for (const lane of lanes) {
      const models = [...lane.models].sort((a, b) => choice.test.distances[a] - choice.test.distances[b]);
      const rows = stacked(models.map((i) => scale(choice.test.distances[i])), 11.5);
      const roles = [...new Set(models.map((i) => data.models[i].role))];
      const text = s("text", { x: PAD + 4, y: y + 14, class: "explorer-lane" }, lane.name);
      front.push(text);
      if (roles.length === 1 && !state.hidden) {
        text.setAttribute("x", PAD + 18);
        front.push(marker(data.looks[roles[0]], PAD + 9, y + 10, {}));
      } else if (!state.hidden) {
        let [x, line] = [PAD + 9, y + 32];
        for (const { label, ...look } of roles.map((role) => data.looks[role])) {
          const room = 24 + 6.6 * label.length;
          if (x > PAD + 9 && x + room > width) [x, line, y] = [PAD + 9, line + 18, y + 18];
          front.push(marker(look, x, line - 4, {}), s("text", { x: x + 9, y: line }, label));
          x += room;
        }
        y += 20;
      }
      y += 30;
      models.forEach((i, k) => {
        const place = [scale(choice.test.distances[i]), y + 12 * rows[k]];
        parts.places.set(i, place);
        const look = state.hidden ? HIDDEN : data.looks[data.models[i].role];
        const chosen = !state.hidden && i === state.selected;
        const label = state.hidden ? "Model" : `${data.models[i].label}, ${data.models[i].architecture}`;
        const said = `${label}, distance ${choice.test.distances[i].toFixed(4)}`;
        if (chosen) dots.push(s("circle", { cx: place[0], cy: place[1], r: 9, class: "explorer-ring", "aria-hidden": "true" }));
        dots.push(
          marker(look, ...place, {
            role: "option", id: `${parts.name}-${i}`, "aria-selected": chosen, "aria-label": said,
          }),
        );
        dots[dots.length - 1].append(s("title", {}, said));
      });
      y += 12 * Math.max(0, ...rows) + 16;
    }
    const height = y + 42;
    const x = scale(threshold);
    const axis = [s("line", { x1: PAD, x2: width - PAD, y1: y, y2: y, class: "explorer-axis" })];
    for (const value of ticks(most, width < 450 ? 4 : 7)) {
      axis.push(s("line", { x1: scale(value), x2: scale(value), y1: y, y2: y + 5, class: "explorer-axis" }));
      axis.push(s("text", { x: scale(value), y: y + 18, "text-anchor": "middle" }, String(value)));
    }
    const score = choice.form === data.agreement ? "share of unequal labels" : "correlation distance d to the source";
    axis.push(s("text", { x: width / 2, y: y + 36, "text-anchor": "middle" }, `${score} (0: as the source)`));
    const shade = s("rect", { x: PAD, y: TOP - 8, width: Math.max(0, x - PAD), height: y - TOP + 8, class: "explorer-called" });
    parts.back.replaceChildren(shade, ...axis);
    parts.front.replaceChildren(...front);
    parts.dots.replaceChildren(...dots);
    parts.dots.setAttribute("tabindex", state.hidden ? -1 : 0);
    if (state.hidden) parts.dots.removeAttribute("aria-activedescendant");
    else parts.dots.setAttribute("aria-activedescendant", `${parts.name}-${state.selected}`);

    const places = steps(choice, groups.all);
    const left = x > width / 2;
    parts.slider.setAttribute("aria-valuemax", places.length - 1);
    parts.slider.setAttribute("aria-valuenow", places.filter((place) => place < threshold - 1e-12).length);
    parts.slider.setAttribute("aria-valuetext", threshold.toFixed(4)); // the numbers are announced as they change
    parts.slider.setAttribute("data-threshold", threshold);
    parts.slider.replaceChildren(
      s("rect", { x: x - 12, y: 0, width: 24, height: y, class: "explorer-grip" }),
      s("line", { x1: x, x2: x, y1: 16, y2: y, class: "explorer-line" }),
      s("path", { d: `M${x},22l-8,-9v-9h16v9Z`, class: "explorer-knob" }),
      s(
        "text",
        { x: left ? x - 14 : x + 14, y: 15, "text-anchor": left ? "end" : "start" },
        left ? `called stolen ◂ threshold ${threshold.toFixed(3)}` : `◂ called stolen, threshold ${threshold.toFixed(3)}`,
      ),
    );
    parts.strip.setAttribute("width", width);
    parts.strip.setAttribute("height", height);
    parts.strip.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  function drawNumbers(data, parts, state) {
    const groups = compared(data, state.choice);
    for (const [key, side] of [["tpr", groups.stolen], ["fpr", groups.independent]]) {
      const text = share(data, state.choice, side, below(state.choice, side.models, state.threshold));
      parts.numbers[key].textContent = state.hidden ? "?" : text;
    }
    parts.numbers.auc.textContent = state.hidden ? "?" : aucText(auc(state.choice));
  }

  function drawRoc(data, parts, state) {
    const side = 170;
    const [left, top] = [44, 8];
    const point = (f, t) => [left + f * side, top + (1 - t) * side];
    const drawn = [
      s("rect", { x: left, y: top, width: side, height: side, class: "explorer-frame" }),
      s("line", { x1: left, y1: top + side, x2: left + side, y2: top, class: "explorer-axis" }),
    ];
    for (const value of [0, 0.5, 1]) {
      drawn.push(s("text", { x: point(value, 0)[0], y: top + side + 15, "text-anchor": "middle" }, String(value)));
      drawn.push(s("text", { x: left - 5, y: point(0, value)[1] + 4, "text-anchor": "end" }, String(value)));
    }
    drawn.push(s("text", { x: left + side / 2, y: top + side + 31, "text-anchor": "middle" }, "independent accused"));
    const turned = `translate(12,${top + side / 2}) rotate(-90)`;
    drawn.push(s("text", { transform: turned, "text-anchor": "middle" }, "stolen found"));
    let said = "ROC curve, shown after your guess";
    if (!state.hidden) {
      const groups = compared(data, state.choice);
      const rates = (threshold) =>
        [groups.independent, groups.stolen].map((group) => below(state.choice, group.models, threshold) / group.models.length);
      const line = steps(state.choice, groups.all).map((threshold) => point(...rates(threshold)).join());
      drawn.push(s("polyline", { points: line.join(" "), class: "explorer-curve" }));
      const [f, t] = rates(state.threshold);
      const [x, y] = point(f, t);
      drawn.push(s("circle", { cx: x, cy: y, r: 5.5, class: "explorer-point" }));
      said = `ROC curve. At the threshold ${Math.round(100 * t)} % of the stolen models are found and ${Math.round(100 * f)} % of the independent models accused.`;
    }
    parts.roc.setAttribute("aria-label", said);
    parts.roc.setAttribute("viewBox", `0 0 ${left + side + 10} ${top + side + 38}`);
    parts.roc.setAttribute("width", left + side + 10);
    parts.roc.replaceChildren(...drawn);
  }

  function drawMatrices(data, parts, state) {
    parts.matrices.hidden = state.hidden;
    if (state.hidden) return;
    const { choice, selected } = state;
    const model = data.models[selected];
    const shown = data.answers.shown;
    ["Source", model.label].forEach((label, k) => {
      parts.captions[k].textContent = label;
      parts.canvases[k].setAttribute("aria-label", `Correlation matrix of ${k ? model.label : "the source"} on ${shown} probes`);
      drawMatrix(parts.canvases[k], matrix(outputs(data, choice, k ? 1 + selected : 0)), data.colours);
    });
    const value = choice.test.distances[selected];
    const called = value < state.threshold ? "called stolen" : "not called stolen";
    const agrees = model.fidelity === null ? "" : ` It agrees with the source on ${model.fidelity.toFixed(1)}\u00a0% of the test images.`;
    const less = model.copies_less ? " It copies less than a stranger does." : "";
    parts.about.textContent =
      `Correlation matrices on ${shown} probes, sorted by the source's prediction: dark cells are pairs that a model answers alike. ` +
      `${model.label} (${model.architecture}) has the distance ${value.toFixed(4)} and is ${called}.${agrees}${less} ` +
      "Choose a dot, by click or with the arrow keys, to see another model.";
  }

  const all = () => document.querySelectorAll(".explorer").forEach((root) => root.querySelector("script") && start(root));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
