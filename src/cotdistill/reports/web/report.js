"use strict";
// Everything from a run reaches the page as text: textContent and text nodes only, never as markup.

const $ = (id) => document.getElementById(id);
const WORDS = { c: "correct", w: "wrong", u: "unreadable", t: "truncated", "-": "not asked" };
const MARKS = { c: "\u2713", w: "\u2717", u: "?", t: "\u2026", "-": "\u00b7" };
const MAX_MARKS = 12;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Light and dark

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  $("theme").textContent = isDark() ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Switch to a ${isDark() ? "light" : "dark"} page`);
}

function switchTheme() {
  setTheme(isDark() ? "light" : "dark");
  try { localStorage.setItem("cotdistill-theme", document.documentElement.dataset.theme); } catch { /* not kept */ }
}

function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem("cotdistill-theme"); } catch { /* storage may be forbidden for files */ }
  setTheme(kept === "light" || kept === "dark" ? kept : "");
  $("theme").hidden = false;
  $("theme").addEventListener("click", switchTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(""));
}

// Pieces: JSON, deflated, in base64, read when they are needed

const pieces = [...document.querySelectorAll("script.piece")];
const unpacked = new Map();

function unpack(number) {
  if (!unpacked.has(number)) unpacked.set(number, inflate(pieces[number].textContent));
  return unpacked.get(number);
}

async function inflate(base64) {
  const binary = atob(base64.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

// The index, the chosen filters, and what is left of the questions

let index = null;
let shown = [];
let selected = -1;
let filterRun = 0;

function pieceOf(row) {
  let low = 0, high = index.starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (index.starts[middle] <= row) low = middle; else high = middle - 1;
  }
  return low;
}

async function readSample(row) {
  const piece = pieceOf(row);
  return (await unpack(piece + 1))[row - index.starts[piece]];
}

function passes(row) {
  const verdicts = index.verdicts[row];
  const task = $("task").value, verdict = $("verdict").value, flip = $("flip").value;
  if (task !== "" && index.rows[row][0] !== Number(task)) return false;
  const mine = verdicts[Number($("arm").value)];
  if (verdict && mine !== verdict) return false;
  if (!flip) return true;
  const theirs = verdicts[Number($("other").value)];
  if (mine === "-" || theirs === "-") return false;
  return flip === { "truefalse": "gained", "falsetrue": "lost", "truetrue": "both", "falsefalse": "neither" }[
    String(mine === "c") + String(theirs === "c")];
}

async function filter() {
  const run = ++filterRun;
  const words = $("search").value.trim().toLowerCase();
  const candidates = index.rows.map((_, row) => row).filter(passes);
  if (!words) { finish(candidates); return; }
  const found = [];
  let drawn = performance.now();
  for (const row of candidates) {
    const [, id, preview] = index.rows[row];
    const sample = await readSample(row);
    if (run !== filterRun) return;
    const matches = (text) => text.toLowerCase().includes(words);
    if (matches(id) || matches(preview) || matches(sample[0]) || sample[3].some(matches)) found.push(row);
    if (performance.now() - drawn > 150) {
      count(`searching: ${found.length} found`);
      await new Promise((resume) => setTimeout(resume));
      if (run !== filterRun) return;
      drawn = performance.now();
    }
  }
  finish(found);
}

function finish(rows) {
  show(rows);
  count();
}

function count(text) {
  $("count").textContent = text ||
    `${shown.length.toLocaleString("en")} of ${index.rows.length.toLocaleString("en")} questions`;
}

function show(rows) {
  const kept = selected >= 0 ? shown[selected] : undefined;
  shown = rows;
  $("list").setAttribute("aria-busy", "false");
  $("rows").style.height = `${rows.length * rowHeight()}px`;
  $("list").scrollTop = 0;
  $("rows").replaceChildren();
  select(Math.max(0, rows.indexOf(kept)));
}

// The list: only the rows in view exist

const rowHeight = () => 3.5 * parseFloat(getComputedStyle(document.documentElement).fontSize);

function drawRows() {
  const list = $("list"), height = rowHeight();
  const first = Math.max(0, Math.floor(list.scrollTop / height) - 4);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 4);
  const rows = [];
  for (let place = first; place < last; place++) rows.push(drawRow(place, height));
  $("rows").replaceChildren(...rows);
  list.setAttribute("aria-activedescendant", selected >= first && selected < last ? `row-${selected}` : "");
}

function drawRow(place, height) {
  const [task, id, preview] = index.rows[shown[place]];
  const row = element("div", "row");
  row.id = `row-${place}`;
  row.style.top = `${place * height}px`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", String(place === selected));
  row.setAttribute("aria-posinset", String(place + 1));
  row.setAttribute("aria-setsize", String(shown.length));
  const head = element("div", "id");
  head.append(element("span", "", index.tasks.length > 1 ? index.tasks[task].split("/").pop() : id));
  head.append(drawMarks(index.verdicts[shown[place]]));
  row.append(head, element("div", "text", preview || id));
  row.addEventListener("click", () => select(place));
  return row;
}

function drawMarks(verdicts) {
  const right = [...verdicts].filter((letter) => letter === "c").length;
  const marks = element("span", "marks");
  const words = `${right} of ${verdicts.length} right`;
  if (verdicts.length > MAX_MARKS) { marks.textContent = words; return marks; }
  for (const letter of verdicts) marks.append(element("span", `v-${letter}`, MARKS[letter]));
  marks.title = words;
  marks.setAttribute("aria-label", words);
  return marks;
}

function select(place) {
  selected = shown.length ? Math.min(Math.max(place, 0), shown.length - 1) : -1;
  const list = $("list"), height = rowHeight(), top = selected * height;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
  drawRows();
  drawSample();
}

// One question with every output

let sampleRun = 0;

async function drawSample() {
  const run = ++sampleRun;
  const target = $("sample");
  if (selected < 0) { target.replaceChildren(element("p", "note", "No question matches these filters.")); return; }
  const row = shown[selected], words = $("search").value.trim();
  const [task, id] = index.rows[row];
  const [question, choices, answer, texts, outputs] = await readSample(row);
  if (run !== sampleRun) return;
  const asked = element("div", "question");
  asked.append(block(question || "The text of this question was not kept.", words));
  choices.forEach((choice, number) => asked.append(block(`${String.fromCharCode(65 + number)}. ${choice}`, words)));
  const gold = element("p", "gold", `Gold answer: ${answer}`);
  const cards = element("div", "cards");
  const chosen = [Number($("arm").value), Number($("other").value)];
  const order = [...new Set([...chosen, ...outputs.keys()])];
  for (const cell of order) cards.append(drawCard(cell, outputs[cell], texts, row, words, chosen.includes(cell)));
  target.replaceChildren(element("h3", "", `${index.tasks[task]}, ${id}`), asked, gold, cards);
}

function drawCard(cell, output, texts, row, words, chosen) {
  const letter = index.verdicts[row][cell];
  const card = element("section", chosen ? "card chosen" : "card");
  card.setAttribute("aria-label", index.cells[cell].name);
  const head = element("header");
  head.append(element("span", "name", index.cells[cell].name));
  head.append(element("span", `chip v-${letter}`, `${MARKS[letter]} ${WORDS[letter]}`));
  card.append(head);
  if (!output) return card;
  const [text, extracted, tokens] = output;
  const body = block(texts[text] || "(nothing)", words);
  body.tabIndex = 0;
  card.append(body);
  const read = extracted === null ? "no answer read" : `read as ${extracted}`;
  card.append(element("p", "foot", `${read}, ${tokens.toLocaleString("en")} tokens`));
  return card;
}

function block(text, words) {
  const made = element("pre", "text-block");
  const low = text.toLowerCase(), wanted = words.toLowerCase();
  if (!wanted || low.length !== text.length) { made.textContent = text; return made; }
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    made.append(text.slice(from, at), element("mark", "", text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  made.append(text.slice(from));
  return made;
}

// Controls

function fillSelect(id, names, values) {
  $(id).replaceChildren(...names.map((name, place) => {
    const option = element("option", "", name);
    option.value = String(values[place]);
    return option;
  }));
}

function armChosen() {
  const base = index.cells[Number($("arm").value)].base;
  if (base !== null && base !== undefined) $("other").value = String(base);
  filter();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const inList = document.activeElement === $("list");
  const actions = { t: switchTheme };
  if (index) {
    Object.assign(actions, { j: () => select(selected + 1), k: () => select(selected - 1), "/": () => $("search").focus() });
    if (inList) Object.assign(actions, {
      ArrowDown: () => select(selected + 1), ArrowUp: () => select(selected - 1),
      Home: () => select(0), End: () => select(shown.length - 1),
    });
  }
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

async function startSamples() {
  if (!pieces.length) return;
  index = await unpack(0);
  const cells = index.cells.map((cell) => cell.name), numbers = cells.map((_, number) => number);
  fillSelect("task", [`all ${index.tasks.length}`, ...index.tasks], ["", ...index.tasks.keys()]);
  fillSelect("arm", cells, numbers);
  fillSelect("other", cells, numbers);
  $("arm").value = String(index.first[0]);
  $("other").value = String(index.first[1]);
  for (const id of ["task", "verdict", "other", "flip"]) $(id).addEventListener("change", filter);
  $("arm").addEventListener("change", armChosen);
  let waiting = 0;
  $("search").addEventListener("input", () => {
    $("list").setAttribute("aria-busy", "true");
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  let drawing = 0;
  $("list").addEventListener("scroll", () => { cancelAnimationFrame(drawing); drawing = requestAnimationFrame(drawRows); });
  addEventListener("resize", () => { $("rows").style.height = `${shown.length * rowHeight()}px`; drawRows(); });
  $("browser").hidden = false;
  await filter();
  document.documentElement.dataset.ready = "yes";
}

startTheme();
document.addEventListener("keydown", onKey);
startSamples().catch((error) => {
  $("browser").hidden = false;
  $("browser").replaceChildren(element("p", "note", `The samples cannot be shown in this browser (${error.message}).`));
});
