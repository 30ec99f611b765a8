// The stamp browser: sort and filter by any column, walk by keyboard, tick, export the ids. `compare` is that of the tables.

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const PER_PAGE = 48;
const OPERATORS = {
  "≥": (a, b) => a >= b, "≤": (a, b) => a <= b, "=": (a, b) => a === b, "≠": (a, b) => a !== b,
  "contains": (a, b) => String(a).toLowerCase().includes(String(b).toLowerCase()),
};

function startBrowser(root, data) {
  const columns = data.columns, byKey = Object.fromEntries(columns.map((c) => [c.key, c])), values = data.values, n = data.n;
  const ids = values.stamp_id, labels = values.label, mainScore = data.score;
  const ticked = new Set(restore());
  const state = { sort: mainScore, direction: -1, filters: [], page: 0, at: 0, order: [] };
  const $ = (name) => root.querySelector(`[data-part="${name}"]`);
  const dialog = $("dialog"), grid = $("grid");

  // Ticks outlive a reload where the browser allows it; the page works without.
  function restore() {
    try { return JSON.parse(localStorage.getItem(data.storage) || "[]").filter((id) => ids.includes(id)); } catch { return []; }
  }
  function keep() {
    try { localStorage.setItem(data.storage, JSON.stringify([...ticked])); } catch { /* no storage: ticks last as long as the page */ }
  }

  function order() {
    let rows = [...Array(n).keys()];
    for (const f of state.filters) {
      const wanted = byKey[f.column].kind === "number" && f.operator !== "contains" ? Number(f.value) : f.value;
      rows = rows.filter((i) => values[f.column][i] !== null && OPERATORS[f.operator](values[f.column][i], wanted));
    }
    const column = values[state.sort];
    return rows.sort((a, b) => compare(column[a], column[b], state.direction) || a - b);
  }

  function refresh(keepPage = false) {
    state.order = order();
    if (!keepPage) { state.page = 0; state.at = 0; }
    state.page = Math.max(0, Math.min(state.page, pages() - 1));
    draw();
  }
  const pages = () => Math.max(1, Math.ceil(state.order.length / PER_PAGE));
  const shown = () => state.order.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE);

  function sprite(i, width) {
    const s = data.sheets, sheet = Math.floor(i / s.per_sheet), inside = i % s.per_sheet, zoom = width / s.tile_width;
    const rows = Math.ceil(Math.min(s.per_sheet, n - sheet * s.per_sheet) / s.columns);
    const node = make("div", { class: "sprite", role: "img", "aria-label": `${data.panels.join(", ")}: ${ids[i]}` });
    node.style.cssText = `width:${width}px;height:${s.tile_height * zoom}px;background-image:url("${s.folder}/${s.files[sheet]}");` +
      `background-size:${s.columns * s.tile_width * zoom}px ${rows * s.tile_height * zoom}px;` +
      `background-position:${-(inside % s.columns) * width}px ${-Math.floor(inside / s.columns) * s.tile_height * zoom}px`;
    return node;
  }

  const format = (key, i) => {
    const v = values[key][i];
    if (v === null) return "–";
    if (key === "label") return v ? "positive" : "control";
    return typeof v === "number" ? (Number.isInteger(v) ? String(v) : v.toPrecision(4)) : v;
  };

  function card(i, place) {
    const widest = data.widths.card, width = Math.max(120, Math.min(widest, grid.clientWidth < 500 ? Math.floor(grid.clientWidth / 2) - 24 : widest));
    const tick = make("input", { type: "checkbox", "aria-label": `tick ${ids[i]}`, tabindex: "-1" });
    tick.checked = ticked.has(ids[i]);
    tick.addEventListener("click", (event) => { event.stopPropagation(); toggle(i); });
    const extra = [mainScore, "label", "stamp_id"].includes(state.sort) ? [] : [make("div", { class: "row soft" }, make("span", {}, byKey[state.sort].name), make("span", {}, format(state.sort, i)))];
    const node = make("div", { class: "card" + (place === state.at ? " at" : "") + (ticked.has(ids[i]) ? " ticked" : ""), "data-id": ids[i] },
      sprite(i, width),
      make("div", { class: "row" }, make("span", {}, make("b", {}, format(mainScore, i)), " " + format("label", i)), tick),
      make("div", { class: "row soft" }, make("span", { title: ids[i] }, ids[i])), ...extra);
    node.addEventListener("click", () => { state.at = place; draw(); open(); });
    return node;
  }

  function draw() {
    const rows = shown();
    state.at = Math.max(0, Math.min(state.at, rows.length - 1));
    grid.replaceChildren(...rows.map(card));
    const first = state.page * PER_PAGE;
    $("said").textContent = rows.length
      ? `${(first + 1).toLocaleString("en")}–${(first + rows.length).toLocaleString("en")} of ${state.order.length.toLocaleString("en")} stamps, page ${state.page + 1} of ${pages()}`
      : "no stamp passes the filters";
    $("previous").disabled = state.page === 0;
    $("next").disabled = state.page >= pages() - 1;
    $("count").textContent = ticked.size;
    $("export").disabled = $("clear").disabled = ticked.size === 0;
    $("ids").value = [...ticked].sort().join("\n");
    $("sort").value = state.sort;
    $("direction").textContent = state.direction < 0 ? "highest first" : "lowest first";
    $("filters").replaceChildren(...state.filters.map((f, k) => make("button", { type: "button", title: "remove this filter", onclick: () => { state.filters.splice(k, 1); refresh(); } },
      `${byKey[f.column].name} ${f.operator} ${f.column === "label" ? (Number(f.value) ? "positive" : "control") : f.value} ✕`)));
  }

  function toggle(i) {
    if (!ticked.delete(ids[i])) ticked.add(ids[i]);
    keep();
    draw();
    if (dialog.open) open();
  }

  // A spot at a place in arcsec from the middle, or a circle of a radius about it, on panels `side` wide.
  function marks(i, side) {
    const at = (column) => (column === null ? 0 : values[column] ? values[column][i] : null);
    const zoom = side / (data.sheets.tile_width / data.panels.length) / data.pixel_scale;
    const x = at(data.mark.x), y = at(data.mark.y), radius = at(data.mark.radius);
    if (x === null || y === null || radius === null || (data.mark.radius && radius <= 0)) return [];
    return data.mark.panels.map((panel) => {
      const spot = make("div", { class: data.mark.radius ? "spot ring" : "spot" });
      spot.style.left = `${panel * side + side / 2 + x * zoom}px`;
      spot.style.top = `${side / 2 - y * zoom}px`;
      if (data.mark.radius) {
        spot.style.width = spot.style.height = `${2 * radius * zoom}px`;
        spot.style.margin = `${-radius * zoom}px 0 0 ${-radius * zoom}px`;
      }
      return spot;
    });
  }

  function open() {
    const i = shown()[state.at];
    if (i === undefined) return;
    const width = Math.min(data.panels.length * data.widths.panel, Math.max(280, document.documentElement.clientWidth - 60)), picture = sprite(i, width);
    if (data.mark && $("mark").checked) picture.append(...marks(i, width / data.panels.length));
    $("title").textContent = ids[i];
    $("picture").replaceChildren(picture);
    for (const part of ["picture", "names"]) $(part).style.width = `${width}px`;
    $("facts").replaceChildren(...columns.filter((c) => c.key !== "stamp_id").map((c) => make("div", {}, make("dt", {}, c.name), make("dd", {}, format(c.key, i)))));
    $("tick").setAttribute("aria-pressed", ticked.has(ids[i]));
    $("tick").textContent = ticked.has(ids[i]) ? "ticked" : "tick";
    if (!dialog.open) dialog.showModal();
  }

  function move(step) {
    const to = state.at + step;
    if (to < 0 && state.page > 0) { state.page -= 1; state.at = PER_PAGE - 1; }
    else if (to >= shown().length && state.page < pages() - 1) { state.page += 1; state.at = 0; }
    else state.at = Math.max(0, Math.min(to, shown().length - 1));
    draw();
    if (dialog.open) open();
    else grid.children[state.at]?.scrollIntoView({ block: "nearest" });
  }
  function turn(step) {
    const to = state.page + step;
    if (to < 0 || to >= pages()) return;
    state.page = to; state.at = 0;
    draw();
  }
  const perRow = () => Math.max(1, getComputedStyle(grid).gridTemplateColumns.split(" ").length);

  function onKey(event) {
    if (["SELECT", "TEXTAREA"].includes(event.target.tagName) || (event.target.tagName === "INPUT" && event.target.type !== "checkbox")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowRight: () => move(1), l: () => move(1), ArrowLeft: () => move(-1), h: () => move(-1),
      ArrowDown: () => move(dialog.open ? 1 : perRow()), j: () => move(dialog.open ? 1 : perRow()),
      ArrowUp: () => move(dialog.open ? -1 : -perRow()), k: () => move(dialog.open ? -1 : -perRow()),
      PageDown: () => turn(1), n: () => turn(1), PageUp: () => turn(-1), p: () => turn(-1),
      x: () => toggle(shown()[state.at]), " ": () => toggle(shown()[state.at]), Enter: open,
    };
    if (!(event.key in actions) || shown().length === 0) return;
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    actions[event.key]();
  }

  const option = (c) => make("option", { value: c.key }, c.name);
  $("sort").append(...columns.map(option));
  $("column").append(...columns.map(option));
  $("operator").append(...Object.keys(OPERATORS).map((o) => make("option", { value: o }, o)));
  $("sort").addEventListener("change", () => { state.sort = $("sort").value; refresh(); });
  $("direction").addEventListener("click", () => { state.direction = -state.direction; refresh(); });
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const column = $("column").value, value = $("value").value.trim();
    const bad = value === "" || (byKey[column].kind === "number" && $("operator").value !== "contains" && !Number.isFinite(Number(value)));
    $("value").setCustomValidity(bad ? (value === "" ? "give a value" : `${byKey[column].name} is a number`) : "");
    if (!$("value").reportValidity()) return;
    state.filters.push({ column, operator: $("operator").value, value });
    $("value").value = "";
    refresh();
  });
  $("value").addEventListener("input", () => $("value").setCustomValidity(""));
  for (const button of root.querySelectorAll("[data-preset]")) {
    button.addEventListener("click", () => {
      const preset = button.dataset.preset;
      state.sort = mainScore;
      state.filters = preset === "all" ? [] : [{ column: "label", operator: "=", value: preset === "controls" ? "0" : "1" }];
      state.direction = preset === "positives" ? 1 : -1;
      refresh();
    });
  }
  $("tick").addEventListener("click", () => toggle(shown()[state.at]));
  $("back").addEventListener("click", () => move(-1));
  $("forth").addEventListener("click", () => move(1));
  $("close").addEventListener("click", () => dialog.close());
  $("mark").addEventListener("change", open);
  $("clear").addEventListener("click", () => { ticked.clear(); keep(); draw(); });
  $("export").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([[...ticked].sort().join("\n") + "\n"], { type: "text/plain" }));
    make("a", { href: url, download: `${data.name}-stamp-ids.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  root.addEventListener("keydown", onKey);
  const probe = new Image();
  probe.onerror = () => { $("missing").hidden = false; };
  probe.src = `${data.sheets.folder}/${data.sheets.files[0]}`;
  refresh();
}

const stamps = document.getElementById("stamp-data");
if (stamps) startBrowser(document.getElementById("stamp-browser"), JSON.parse(stamps.textContent));
