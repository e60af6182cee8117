"use strict";
// The page's program: tables to sort, leaderboards and galleries to choose from, charts of what was chosen.
// Text from data is only ever set as textContent.

const given = (name) => {
  const element = document.getElementById(`data-${name}`);
  return element ? JSON.parse(element.textContent) : window.samattr[name];
};
const charts = given("charts"), boards = given("boards"), shipped = given("shipped"), galleries = given("galleries"), runs = given("runs");
const byId = (id) => document.getElementById(id);
const distinct = (values) => [...new Set(values)];
const shown = (value) => value === null || value === undefined ? "–" : Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.001) ? value.toExponential(2) : String(Number(value.toPrecision(4)));

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function choices(id, values, labels = {}) {
  const select = byId(id);
  select.replaceChildren(...values.map((value) => make("option", { value, textContent: labels[value] ?? value })));
  return select;
}

// ---- charts

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = new Map();

const colours = () => {
  const [text, line, grid] = dark.matches ? ["#e6eaf1", "#a8b2c3", "#2b3340"] : ["#1c2330", "#555f70", "#e4e7ee"];
  return { background: "transparent", text: { color: text }, rule: { color: line }, axis: { gridColor: grid } };
};

async function draw(id, name, rows, changed = (spec) => spec) {
  drawn.set(id, [name, rows, changed]);
  const spec = changed(structuredClone(charts[name]));
  spec.data = { values: rows };
  const found = await vegaEmbed(byId(id), spec, {
    actions: false, renderer: "svg", theme: dark.matches ? "dark" : undefined, config: colours(),
  });
  return found.view;
}
dark.addEventListener("change", () => drawn.forEach(([name, rows, changed], id) => draw(id, name, rows, changed)));

// ---- tables

const number = (text) => { const found = text.replace("−", "-").match(/-?\d[\d.,]*(e[-+]?\d+)?/i); return found ? Number(found[0].replaceAll(",", "")) : NaN; };

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => [row, row.cells[column].textContent.trim()]);
      const numeric = rows.filter(([, text]) => !Number.isNaN(number(text))).length > rows.length / 2;
      const compare = numeric
        ? (a, b) => (Number.isNaN(a = number(a)) ? Infinity : a) - (Number.isNaN(b = number(b)) ? Infinity : b)
        : (a, b) => a.localeCompare(b);
      rows.sort(([, a], [, b]) => (up ? 1 : -1) * compare(a, b));
      table.tBodies[0].append(...rows.map(([row]) => row));
    });
  });
}

function tableOf(name, columns, rows) {
  const table = make("table", { className: "sortable" }, make("caption", { textContent: name }));
  table.createTHead().insertRow().append(...columns.map((column) => { const head = make("th", { textContent: column }); head.scope = "col"; return head; }));
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...row.map((cell) => make("td", { className: cell.length > 40 ? "long" : "" }, cell)));
  sortable(table);
  const box = make("div", { className: "wide", tabIndex: 0 }, table);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", name);
  return box;
}

function bar(row, low, high) {
  const place = (value) => `${Math.min(100, Math.max(0, 100 * (value - low) / (high - low || 1)))}%`;
  const box = make("span", { className: "bar" });
  box.setAttribute("aria-hidden", "true");
  if (row.low !== null) {
    const line = make("i");
    line.style.left = place(row.low);
    line.style.width = `calc(${place(row.high)} - ${place(row.low)})`;
    box.append(line);
  }
  const dot = make("b");
  dot.style.left = place(row.mean);
  box.append(dot);
  return box;
}

const interval = (row) => row.low === null ? shown(row.mean) : `${shown(row.mean)} [${shown(row.low)}, ${shown(row.high)}]`;
const time = (text, row) => row.starred ? `${text} *` : text;
const ends = (rows) => [Math.min(...rows.map((row) => row.low ?? row.mean)), Math.max(...rows.map((row) => row.high ?? row.mean))];
const notes = (rows) => rows.filter((row) => row.note).map((row) => make("p", { className: "note", textContent: `${row.label}: ${row.note}.` }));
const matches = (row, text) => row.label.toLowerCase().includes(text.trim().toLowerCase());

// ---- leaderboards

function board() {
  const own = boards.filter((row) => row.workload === byId("board-workload").value && row.metric === byId("board-metric").value);
  const rows = own.filter((row) => matches(row, byId("board-filter").value)).sort((a, b) => a.order - b.order);
  const metric = byId("board-metric").value, [low, high] = ends(own);
  byId("board-table").replaceChildren(tableOf(`${metric} on ${byId("board-workload").value}`, ["Method", metric, "95 % interval", "Seeds"],
    rows.map((row) => [row.label, time(interval(row), row), bar(row, low, high), String(row.seeds)])), ...notes(rows));
  draw("board-chart", "standings", rows, (spec) => { spec.layer[0].encoding.x.title = metric; return spec; });
}

function ship() {
  const own = shipped[byId("shipped-workload").value], [low, high] = ends(own);
  const rows = own.filter((row) => matches(row, byId("shipped-filter").value));
  byId("shipped-table").replaceChildren(tableOf(`The leaderboard of ${byId("shipped-workload").value}`, ["Rank", "Method", "Spearman", "95 % interval", "Trainings", "Peak memory (MiB)"],
    rows.map((row) => [String(row.rank), row.label, interval(row), bar(row, low, high), time(shown(row.cost), row), shown(row.mebibytes)])), ...notes(rows));
  draw("pareto-chart", "pareto", own);
}

if (boards.length) {
  choices("board-workload", distinct(boards.map((row) => row.workload)));
  choices("board-metric", given("metrics").filter((metric) => boards.some((row) => row.metric === metric)));
  for (const id of ["board-workload", "board-metric"]) byId(id).addEventListener("change", board);
  byId("board-filter").addEventListener("input", board);
  board();
}
if (Object.keys(shipped).length) {
  choices("shipped-workload", Object.keys(shipped)).addEventListener("change", ship);
  byId("shipped-filter").addEventListener("input", ship);
  ship();
}

// ---- gallery

const gallery = () => galleries[byId("gallery-workload").value];

function card(title, point, ...lines) {
  const box = make("div", { className: "card" });
  if (point.image) box.append(make("img", { src: `data:image/png;base64,${point.image}`, alt: title }));
  else if (point.text) { box.classList.add("text"); const words = make("p", { className: "words", textContent: point.text, tabIndex: 0 }); box.append(words); }
  box.append(make("p", { textContent: title }));
  if (point.wrong) { box.classList.add("bad"); box.append(make("p", { className: "mark", textContent: `wrong label, it is ${point.right}` })); }
  box.append(...lines.map((textContent) => make("p", { textContent })));
  return box;
}

const pointCard = (i, ...lines) => card(`point ${i}: ${gallery().points[i].label}`, gallery().points[i], ...lines);
const effect = (value) => value === null ? "not removed" : `${value > 0 ? "+" : ""}${Number(value.toPrecision(3))}`;

function ranks(method, sign) {
  const own = (gallery().pairs[method]?.[byId("gallery-query").value] ?? []).filter(([, rank]) => rank * sign > 0);
  own.sort((a, b) => Math.abs(a[1]) - Math.abs(b[1]));
  const cards = own.map(([i, rank, score, exact]) => pointCard(i, `rank ${Math.abs(rank)}`, `predicted ${effect(score)}`, `exact ${effect(exact)}`));
  return make("div", { className: "cards" }, ...cards);
}

function showGallery() {
  const found = gallery(), q = Number(byId("gallery-query").value), query = found.queries[q], sign = byId("gallery-sign").value;
  const parts = [make("div", { className: "cards" }, card(`query ${q}: ${query.label}`, query, `predicted ${query.predicted}`, `loss ${shown(query.loss)} nats`))];
  for (const [side, called] of [["1", "most helpful"], ["-1", "most harmful"]]) {
    if (sign !== "both" && sign !== side) continue;
    for (const method of distinct([byId("gallery-method").value, "loo"])) {
      if (!found.pairs[method]) continue;
      parts.push(make("h3", { textContent: `${called}, by ${found.methods[method]}` }), ranks(method, Number(side)));
    }
  }
  byId("gallery-shown").replaceChildren(...parts);
  showEffects();
}

async function showEffects() {
  const own = gallery().pairs[byId("gallery-method").value][byId("gallery-query").value] ?? [];
  const rows = own.filter(([, , , exact]) => exact !== null).map(([point, , score, exact]) => ({ point, score, exact, wrong: gallery().points[point].wrong, given: gallery().points[point].label }));
  const view = await draw("effects-chart", "effects", rows);
  view.addEventListener("mouseover", (event, item) => item?.datum?.point !== undefined && showPoint(item.datum));
  view.addEventListener("click", (event, item) => item?.datum?.point !== undefined && showPoint(item.datum));
}
const showPoint = (row) => byId("effects-point").replaceChildren(pointCard(row.point, `predicted ${effect(row.score)}`, `exact ${effect(row.exact)}`));

const PAGE = 24;
let first = 0;
function showPoints() {
  const text = byId("points-filter").value.trim().toLowerCase();
  const chosen = Object.keys(gallery().points).filter((i) => { const point = gallery().points[i]; return !text || point.label.toLowerCase() === text || (text === "wrong" && point.wrong); });
  first = Math.max(0, Math.min(first, PAGE * Math.floor((chosen.length - 1) / PAGE)));
  byId("points-count").textContent = chosen.length ? `${first + 1} to ${Math.min(first + PAGE, chosen.length)} of ${chosen.length}` : "none";
  byId("points-before").disabled = first === 0;
  byId("points-next").disabled = first + PAGE >= chosen.length;
  byId("points-shown").replaceChildren(...chosen.slice(first, first + PAGE).map((i) => pointCard(i)));
}

function showSuspects() {
  const own = gallery().suspects[byId("gallery-method").value] ?? [];
  byId("suspects-shown").replaceChildren(...own.map(([i, rank, score]) => pointCard(i, `rank ${rank}`, `score ${effect(score)}`)));
}

function chooseGallery() {
  const found = gallery();
  choices("gallery-method", Object.keys(found.methods), found.methods);
  byId("gallery-method").value = Object.keys(found.methods).find((name) => name !== "loo") ?? "loo";
  choices("gallery-query", found.queries.map((_, q) => String(q)), Object.fromEntries(found.queries.map((query, q) => [q, `${q}: ${query.label}`])));
  first = 0;
  showGallery();
  showSuspects();
  showPoints();
}

if (Object.keys(galleries).length) {
  choices("gallery-workload", Object.keys(galleries)).addEventListener("change", chooseGallery);
  byId("gallery-method").addEventListener("change", () => { showGallery(); showSuspects(); });
  for (const id of ["gallery-query", "gallery-sign"]) byId(id).addEventListener("change", showGallery);
  byId("points-filter").addEventListener("input", () => { first = 0; showPoints(); });
  byId("points-before").addEventListener("click", () => { first -= PAGE; showPoints(); });
  byId("points-next").addEventListener("click", () => { first += PAGE; showPoints(); });
  chooseGallery();
}

// ---- runs

function showRun() {
  const run = runs[byId("run-workload").value];
  for (const name of ["loss", "accuracy", "grad_norm", "rho_over_grad_norm"]) draw(`run-${name}`, name, run.states);
  draw("run-adjoint", "adjoint", run.adjoint);
  draw("run-influence", "influence", run.influence);
}
if (Object.keys(runs).length) {
  choices("run-workload", Object.keys(runs)).addEventListener("change", showRun);
  showRun();
}

document.querySelectorAll("img[data-figure]").forEach((small) => { small.src = document.querySelector(`#figure-${small.dataset.figure} img`).src; });

document.querySelectorAll("table.sortable").forEach((table) => table.querySelector("th button") || sortable(table));
