"use strict";
// What a reader does with the picture. It comes laid out; here it is moved, searched, folded and explained. Words out of
// the store are only ever set as text.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LEGIBLE = 0.62, CLOSEST = 3; // zoom below which words cannot be read, and the nearest one
  const HANDLE = 10; // radius of what hides a side
  const at = (id) => document.getElementById(id);
  const { nodes, edges } = JSON.parse(at("data").textContent);
  const picture = at("picture"), world = at("world"), details = at("details"), map = at("map"), said = at("said");
  const query = at("query"), found = at("found");
  const whole = picture.viewBox.baseVal, width = whole.width, height = whole.height;

  nodes.forEach((node, number) => Object.assign(node, { number, before: [], after: [], hides: { before: false, after: false } }));
  edges.forEach(([tail, head, note], number) => {
    nodes[tail].after.push({ node: nodes[head], number, note });
    nodes[head].before.push({ node: nodes[tail], number, note });
  });
  for (const element of world.querySelectorAll(".node")) nodes[element.dataset.node].element = element;
  const arrows = [...world.querySelectorAll(".edge")];

  // Where the reader is: world × zoom + (x, y) = screen

  const view = { x: 0, y: 0, zoom: 1 };
  const room = () => {
    const { width: wide, height: high } = picture.getBoundingClientRect();
    return { width: wide - (details.hidden || wide < 800 ? 0 : details.offsetWidth + 14), height: high };
  };

  function show() {
    const { x, y, zoom } = view;
    world.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${zoom.toFixed(4)})`);
    frame();
  }

  function zoomTo(zoom, x = room().width / 2, y = room().height / 2) {
    const least = Math.min(fitting(), LEGIBLE) / 1.5;
    const next = Math.min(Math.max(zoom, least), CLOSEST);
    view.x = x - ((x - view.x) * next) / view.zoom;
    view.y = y - ((y - view.y) * next) / view.zoom;
    view.zoom = next;
    show();
  }

  const fitting = () => Math.min(room().width / width, room().height / height);

  function fit() {
    view.zoom = Math.min(fitting(), 1.15);
    view.x = (room().width - width * view.zoom) / 2;
    view.y = (room().height - height * view.zoom) / 2;
    show();
  }

  function centre({ box: [x, y, wide, high] }, across = 0.5) {
    view.x = room().width * across - (x + wide / 2) * view.zoom;
    view.y = room().height / 2 - (y + high / 2) * view.zoom;
    show();
  }

  function start() {
    if (fitting() >= LEGIBLE || !nodes.length) return fit();
    const root = nodes.find((node) => node.root) ?? nodes[0];
    const across = !root.after.length ? 0.8 : !root.before.length ? 0.2 : 0.5;
    view.zoom = Math.max(LEGIBLE, Math.min(0.9, Math.max(room().height / height, room().width / width)));
    centre(root, across);
    const within = (value, size, space) =>
      size <= space ? (space - size) / 2 : Math.min(Math.max(value, space - size - 24), 24);
    view.x = within(view.x, width * view.zoom, room().width);
    view.y = within(view.y, height * view.zoom, room().height);
    show();
  }

  // The small map

  const fits = Math.min(210 / width, 130 / height);
  const across = Math.max(width * fits, 70) / width, down = Math.max(height * fits, 44) / height; // long ones are squeezed
  const lens = document.createElementNS(SVG, "rect");
  function drawMap() {
    map.setAttribute("viewBox", `0 0 ${width * across} ${height * down}`);
    map.setAttribute("width", width * across);
    map.setAttribute("height", height * down);
    for (const node of nodes) {
      const [x, y, w, h] = node.box, dot = document.createElementNS(SVG, "rect");
      const sides = { x: x * across, y: y * down, width: Math.max(w * across, 1.5), height: Math.max(h * down, 1) };
      for (const [name, value] of Object.entries(sides)) dot.setAttribute(name, value.toFixed(2));
      dot.setAttribute("class", node.root ? "root" : node.element.classList.contains("run") ? "run" : node.kind);
      node.dot = dot;
      map.append(dot);
    }
    lens.setAttribute("class", "view");
    map.append(lens);
  }

  function frame() {
    const { width: wide, height: high } = picture.getBoundingClientRect();
    const left = Math.max(-view.x / view.zoom, 0), top = Math.max(-view.y / view.zoom, 0);
    const right = Math.min((wide - view.x) / view.zoom, width), bottom = Math.min((high - view.y) / view.zoom, height);
    map.toggleAttribute("hidden", right - left >= width - 1 && bottom - top >= height - 1);
    lens.setAttribute("x", left * across);
    lens.setAttribute("y", top * down);
    lens.setAttribute("width", Math.max(right - left, 0) * across);
    lens.setAttribute("height", Math.max(bottom - top, 0) * down);
  }

  function jump(event) {
    const { left, top } = map.getBoundingClientRect();
    view.x = picture.clientWidth / 2 - ((event.clientX - left) / across) * view.zoom;
    view.y = picture.clientHeight / 2 - ((event.clientY - top) / down) * view.zoom;
    show();
  }
  map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); jump(event); });
  map.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });

  // Moving about: one finger or the mouse drags, two fingers and the wheel zoom

  const fingers = new Map();
  let moved = 0;
  picture.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    fingers.set(event.pointerId, event);
    moved = 0;
  });
  picture.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY;
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved < 4) return;
    if (!picture.hasPointerCapture(event.pointerId)) picture.setPointerCapture(event.pointerId);
    picture.classList.add("held");
    const [other] = [...fingers.values()].filter((one) => one.pointerId !== event.pointerId);
    if (other) {
      const { left, top } = picture.getBoundingClientRect();
      const gap = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      zoomTo(view.zoom * (gap(event) / gap(last)), other.clientX - left, other.clientY - top);
    } else {
      view.x += dx;
      view.y += dy;
      show();
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    picture.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      picture.classList.remove("held");
    });
  }
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top } = picture.getBoundingClientRect();
    const step = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    zoomTo(view.zoom * Math.exp(-Math.max(-120, Math.min(120, step)) / 300), event.clientX - left, event.clientY - top);
  }, { passive: false });

  // Lighting up what a node comes from and what came of it

  function reach(from, side) {
    const seen = new Set([from]), steps = new Set();
    for (const node of seen) { // grows while it is read
      for (const { node: next, number } of node[side]) {
        steps.add(number);
        seen.add(next);
      }
    }
    return { seen, steps };
  }

  function light(node) {
    for (const lit of world.querySelectorAll(".lit")) lit.classList.remove("lit");
    world.classList.toggle("lighting", Boolean(node));
    if (!node) return;
    for (const side of ["before", "after"]) {
      const { seen, steps } = reach(node, side);
      for (const one of seen) one.element.classList.add("lit");
      for (const one of steps) arrows[one].classList.add("lit");
    }
  }

  // Hiding what is reached only through one side of a node

  const WAYS = { before: "upstream", after: "downstream" };

  /**
   * Return the nodes that are seen: what lies upstream of an anchor, and what lies downstream of one, on ways that no
   * hidden side cuts. `trial` says how one side is to be taken for this question.
   */
  function visible(trial = null) {
    const all = new Set(anchors);
    for (const side of ["before", "after"]) {
      const seen = new Set(anchors);
      for (const node of seen) { // grows while it is read
        all.add(node);
        const hides = trial?.node === node && trial.side === side ? trial.on : node.hides[side];
        if (!hides) for (const { node: next } of node[side]) seen.add(next);
      }
    }
    return all;
  }

  /** Return the nodes that everything is seen from: those asked for, and the ends of what they do not lead to. */
  function findAnchors() {
    const chosen = [], seen = { before: new Set(), after: new Set() };
    const add = (node) => {
      chosen.push(node);
      for (const side of ["before", "after"]) {
        const todo = [node];
        while (todo.length) {
          const one = todo.pop();
          if (seen[side].has(one)) continue;
          seen[side].add(one);
          for (const { node: next } of one[side]) todo.push(next);
        }
      }
    };
    for (const node of nodes) if (node.root) add(node);
    for (const node of [...nodes].sort((one, other) => one.after.length - other.after.length)) {
      if (!seen.before.has(node) && !seen.after.has(node)) add(node);
    }
    return chosen;
  }
  const anchors = findAnchors();

  /** Return how many nodes hiding a side would hide, or showing it would show. */
  const effect = (node, side) => Math.abs(visible({ node, side, on: !node.hides[side] }).size - shown.size);

  let shown = new Set(nodes);

  function refresh() {
    shown = visible();
    for (const node of nodes) {
      const away = !shown.has(node);
      node.element.classList.toggle("away", away);
      node.dot.classList.toggle("away", away);
    }
    edges.forEach(([tail, head], number) => {
      arrows[number].classList.toggle("away", !shown.has(nodes[tail]) || !shown.has(nodes[head]));
    });
    at("unfold").disabled = shown.size === nodes.length && !nodes.some((node) => node.hides.before || node.hides.after);
    for (const old of world.querySelectorAll(".handle.kept")) old.remove();
    for (const node of shown) {
      for (const side of ["before", "after"]) {
        if (node.hides[side]) node.element.append(handle(node, side, effect(node, side)));
      }
    }
  }

  function hide(node, side, on = !node.hides[side]) {
    if (!node[side].length || node.hides[side] === on) return;
    const change = effect(node, side);
    if (on && !change) {
      tell(`Nothing to hide: what lies ${WAYS[side]} belongs to other nodes, too`);
      return;
    }
    node.hides[side] = on;
    refresh();
    pointAt(null);
    tell(on ? `${change} hidden, ${nodes.length - shown.size} in all` : `${change} shown again`);
    if (chosen) explain(chosen);
  }

  function handle(node, side, hidden = null) {
    const made = document.createElementNS(SVG, "g"), kept = hidden !== null;
    const label = kept ? `+${hidden}` : "−", wide = Math.max(2 * HANDLE, 8 + 7 * label.length);
    const [, , boxWide, high] = node.box;
    const x = side === "before" ? (kept ? -wide / 2 : 0) : boxWide + (kept ? wide / 2 : 0);
    made.setAttribute("class", kept ? "handle kept" : "handle");
    made.setAttribute("transform", `translate(${x} ${high / 2})`);
    const pill = document.createElementNS(SVG, "rect"), text = document.createElementNS(SVG, "text");
    const shape = { x: -wide / 2, y: -HANDLE, width: wide, height: 2 * HANDLE, rx: HANDLE };
    for (const [name, value] of Object.entries(shape)) pill.setAttribute(name, value);
    text.setAttribute("y", 4);
    text.textContent = label;
    const title = document.createElementNS(SVG, "title");
    title.textContent = kept ? `Show the ${hidden} hidden ${WAYS[side]}` : `Hide what lies only ${WAYS[side]} of this`;
    made.append(title, pill, text);
    made.addEventListener("click", (event) => {
      event.stopPropagation();
      hide(node, side);
    });
    return made;
  }

  let pointed = null;
  function pointAt(node) {
    if (node === pointed) return;
    for (const old of world.querySelectorAll(".handle:not(.kept)")) old.remove();
    pointed = node;
    light(node);
    if (!node) return;
    for (const side of ["before", "after"]) {
      if (node[side].length && !node.hides[side] && effect(node, side)) node.element.append(handle(node, side));
    }
  }

  const nodeOf = (event) => {
    const element = event.target.closest?.(".node");
    return element ? nodes[element.dataset.node] : null;
  };
  picture.addEventListener("pointerover", (event) => { if (!fingers.size) pointAt(nodeOf(event)); });
  picture.addEventListener("pointerleave", () => pointAt(null));
  picture.addEventListener("click", (event) => {
    if (moved >= 4) return;
    const node = nodeOf(event);
    if (node) choose(node);
    else close();
  });

  // Details

  let chosen = null;
  function element(name, text = "", className = "") {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function choose(node, { move = false } = {}) {
    chosen?.element.classList.remove("chosen");
    chosen = node;
    node.element.classList.add("chosen");
    explain(node);
    if (move) centre(node);
    else uncover(node);
    focusNode(node, { quiet: true });
  }

  /** Move the picture as little as needed for a node to be seen beside the details. */
  function uncover({ box: [x, y, wide, high] }) {
    const { width: across, height: down } = room(), edge = 24;
    const left = x * view.zoom + view.x, top = y * view.zoom + view.y;
    view.x -= Math.max(left + wide * view.zoom - (across - edge), 0) || Math.min(left - edge, 0);
    view.y -= Math.max(top + high * view.zoom - (down - edge), 0) || Math.min(top - edge, 0);
    show();
  }

  function explain(node) {
    const list = element("dl");
    for (const [name, text, form] of node.facts) {
      const value = element("dd");
      value.append(form === "code" ? element("pre", text) : text);
      list.append(element("dt", name), value);
    }
    const shut = element("button", "×", "close");
    shut.setAttribute("aria-label", "Close details");
    shut.addEventListener("click", close);
    details.replaceChildren(shut, element("h2", node.title), element("p", node.kind, "kind"), list);
    nearby("Comes from", node.before);
    nearby("Leads to", node.after);
    const sides = element("div", "", "sides");
    for (const side of ["before", "after"]) {
      if (!node[side].length) continue;
      const button = element("button", `${node.hides[side] ? "Show" : "Hide"} ${WAYS[side]}`);
      button.disabled = !node.hides[side] && !effect(node, side);
      button.addEventListener("click", () => hide(node, side));
      sides.append(button);
    }
    details.append(sides);
    details.hidden = false;
  }

  function nearby(heading, neighbours) {
    if (!neighbours.length) return;
    const list = element("ul", "", "near"), many = 40;
    for (const { node, note } of neighbours.slice(0, many)) {
      const item = element("li"), button = element("button", node.title);
      if (note) button.append(" ", element("small", note));
      button.addEventListener("click", () => { reveal(node); choose(node, { move: true }); });
      item.append(button);
      list.append(item);
    }
    if (neighbours.length > many) list.append(element("li", `and ${neighbours.length - many} more`));
    details.append(element("h3", heading), list);
  }

  function close() {
    chosen?.element.classList.remove("chosen");
    chosen = null;
    details.hidden = true;
    frame();
  }

  // Search

  let matches = [], current = -1;
  function search() {
    const wanted = query.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const node of matches) for (const part of [node.element, node.dot]) part.classList.remove("match");
    matches = wanted.length ? nodes.filter((node) => wanted.every((word) => node.words.includes(word))) : [];
    for (const node of matches) for (const part of [node.element, node.dot]) part.classList.add("match");
    current = -1;
    found.textContent = !wanted.length ? "" : matches.length ? `${matches.length} found` : "none";
    if (matches.length) next(1);
  }

  function next(step) {
    if (!matches.length) return;
    current = (current + step + matches.length) % matches.length;
    const node = matches[current];
    reveal(node);
    if (view.zoom < LEGIBLE) view.zoom = LEGIBLE;
    centre(node);
    pointAt(node);
    found.textContent = `${current + 1} of ${matches.length}`;
  }

  /** Show again what hides a node. */
  function reveal(node) {
    if (shown.has(node)) return;
    for (const one of nodes) {
      for (const side of ["before", "after"]) {
        if (one.hides[side] && reach(one, side).seen.has(node)) one.hides[side] = false;
      }
    }
    if (!visible().has(node)) for (const one of nodes) one.hides = { before: false, after: false };
    refresh();
  }

  query.addEventListener("input", search);
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      next(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      query.value = "";
      search();
      pointAt(null);
      query.blur();
    }
  });

  // Keys: one node at a time can be reached by Tab; arrows go from it along the arrows, or to the one above or below

  let focused = null;
  function focusNode(node, { quiet = false } = {}) {
    focused?.element.setAttribute("tabindex", "-1");
    focused = node;
    node.element.setAttribute("tabindex", "0");
    if (document.activeElement !== query) node.element.focus({ preventScroll: true });
    if (!quiet) uncover(node);
  }

  function step(node, key) {
    const seen = (list) => list.map((one) => one.node).find((one) => shown.has(one));
    if (key === "ArrowLeft") return seen(node.before);
    if (key === "ArrowRight") return seen(node.after);
    const [x, y, wide] = node.box, way = key === "ArrowDown" ? 1 : -1;
    let best = null;
    for (const other of shown) {
      const [left, top, across] = other.box;
      const beside = left < x + wide && x < left + across && (top - y) * way > 0;
      if (beside && (!best || (top - best.box[1]) * way < 0)) best = other;
    }
    return best;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === query) return;
    const node = nodeOf(event);
    const acts = {
      "+": () => zoomTo(view.zoom * 1.25), "=": () => zoomTo(view.zoom * 1.25), "-": () => zoomTo(view.zoom / 1.25),
      0: start, f: fit, "/": () => query.focus(), Escape: () => { close(); pointAt(null); },
    };
    if (node) {
      for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
        acts[key] = () => {
          const other = step(node, key);
          if (other) { focusNode(other); pointAt(other); }
        };
      }
      acts.Enter = acts[" "] = () => choose(node);
      acts["["] = () => hide(node, "before");
      acts["]"] = () => hide(node, "after");
    }
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  let silence = 0;
  function tell(text) {
    said.textContent = text;
    clearTimeout(silence);
    silence = setTimeout(() => { said.textContent = ""; }, 4000);
  }

  at("in").addEventListener("click", () => zoomTo(view.zoom * 1.25));
  at("out").addEventListener("click", () => zoomTo(view.zoom / 1.25));
  at("real").addEventListener("click", start);
  at("fit").addEventListener("click", fit);
  at("unfold").addEventListener("click", () => {
    for (const node of nodes) node.hides = { before: false, after: false };
    refresh();
    if (chosen) explain(chosen);
    tell("Everything is shown");
  });

  // On paper stands the whole picture

  const box = picture.getAttribute("viewBox");
  window.addEventListener("beforeprint", () => { picture.setAttribute("viewBox", box); world.removeAttribute("transform"); });
  window.addEventListener("afterprint", () => { picture.removeAttribute("viewBox"); show(); });
  window.addEventListener("resize", frame);

  picture.removeAttribute("viewBox");
  for (const node of nodes) {
    node.element.setAttribute("role", "button");
    node.element.setAttribute("tabindex", "-1");
    node.element.setAttribute("aria-label", node.element.querySelector("title").textContent);
  }
  const first = nodes.find((node) => node.root) ?? nodes[0];
  if (first) {
    focused = first;
    first.element.setAttribute("tabindex", "0");
  }
  drawMap();
  start();
})();
