"use strict";
// Runs in the head: the theme is set before anything is painted, the rest once the page is there.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

// A page opened from disk may have no storage.
function remembered() {
  try { return localStorage.getItem("report-theme"); } catch { return null; }
}
if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();

function themes(button) {
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const other = () => (now() === "dark" ? "light" : "dark");
  const label = () => { button.textContent = other() === "dark" ? "Dark" : "Light"; };
  button.setAttribute("aria-label", "Switch between light and dark");
  button.addEventListener("click", () => {
    root.dataset.theme = other();
    try { localStorage.setItem("report-theme", root.dataset.theme); } catch { /* for this visit only */ }
    label();
  });
  dark.addEventListener("change", label);
  label();
  button.hidden = false;
}

function say(text) {
  document.getElementById("spoken").textContent = text;
}

// A table or a list of cards: sorted, filtered, and cut to its first rows until all are wanted.
function list(box) {
  const body = box.tBodies ? box.tBodies[0] : box;
  const rows = [...body.children];
  const few = Number(box.dataset.few);
  const noun = box.dataset.noun;
  const field = document.querySelector(`input[aria-controls="${box.id}"]`);
  const more = document.createElement("button");
  const keys = new Map(rows.map((row) => [row, plain([...row.querySelectorAll("[data-key]")].map((cell) => cell.textContent).join(" "))]));
  let order = rows, all = false;

  function show() {
    const wanted = plain(field ? field.value.trim() : "");
    let matching = 0;
    for (const row of order) {
      row.hidden = !named(keys.get(row), wanted);
      matching += !row.hidden;
      row.classList.toggle("beyond", !all && !wanted && matching > few);
    }
    more.hidden = Boolean(wanted) || rows.length <= few;
    more.textContent = all ? `Show the first ${few} only` : `Show all ${rows.length} ${noun}`;
    more.setAttribute("aria-expanded", all);
    if (field) field.closest(".tools").querySelector("output").textContent = wanted ? `${matching} of ${rows.length} ${noun}` : "";
  }

  more.type = "button";
  more.className = "more";
  more.addEventListener("click", () => { all = !all; show(); });
  (box.closest(".scroll") || box).after(more);
  if (field) {
    field.closest(".tools").hidden = false;
    field.addEventListener("input", show);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { field.value = ""; show(); }
    });
  }
  for (const head of box.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
      for (const other of box.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      if (next) head.setAttribute("aria-sort", next);
      order = next ? sorted(rows, head.cellIndex, next === "descending") : rows;
      body.append(...order);
      show();
      say(next ? `Sorted by ${button.textContent}, ${next}` : "In the order of the report");
    });
  }
  show();
}

function plain(text) {
  return text.normalize("NFKC").toLocaleLowerCase();
}

// True if a name has the text in it, or words that begin with its words: "latin ou" finds "Latin capital ou".
function named(name, wanted) {
  const words = (text) => text.split(/[^\p{L}\p{N}\p{M}]+/u).filter(Boolean);
  const parts = words(wanted), own = words(name);
  return name.includes(wanted) || (parts.length > 0 && parts.every((word) => own.some((one) => one.startsWith(word))));
}

// Numbers by data-value, else text; what is not known comes last either way, equals keep their order.
function sorted(rows, column, down) {
  const worth = (row) => {
    const cell = row.cells[column];
    const value = cell.dataset.value ?? cell.textContent.trim();
    return value === "" || value === "–" ? null : cell.dataset.value === undefined ? value : Number(value);
  };
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const pairs = rows.map((row) => [worth(row), row]);
  pairs.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const way = typeof a === "number" ? a - b : compare(a, b);
    return down ? -way : way;
  });
  return pairs.map(([, row]) => row);
}

function unfold(target) {
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
}

function contents(menu) {
  const links = [...document.querySelectorAll("#contents a")];
  const shut = (is) => {
    document.getElementById("contents").classList.toggle("shut", is);
    menu.setAttribute("aria-expanded", !is);
  };
  document.getElementById("contents").classList.add("drops");
  shut(true);
  menu.hidden = false;
  menu.addEventListener("click", () => shut(menu.getAttribute("aria-expanded") === "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") { shut(true); menu.focus(); }
  });

  const follow = (hash) => {
    const target = hash.length > 1 && document.getElementById(hash.slice(1));
    if (target) { unfold(target); target.scrollIntoView(); }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link) return;
    unfold(document.getElementById(link.hash.slice(1)));
    if (link.closest("nav")) shut(true);
  });
  addEventListener("hashchange", () => follow(location.hash));
  follow(location.hash);

  // Marked is the last part whose top has passed the upper third of the window.
  const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
  const mark = () => {
    let at = -1;
    parts.forEach((part, i) => {
      const box = part.getBoundingClientRect();
      if (box.height && box.top < innerHeight / 3) at = i;
    });
    links.forEach((link, i) => (i === at ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  }, { passive: true });
  mark();
}

// A box that scrolls sideways can be reached by the keyboard and has a name.
function reachable() {
  for (const box of document.querySelectorAll(".scroll")) {
    const name = box.querySelector("caption") ?? box.parentElement.querySelector("figcaption");
    const given = { tabindex: "0", role: "group", "aria-label": name.textContent.trim() };
    for (const [key, value] of Object.entries(given)) {
      if (box.scrollWidth > box.clientWidth) box.setAttribute(key, value); else box.removeAttribute(key);
    }
  }
}

function printing() {
  addEventListener("beforeprint", () => {
    for (const picture of document.images) picture.loading = "eager";
  });
}

addEventListener("DOMContentLoaded", () => {
  themes(document.getElementById("theme"));
  if (matchMedia("(min-width: 60.01rem)").matches) for (const part of document.querySelectorAll("[data-wide]")) part.open = true;
  document.querySelectorAll("[data-few]").forEach(list);
  contents(document.getElementById("menu"));
  reachable();
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);
  printing();
});
