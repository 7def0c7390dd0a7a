"use strict";
// The script of the page of `brooklet report`: runs the core as WebAssembly, and shows it step by step.
// It fetches nothing; its data is in the element `data`.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { replay, input, labels } = data;
  const [rows, columns, channels] = input;
  const byId = (id) => document.getElementById(id);
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const SVG = "http://www.w3.org/2000/svg";

  /// Draws pixels, one for each pixel of the canvas.
  function draw(canvas, pixels) {
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[i * channels + (channels < 3 ? 0 : c)];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  document.querySelectorAll("[data-thumbnail]").forEach((canvas) => {
    draw(canvas, bytesOf(data.thumbnails[canvas.dataset.thumbnail]));
  });
  document.querySelectorAll("[data-copy]").forEach((button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    });
  });

  // The core.
  const module = new WebAssembly.Module(bytesOf(data.core));
  const core = new WebAssembly.Instance(module, {}).exports;
  const model = bytesOf(data.model);
  new Uint8Array(core.memory.buffer, core.model(), model.length).set(model);
  if (core.check(model.length) !== data.arena_bytes) return;

  let pixels = null;
  /// Runs the image for up to this number of steps. Returns the scores if the run reached its end.
  function run(steps) {
    new Uint8Array(core.memory.buffer, core.image(), pixels.length).set(pixels);
    const count = core.run(model.length, steps);
    return count > 0 ? Array.from(new Int32Array(core.memory.buffer, core.scores(), count)) : null;
  }

  // The rows, and the steps at which they are made.
  const END = replay.steps.length;
  const madeAt = replay.layers.map(() => []);
  const doneAt = replay.layers.map(() => 0);
  replay.steps.forEach((layer, at) => {
    const { rows, steps, step_rows } = replay.layers[layer];
    doneAt[layer] += 1;
    const made = doneAt[layer] >= steps ? rows : doneAt[layer] * step_rows;
    while (madeAt[layer].length < made) madeAt[layer].push(at);
  });
  // Several layers may use a place in turn, because each of them updates the row in place.
  const owners = replay.items.map(() => []);
  replay.layers.forEach(({ places }, layer) => {
    places.forEach((item, row) => owners[item].push({ layer, row, from: madeAt[layer][row] }));
  });
  owners.forEach((list) => list.sort((a, b) => a.from - b.from));
  const ownerAt = (item, at) => owners[item].findLast((owner) => owner.from <= at);
  const isLive = ({ life, moments }, at) =>
    life[0] <= at && at < life[1] && (!moments || moments.includes(at));
  // The page first shows the step after which the arena is fullest, because it shows more than the last step.
  const takenAt = replay.steps.map((_, at) =>
    replay.items.reduce((sum, item) => sum + (isLive(item, at) ? item.bytes : 0), 0));
  const FULLEST = takenAt.indexOf(Math.max(...takenAt)) + 1;
  const colour = (layer, light) => `hsl(${(layer * 137.5) % 360} 70% ${light}%)`;

  const strips = new Map();
  document.querySelectorAll("[data-layer]").forEach((box) => {
    const strip = box.querySelector(".strip");
    strips.set(Number(box.dataset.layer), { box, strip, width: strip.querySelector("rect").width.baseVal.value });
  });
  function rectangle(parent, name, x, y, width, height) {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", name);
    for (const [key, value] of Object.entries({ x, y, width, height })) rect.setAttribute(key, value);
    parent.append(rect);
    return rect;
  }

  /// Shows how many rows each layer has made, and which rows are kept.
  function showLayers(at) {
    const kept = new Map();
    replay.items.forEach((item, index) => {
      const owner = !item.scratch && isLive(item, at) && ownerAt(index, at);
      if (owner) kept.set(owner.layer, [...(kept.get(owner.layer) || []), owner.row]);
    });
    for (const [layer, { box, strip, width }] of strips) {
      const each = width / replay.layers[layer].rows;
      strip.querySelectorAll("rect:not(.none)").forEach((rect) => rect.remove());
      const made = madeAt[layer].filter((from) => from <= at).length;
      if (made > 0) rectangle(strip, "made", 0, 0, each * made, 9);
      for (const row of kept.get(layer) || []) rectangle(strip, "kept", each * row, 0, each, 9);
      const now = at < END && replay.steps[at] === layer;
      if (now) {
        madeAt[layer].forEach((from, row) => {
          if (from === at) rectangle(strip, "now", each * row, 0, each, 9);
        });
      }
      box.classList.toggle("active", now);
    }
  }

  /// Number of bytes of the arena in a line of its picture.
  const LINE = 64;
  /// Shows the arena: its bytes, and the layers that they belong to.
  function showArena(at) {
    const lines = Math.ceil(data.arena_bytes / LINE);
    const canvas = byId("bytes");
    canvas.width = LINE;
    canvas.height = lines;
    const context = canvas.getContext("2d");
    const image = context.createImageData(LINE, lines);
    const memory = new Uint8Array(core.memory.buffer, core.arena(), data.arena_bytes);
    for (let i = 0; i < memory.length; i++) {
      // Numbers are int8.
      image.data.fill((memory[i] + 128) & 255, 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    const svg = byId("arena");
    svg.setAttribute("viewBox", `0 0 1 ${data.arena_bytes}`);
    // A row that has the focus keeps it when the step changes.
    const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.item : "";
    svg.replaceChildren();
    let taken = 0;
    replay.items.forEach((item, index) => {
      if (!isLive(item, at)) return;
      taken += item.bytes;
      const owner = item.scratch ? { layer: item.layer } : ownerAt(index, at);
      const layer = owner ? owner.layer : item.layer;
      const rect = rectangle(svg, item.scratch ? "scratch" : "row", 0, item.offset, 1, item.bytes);
      rect.style.fill = colour(layer, 50);
      const what = item.scratch ? "scratch memory" : `row ${owner ? owner.row : 0}`;
      const end = item.offset + item.bytes;
      const words = `${replay.layers[layer].name}: ${what}, bytes ${item.offset} to ${end - 1}`;
      rect.dataset.item = index;
      rect.setAttribute("tabindex", "0");
      rect.setAttribute("role", "img");
      rect.setAttribute("aria-label", words);
      for (const name of ["pointerenter", "focus"]) {
        rect.addEventListener(name, () => {
          byId("owner").textContent = words;
          strips.get(layer).box.classList.add("pointed");
        });
      }
      for (const name of ["pointerleave", "blur"]) {
        rect.addEventListener(name, () => strips.get(layer).box.classList.remove("pointed"));
      }
      if (focused === String(index)) rect.focus();
    });
    return taken;
  }

  const slider = byId("step");
  /// Time of a whole image, and the limit for a picture while the slider moves, in milliseconds.
  let whole = 0;
  const QUICK = 40;
  let later = 0;
  /// Shows the page after this number of steps. While it is `moving` and the core is slow, the arena's
  /// bytes follow once it stands still.
  function show(steps, moving = false) {
    slider.value = steps;
    clearTimeout(later);
    const follows = moving && (whole * steps) / END > QUICK;
    byId("bytes").hidden = follows;
    if (follows) later = setTimeout(() => show(steps), 200);
    else run(steps);
    // The last step that was taken; before the first there is none.
    const at = steps - 1;
    showLayers(at);
    const taken = showArena(at);
    const number = (value) => value.toLocaleString("en");
    const layer = at < 0 ? null : replay.steps[at];
    const row = layer === null ? -1 : madeAt[layer].indexOf(at);
    const what = layer === null ? "Nothing has run yet" : layer === 0 ? `Row ${row} of the image comes in`
      : row < 0 ? `${replay.layers[layer].name} reads a row`
      : `${replay.layers[layer].name} makes row ${row}`;
    byId("at").textContent =
      `Step ${steps} of ${END}. ${what}; ${number(taken)} of ${number(data.arena_bytes)} bytes are in use.`;
    slider.setAttribute("aria-valuetext", `step ${steps}: ${what}`);
  }

  let timer = 0;
  function play(on) {
    clearTimeout(timer);
    timer = 0;
    byId("play").textContent = on ? "❚❚ Pause" : "▶ Play";
    if (!on) return;
    if (Number(slider.value) >= END) slider.value = 0;
    const tick = () => {
      show(Number(slider.value) + 1, true);
      if (Number(slider.value) >= END) return play(false);
      timer = setTimeout(tick, 60);
    };
    timer = setTimeout(tick, 60);
  }
  function go(by) {
    play(false);
    show(Math.min(END, Math.max(0, Number(slider.value) + by)));
  }

  function probabilities(scores) {
    const reals = scores.map((score) => (score - data.zero_point) * data.scale);
    if (data.shown === "itself") return reals;
    if (data.shown === "sigmoid") return reals.map((real) => 1 / (1 + Math.exp(-real)));
    const most = Math.max(...reals);
    const each = reals.map((real) => Math.exp(real - most));
    const sum = each.reduce((a, b) => a + b, 0);
    return each.map((value) => value / sum);
  }

  /// Classifies an image; `known` holds the simulator's scores for it.
  function classify(image, known, words) {
    play(false);
    pixels = image;
    draw(byId("image"), pixels);
    const begin = performance.now();
    const scores = run(0xffffffff);
    const time = performance.now() - begin;
    whole = time;
    if (!scores) return;
    const shares = probabilities(scores);
    const best = shares.map((share, index) => [share, index]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    byId("answer").replaceChildren(...best.slice(0, 5).map(([share, index]) => {
      const item = document.createElement("li");
      const name = document.createElement("span");
      name.textContent = labels[index] || `class ${index}`;
      const value = document.createElement("b");
      value.textContent = data.shown === "itself" ? share.toFixed(3) : `${(100 * share).toFixed(2)} %`;
      const meter = document.createElement("div");
      meter.className = "meter";
      meter.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
      item.append(name, " ", value, meter);
      return item;
    }));
    const same = known && known.length === scores.length && known.every((score, i) => score === scores[i]);
    byId("checked").textContent = [
      words, `${time.toFixed(0)} ms in this page.`,
      known ? (same ? "Its scores are the simulator's, number for number." : "Its scores are not the simulator's!") : "",
    ].filter(Boolean).join(" ");
    byId("checked").dataset.same = known ? String(same) : "unknown";
    byId("checked").dataset.scores = scores.join(" ");
    show(FULLEST);
  }

  const buttons = [...document.querySelectorAll("[data-sample]")];
  buttons.forEach((button) => {
    const sample = data.samples[button.dataset.sample];
    const image = bytesOf(sample.pixels);
    draw(button.querySelector("canvas"), image);
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      const words = `${sample.name}${sample.label ? `, it is ${sample.label}` : ""}; float says ${sample.float}.`;
      classify(image, sample.logits, words);
    });
  });

  /// An image of the user's, resized so that the shorter side fits, and cropped to the centre.
  async function take(file) {
    if (!file || !file.type.startsWith("image/")) return;
    const bitmap = await createImageBitmap(file);
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const scale = Math.max(columns / bitmap.width, rows / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (columns - width) / 2, (rows - height) / 2, width, height);
    const rgba = context.getImageData(0, 0, columns, rows).data;
    const image = new Uint8Array(rows * columns * channels);
    for (let i = 0; i < rows * columns; i++) {
      if (channels >= 3) for (let c = 0; c < 3; c++) image[i * channels + c] = rgba[4 * i + c];
      else image[i] = Math.round(0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]);
    }
    buttons.forEach((other) => other.setAttribute("aria-pressed", "false"));
    const same = bitmap.width === columns && bitmap.height === rows;
    const words = same ? "" : "Resized by the browser, whose pixels may differ a little from those of `brooklet run`.";
    classify(image, null, `${file.name}. ${words}`);
  }
  byId("file").addEventListener("change", (event) => take(event.target.files[0]));
  const live = byId("live");
  live.addEventListener("dragover", (event) => { event.preventDefault(); live.classList.add("over"); });
  live.addEventListener("dragleave", () => live.classList.remove("over"));
  live.addEventListener("drop", (event) => {
    event.preventDefault();
    live.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });

  slider.addEventListener("input", () => { play(false); show(Number(slider.value), true); });
  byId("back").addEventListener("click", () => go(-1));
  byId("forth").addEventListener("click", () => go(1));
  byId("play").addEventListener("click", () => play(timer === 0));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = { j: () => go(-1), k: () => play(timer === 0), l: () => go(1) }[event.key];
    if (does) does();
  });
  live.hidden = false;
  byId("arena-figure").hidden = false;
  if (buttons.length > 0) buttons[0].click();
  // A link may name a step, as `#step=120`.
  const named = /^#step=(\d+)$/.exec(location.hash);
  if (named && pixels) show(Math.min(END, Number(named[1])));
})();
