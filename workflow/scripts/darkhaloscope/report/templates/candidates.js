// Ranked candidates: each is ticked as interesting or not, ticks outlive a reload, and are exported with positions.
const list = document.getElementById("candidates"), cards = [...list.querySelectorAll(".card")];
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const ticks = new Map(restore());

function restore() {
  const known = new Set(cards.map((card) => card.dataset.id));
  try { return JSON.parse(localStorage.getItem(list.dataset.storage) || "[]").filter(([id]) => known.has(id)); } catch { return []; }
}
function keep() {
  try { localStorage.setItem(list.dataset.storage, JSON.stringify([...ticks])); } catch { /* no storage: ticks last as long as the page */ }
}

function tick(card, word) {
  if (ticks.get(card.dataset.id) === word) ticks.delete(card.dataset.id);
  else ticks.set(card.dataset.id, word);
  keep();
  draw(card);
}

// The card that was just ticked stays in sight until the choice is made again.
function draw(ticked = null) {
  const wanted = part("show").value;
  for (const card of cards) {
    const word = ticks.get(card.dataset.id) || "";
    for (const button of card.querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.tick === word);
    card.classList.toggle("ticked", word === "interesting");
    card.classList.toggle("refused", word === "not");
    const seen = wanted === "all" || wanted === (word || "open") || (wanted === "known" && card.dataset.known);
    if (card !== ticked) card.hidden = !seen;
  }
  const count = (word) => [...ticks.values()].filter((w) => w === word).length;
  part("said").textContent = `${count("interesting")} interesting, ${count("not")} not, ${cards.length - ticks.size} open`;
  part("export").disabled = part("clear").disabled = ticks.size === 0;
}

function quoted(text) { return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; }

function csv() {
  const columns = ["rank", "id", "ra", "dec", "score", "tick", "known"];
  const rows = cards.filter((card) => ticks.has(card.dataset.id));
  return [columns, ...rows.map((card) => columns.map((c) => (c === "tick" ? ticks.get(card.dataset.id) : card.dataset[c] || "")))]
    .map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-tick]");
  if (button) tick(button.closest(".card"), button.dataset.tick);
});
list.addEventListener("keydown", (event) => {
  const card = event.target.closest(".card"), seen = cards.filter((c) => !c.hidden), at = seen.indexOf(card);
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
  const perRow = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow };
  const words = { i: "interesting", x: "not" };
  if (event.key in steps) seen[Math.max(0, Math.min(at + steps[event.key], seen.length - 1))]?.focus();
  else if (event.key in words) tick(card, words[event.key]);
  else return;
  event.preventDefault();
});
part("show").addEventListener("change", () => draw());
part("clear").addEventListener("click", () => { ticks.clear(); keep(); draw(); });
part("export").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), link = document.createElement("a");
  link.href = url;
  link.download = `${list.dataset.name}-ticks.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});
draw();
