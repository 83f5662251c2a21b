// Draws what /view says; every change is sent, and answered with the whole view again.
import { $, ask, counted, make, percent, rowsCard } from "./elements.js";
import { showLog } from "./hard_tasks.js";
import { byClass, inFolders, upload } from "./upload.js";

const SOME = 12, ANSWERS = 12; // pictures of a class, and answers, that are shown at first
const opened = new Set(); // what "Show all" has opened
let view = null, busy = 0;

const nameOf = (id) => view.pictures[id] ? view.pictures[id].name : "";

let silence;
function say(text) {
  $("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { $("said").textContent = ""; }, 8000);
}

async function change(path, content, done) {
  try {
    show(await ask(path, { method: "POST", body: JSON.stringify(content) }));
    say(view.problems.length ? view.problems.join(" ") : done);
  } catch (error) {
    say(error.message);
  }
}
const none = (id) => change("change", { do: "none", ids: [id] }, `${nameOf(id)} is none of these.`);
const label = (id, to) => change("change", { do: "label", ids: [id], to }, `${nameOf(id)}: ${to || "new picture"}.`);

// Takes [class, file] each, and says what of them was refused, and what before.
async function take(files, problems = []) {
  if (!files.length && !problems.length) return;
  if (busy) return say("Other pictures are still being read.");
  busy = 1;
  const { read, into } = await upload(files, problems, (text) => { $("progress").textContent = text; });
  busy = 0;
  $("problems").replaceChildren(...problems.map((one) => make("li", null, one)));
  $("progress").textContent = "";
  await load();
  say(`${counted(read, "picture")} read${into.length ? ` into ${into.join(", ")}` : ""}.`);
}

function picture(id, key) {
  const image = make("img", { src: `picture/${id}`, alt: "", loading: "lazy" });
  return make("button", {
    type: "button", class: "picture", "data-key": `${key} ${id}`, "aria-label": `Change ${nameOf(id)}`,
    title: nameOf(id), draggable: true, onclick: () => openPicture(id),
    ondragstart: (event) => event.dataTransfer.setData("text/x-picture", id),
  }, image);
}
function button(text, key, press, given) {
  return make("button", { type: "button", "data-key": key, onclick: press, ...given }, text);
}

function answerCard(one, key) {
  const { id } = one;
  const choices = one.support === "same" ? [] : [one.answer, one.runner_up].map((name, place) =>
    button(name, `${key} ${place} ${id}`, () => label(id, name),
      { "aria-label": `${name}: ${nameOf(id)}`, class: place ? null : "first" }));
  if (choices.length) choices.push(button("None of these", `${key} n ${id}`, () => none(id), { "aria-label": `None of these: ${nameOf(id)}` }));
  return make("article", { class: "card one", "aria-label": nameOf(id) }, picture(id, key), make("div", null,
    make("h4", null, `${one.answer} ${percent(one.probability)}`),
    make("meter", { min: 0, max: 1, value: one.probability, "aria-label": `Probability of ${one.answer}` }),
    make("p", { class: "soft" }, one.support === "same" ? "is in a class already" : `or ${one.runner_up} ${percent(one.runner_up_probability)}`),
    make("p", { class: "file" }, nameOf(id))),
  make("p", { class: "tools" }, ...choices,
    button("Other …", `${key} o ${id}`, () => openPicture(id), { "aria-label": `Other … for ${nameOf(id)}` })));
}

function classCard({ name, pictures }) {
  const all = opened.has(`class ${name}`) || pictures.length <= SOME + 1;
  const tested = view.tested && view.tested[name];
  const well = !tested || !tested[1] ? "" : `, ${tested[0]} of ${tested[1]} right when left out`;
  const title = `of-${view.classes.findIndex((one) => one.name === name)}`;
  return make("section", { class: "card", "data-drop": name, "aria-labelledby": title },
    make("h3", { id: title }, name), make("p", { class: "soft" }, counted(pictures.length, "picture") + well),
    make("div", { class: "strip" }, ...pictures.slice(0, all ? undefined : SOME).map((id) => picture(id, "class"))),
    make("p", { class: "tools" },
      all ? null : button(`Show all ${pictures.length}`, `all ${name}`, () => { opened.add(`class ${name}`); draw(); }),
      make("label", { class: "button pick" }, "Add pictures", make("input", {
        type: "file", multiple: true, accept: "image/*", "data-key": `add ${name}`, "aria-label": `Add pictures to ${name}`,
        onchange: (event) => take([...event.target.files].map((file) => [name, file])) })),
      button("Rename, merge …", `rename ${name}`, () => openClass(name), { "aria-label": `Rename, merge … ${name}` })));
}

function doubtCard({ id, label: name, like, probability }) {
  return make("article", { class: "card one", "aria-label": nameOf(id) }, picture(id, "doubt"), make("div", null,
    make("h4", null, `${name}, or ${like}?`),
    make("p", { class: "soft" }, `It looks like ${like} (${percent(probability)}).`),
    make("p", { class: "file" }, nameOf(id))),
  make("p", { class: "tools" },
    button(`Move to ${like}`, `doubt m ${id}`, () => label(id, like), { "aria-label": `Move to ${like}: ${nameOf(id)}`, class: "first" }),
    button(`It is ${name}`, `doubt k ${id}`, () => change("change", { do: "keep", ids: [id] }, `${nameOf(id)} stays ${name}.`),
      { "aria-label": `It is ${name}: ${nameOf(id)}` })));
}

function pairCard({ first, second, confusion, pictures }) {
  const more = [first, second].filter((one) => one.more).map((one) => `${one.more} more of ${one.name}`).join(" and ");
  const row = (one, ids) => [[`${one.name}, most like the other first`], ids.map((id) => picture(id, "pair"))];
  return rowsCard([`${first.name} and ${second.name}`],
    [make("p", null, `Pictures of one get ${percent(confusion)} for the other on average.${more ? ` Add ${more}.` : ""}`)],
    [row(first, pictures[0]), row(second, pictures[1])], "h4");
}

// The part of the address after # says which view is shown, so that going back works.
function turn() {
  const hard = location.hash === "#hard-tasks" && !$("views").hidden;
  if (hard === $("yours").hidden || !hard && !["", "#your-classes"].includes(location.hash)) return;
  $("yours").hidden = hard;
  $("hard").hidden = !hard;
  document.title = hard ? $("hard-title").textContent : "Your classes";
  const [yours, other] = $("views").children;
  (hard ? yours : other).removeAttribute("aria-current");
  (hard ? other : yours).setAttribute("aria-current", "page");
  if (hard) showLog($("hard-phase").value);
}

function deck(id, cards) {
  const home = $(id), shown = home.querySelector(":scope > .deck") || home;
  shown.replaceChildren(...cards);
  return cards.length;
}

function draw() {
  const focused = document.activeElement, key = focused && focused.dataset ? focused.dataset.key : null;
  const home = key && focused.closest(".deck"), place = home ? [...home.querySelectorAll("[data-key]")].indexOf(focused) : 0;
  const known = view.accuracy != null;
  $("accuracy").textContent = view.missing || (known
    ? `About ${percent(view.accuracy)} of new pictures of each class will be right (95 % interval ${percent(view.low)} to ${percent(view.high)}), learned from ${view.fitted}.`
    : `Learned from ${view.fitted}. A second, different picture of each class will show how well.`);
  const doubts = (view.doubts || []).length, pairs = (view.pairs || []).length;
  $("hints").hidden = !doubts && !pairs;
  $("hints").firstElementChild.textContent = [doubts && counted(doubts, "doubtful label"), pairs && counted(pairs, "confused pair")].filter(Boolean).join(", ");
  $("undo").disabled = !view.undo;
  $("undo").textContent = view.undo ? `Undo: ${view.undo}` : "Undo";
  $("save").hidden = !!view.missing;
  $("csv").hidden = !view.answers.length;
  $("write").hidden = !view.moves;
  $("write").textContent = `Write ${counted(view.moves, "change")} to the folder …`;
  $("unwrite").hidden = !view.undo_moves;
  $("read").hidden = !view.folder;
  $("notes").hidden = !view.notes.length;
  $("notes").querySelector("span").textContent = view.notes.length;
  $("notes").querySelector("ul").replaceChildren(...view.notes.map((one) => make("li", null, one)));

  $("none").hidden = !deck("none", view.none.map((id) => picture(id, "none")));
  $("none").querySelector("span").textContent = view.none.length;

  const answerOf = new Map(view.answers.map((one) => [one.id, one]));
  $("next").hidden = !deck("next", view.next.map((id) => answerCard(answerOf.get(id), "next")));
  const rest = view.answers.filter((one) => !view.next.includes(one.id));
  const some = opened.has("answers") ? rest : rest.slice(0, ANSWERS);
  const cards = some.map((one) => answerCard(one, "answer"));
  if (some.length < rest.length) cards.push(button(`Show all ${rest.length}`, "answers all", () => { opened.add("answers"); draw(); }));
  cards.push(...view.unanswered.map((id) => make("article", { class: "card one", "aria-label": nameOf(id) }, picture(id, "new"), make("p", { class: "file" }, nameOf(id)))));
  $("answers").hidden = !deck("answers", cards);
  deck("classes", view.classes.map(classCard));
  $("why").hidden = !!view.missing;
  $("sentences").replaceChildren(...(view.sentences || []).slice(known ? 1 : 0).map((one) => make("p", null, one)));
  $("doubts").hidden = !deck("doubts", (view.doubts || []).map(doubtCard));
  $("pairs").hidden = !deck("pairs", (view.pairs || []).map(pairCard));

  if (!key || document.contains(focused)) return;
  const same = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  const left = home ? [...home.querySelectorAll("[data-key]")] : [];
  const near = same || left[Math.min(place, left.length - 1)] || (home && home.parentElement.querySelector("[tabindex]"));
  if (near) near.focus();
  if (document.activeElement === document.body) $("fresh-title").focus();
}
function show(told) {
  view = told;
  draw();
}
async function load() {
  try {
    const told = await ask("view");
    $("views").hidden = !told.run;
    $("views").querySelector("bdi").textContent = told.run || "";
    show(told);
  } catch (error) {
    $("accuracy").textContent = error.message;
  }
}

// Opens a dialog; what its button says is given to `answer`, and the focus goes back to where it was.
function open(dialog, answer) {
  dialog.returnValue = "";
  dialog.onclose = () => { if (dialog.returnValue) answer(dialog.returnValue); };
  dialog.showModal();
}
function openPicture(id) {
  const dialog = $("picture"), form = dialog.querySelector("form"), NEW = "\u0000new", MAKE = "\u0000make", NONE = "\u0000none", isNone = view.none.includes(id);
  const now = view.classes.find((one) => one.pictures.includes(id));
  $("picture-name").textContent = nameOf(id);
  $("picture-image").src = `picture/${id}`;
  $("picture-now").textContent = now ? `It is in ${now.name}.` : isNone ? "It is none of these." : "It is in no class.";
  const option = (value, text) => make("option", { value, selected: !!now && value === now.name || isNone && value === NONE }, text);
  form.to.replaceChildren(...view.classes.map((one) => option(one.name, one.name)), option(NEW, "a new picture"), option(NONE, "none of these"), option(MAKE, "a new class"));
  const guess = view.answers.find((one) => one.id === id);
  if (guess) form.to.value = guess.answer;
  form.other.value = "";
  (form.to.onchange = () => { $("picture-other").hidden = form.to.value !== MAKE; form.other.required = form.to.value === MAKE; })();
  dialog.querySelectorAll("button:not([value=label])").forEach((one) => { one.formNoValidate = true; });
  open(dialog, (what) => {
    if (what === "aside") change("change", { do: "aside", ids: [id] }, `${nameOf(id)} is left out.`);
    else if (form.to.value === NONE) none(id);
    else label(id, form.to.value === NEW ? null : form.to.value === MAKE ? form.other.value : form.to.value);
  });
}
function openClass(name) {
  const dialog = $("class"), form = dialog.querySelector("form"), press = dialog.querySelector("[value=rename]");
  $("class-name").textContent = name;
  form.to.value = name;
  const others = view.classes.map((one) => one.name).filter((one) => one !== name);
  $("known").replaceChildren(...others.map((one) => make("option", { value: one })));
  (form.to.oninput = () => { press.textContent = others.includes(form.to.value.trim()) ? `Merge into ${form.to.value.trim()}` : "Rename"; })();
  open(dialog, (what) => {
    const to = form.to.value.trim();
    if (what === "remove") change("change", { do: "remove", of: name }, `${name} is removed; its pictures are new ones.`);
    else if (to !== name) change("change", { do: "rename", of: name, to }, `${name} is ${to} now.`);
  });
}
async function openPlan() {
  try {
    const plan = await ask("plan"), dialog = $("plan");
    $("plan-what").textContent = `${counted(plan.moves.length, "file")} in ${view.folder}:`;
    dialog.querySelector("ul").replaceChildren(...plan.moves.map((one) => make("li", null,
      one.of ? `move ${one.of} to ${one.to}` : `copy ${one.name} to ${one.to}`)));
    open(dialog, () => change("move", { mark: plan.mark }, "The folder is as the page now."));
  } catch (error) {
    say(error.message);
  }
}

// Pictures are dropped onto a class, or anywhere else; those of the page may be dragged onto a class as well.
function dropped(event) {
  const target = event.target.closest ? event.target.closest("[data-drop]") : null;
  return target ? target.dataset.drop : "";
}
function mark(target) {
  document.querySelectorAll(".over").forEach((one) => one.classList.remove("over"));
  if (target) target.classList.add("over");
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  mark(event.target.closest && event.target.closest("[data-drop]"));
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(null); });
addEventListener("drop", (event) => {
  event.preventDefault();
  mark(null);
  const id = event.dataTransfer.getData("text/x-picture");
  if (!id) {
    const items = [...event.dataTransfer.items].filter((one) => one.kind === "file").map((one) => [one.webkitGetAsEntry(), one.getAsFile()]);
    const folders = items.filter(([entry]) => entry && entry.isDirectory).map(([entry]) => entry), problems = [];
    const files = items.filter(([entry]) => !entry || entry.isFile).map(([, file]) => [dropped(event), file]);
    inFolders(folders, problems).then((more) => take([...files, ...more], problems));
  }
  else if (event.target.closest("[data-drop]")) label(id, dropped(event) || null);
});

addEventListener("DOMContentLoaded", () => {
  $("choose").addEventListener("change", (event) => {
    take([...event.target.files].map((file) => ["", file]));
    event.target.value = ""; // so that the same files can be chosen again
  });
  $("choose-folder").addEventListener("change", (event) => {
    const problems = [];
    take(byClass([...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]), problems), problems);
    event.target.value = "";
  });
  $("hard-phase").addEventListener("change", (event) => showLog(event.target.value));
  addEventListener("hashchange", turn);
  $("undo").addEventListener("click", () => change("change", { do: "undo" }, `Taken back: ${view.undo}.`));
  $("write").addEventListener("click", openPlan);
  $("unwrite").addEventListener("click", () => change("move-back", {}, "The folder is as it was before."));
  $("read").addEventListener("click", () => change("read", {}, "The folder is read."));
  $("make").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = event.target.name.value;
    event.target.reset();
    change("change", { do: "class", name }, `${name} is there; give it pictures.`);
  });
  load().then(turn);
});
