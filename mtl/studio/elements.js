// What both views of the page are made of.
export const $ = (id) => document.getElementById(id);

// An element. Text stays text: nothing that came from a file name is read as HTML.
export function make(tag, given, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside.filter((one) => one != null));
  return made;
}
export const percent = (p) => p > 0.99 && p < 1 ? ">99\u00a0%" : p > 0 && p < 0.01 ? "<1\u00a0%" : `${Math.round(100 * p)}\u00a0%`;
export const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;

export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The program does not answer; is it still running?");
  }
  const told = await answer.json().catch(() => ({ error: "The program answered something else." }));
  if (!answer.ok) throw new Error(told.error);
  return told;
}

// A card with a title, lines of text, and rows of pictures, each with a line above.
export function rowsCard(title, lines, rows, level = "h3") {
  const heading = make(level, null, ...title);
  return make("article", { class: "card", "aria-label": heading.textContent }, heading, ...lines,
    ...rows.flatMap(([text, pictures]) => [make("p", { class: "soft" }, ...text), make("div", { class: "strip" }, ...pictures)]));
}
