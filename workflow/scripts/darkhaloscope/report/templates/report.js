// Charts are chosen, tables sorted, searched and paged by DataTables. Nothing here asks the network for anything.

for (const select of document.querySelectorAll("[data-switch]")) {
  select.addEventListener("change", () => {
    for (const node of select.closest("figure").querySelectorAll("[data-variant]")) node.hidden = node.dataset.variant !== select.value;
  });
}

const bundle = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(bundle));

// Numbers before texts, empty cells last whichever way.
const empty = (v) => v === null || v === undefined || v === "" || v === "–";
function compare(a, b, direction) {
  if (empty(a) || empty(b)) return empty(a) - empty(b);
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return direction * (x - y);
  return direction * String(a).localeCompare(String(b), "en", { numeric: true });
}
DataTable.ext.type.order["value-asc"] = (a, b) => compare(a, b, 1);
DataTable.ext.type.order["value-desc"] = (a, b) => compare(a, b, -1);

function chooser(table, column, name, start) {
  const options = [...new Set(table.column(column).data().toArray().map((v) => v.display ?? v))];
  if (options.length < 2) return null;
  const select = document.createElement("select");
  select.setAttribute("aria-label", name);
  for (const text of ["all", ...options]) select.add(new Option(text, text === "all" ? "" : text));
  const choose = () => table.column(column).search(select.value, { exact: true }).draw();
  select.addEventListener("change", choose);
  if (options.includes(start)) { select.value = start; choose(); }
  const label = document.createElement("label");
  label.append(`${name} `, select);
  return label;
}

// On a narrow screen each row stands as a block of lines.
const perPage = innerWidth < 760 ? 6 : 20;
for (const node of document.querySelectorAll("table.data")) {
  const many = node.tBodies[0].rows.length > perPage, heads = [...node.tHead.rows[0].cells].map((cell) => cell.textContent);
  const controls = document.createElement("div");
  controls.className = "controls";
  node.closest(".scroll").before(controls);
  const table = new DataTable(node, {
    order: [], autoWidth: false, paging: many, pageLength: perPage, columnDefs: [{ targets: "_all", type: "value" }],
    layout: { topStart: null, topEnd: null, bottomStart: many ? "info" : null, bottomEnd: many ? "paging" : null },
    language: { info: "_START_–_END_ of _TOTAL_ rows", infoFiltered: "(of _MAX_)", infoEmpty: "no row" },
  });
  for (const name of JSON.parse(node.dataset.choose || "[]")) {
    const label = chooser(table, heads.indexOf(name), name, JSON.parse(node.dataset.start || "{}")[name]);
    if (label) controls.append(label);
  }
  // A table that is printed is printed whole.
  addEventListener("beforeprint", () => table.page.len(-1).draw());
  addEventListener("afterprint", () => table.page.len(perPage).draw());
}
document.documentElement.dataset.ready = "1";
