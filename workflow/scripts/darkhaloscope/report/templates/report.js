"use strict";
// Figures, sortable tables and filtered tables of a report. Nothing here asks the network for anything.

function readData(id) {
  const node = document.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value === "boolean") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Numbers before texts, empty cells last whichever way.
function compareCells(a, b, direction) {
  const emptyA = a === null || a === undefined || a === "", emptyB = b === null || b === undefined || b === "";
  if (emptyA || emptyB) return emptyA - emptyB;
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en", { numeric: true });
}

// --- figures ---

function startFigures(figures) {
  const draw = (node) => {
    const figure = figures[node.dataset.figure];
    const spec = figure.variants[node.dataset.variant || Object.keys(figure.variants)[0]];
    const layout = structuredClone(spec.layout);
    if (node.clientWidth < 520) {
      layout.margin = { ...layout.margin, r: 10 };
      layout.font = { ...layout.font, size: 11 };
    }
    const narrow = node.clientWidth < 520;
    if (layout.height) node.style.height = `${layout.height}px`;
    Plotly.react(node, spec.data, layout, { responsive: true, displaylogo: false, displayModeBar: !narrow, showSendToCloud: false, plotlyServerURL: "",
      modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"], toImageButtonOptions: { format: "svg", filename: node.dataset.figure } });
    node.dataset.drawn = "1";
  };
  const nodes = [...document.querySelectorAll("[data-figure]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.dataset.drawn) draw(entry.target);
  }, { rootMargin: "800px" });
  nodes.forEach((node) => seen.observe(node));
  for (const select of document.querySelectorAll("select[data-switch]")) {
    select.addEventListener("change", () => {
      for (const node of nodes.filter((n) => n.dataset.figure === select.dataset.switch)) {
        node.dataset.variant = select.value;
        draw(node);
      }
    });
  }
}

// --- tables that the page already holds ---

function startSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const cell = (row, i) => {
    const node = row.cells[i];
    if (!("v" in node.dataset)) return node.textContent.trim();
    const value = node.dataset.v;
    return value === "" ? null : isNaN(Number(value)) ? value : Number(value);
  };
  heads.forEach((head, i) => {
    const label = head.textContent;
    head.setAttribute("aria-sort", "none");
    head.replaceChildren(make("button", { type: "button", onclick: () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compareCells(cell(a, i), cell(b, i), direction));
      table.tBodies[0].append(...rows);
    } }, label));
  });
}

// --- tables built from data, with a choice per column ---

function startTable(root) {
  const data = readData(root.dataset.table);
  const names = data.columns.map((c) => c.name);
  const value = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const text = (cell) => (Array.isArray(cell) ? cell[1] : cell === null ? "–" : String(cell));
  const state = { sort: null, direction: 1, shown: 100, choice: {} };
  const controls = make("div", { class: "controls" }), body = make("tbody"), more = make("button", { type: "button" }), said = make("span", { class: "note" });
  data.columns.forEach((column, i) => {
    if (!column.choose) return;
    const options = [...new Set(data.rows.map((r) => text(r[i])))];
    if (options.length < 2 && !column.start) return;
    const select = make("select", { "aria-label": column.name }, make("option", { value: "" }, "all"), ...options.map((o) => make("option", { value: o }, o)));
    if (column.start && options.includes(column.start)) { select.value = column.start; state.choice[i] = column.start; }
    select.addEventListener("change", () => { state.choice[i] = select.value; state.shown = 100; show(); });
    controls.append(make("label", {}, column.name + " ", select));
  });
  const heads = names.map((name, i) => {
    const head = make("th", { scope: "col", "aria-sort": "none" });
    head.append(make("button", { type: "button", onclick: () => {
      state.direction = state.sort === i ? -state.direction : 1;
      state.sort = i;
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
      show();
    } }, name));
    return head;
  });
  more.addEventListener("click", () => { state.shown += 400; show(); });
  function show() {
    const rows = data.rows.filter((r) => Object.entries(state.choice).every(([i, wanted]) => !wanted || text(r[i]) === wanted));
    if (state.sort !== null) rows.sort((a, b) => compareCells(value(a[state.sort]), value(b[state.sort]), state.direction));
    body.replaceChildren(...rows.slice(0, state.shown).map((r) => make("tr", {}, ...r.map((cell) => make("td", text(cell).length < 50 ? { class: "n" } : {}, text(cell))))));
    more.hidden = rows.length <= state.shown;
    more.textContent = `Show ${Math.min(400, rows.length - state.shown)} more rows`;
    said.textContent = `${rows.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} rows`;
  }
  controls.append(said);
  root.replaceChildren(controls, make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body)), more);
  show();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(startSortable);
  document.querySelectorAll("[data-table]").forEach(startTable);
  const figures = readData("figure-data");
  if (figures) startFigures(figures);
  const stamps = readData("stamp-data");
  if (stamps) startBrowser(document.getElementById("stamp-browser"), stamps);
});
