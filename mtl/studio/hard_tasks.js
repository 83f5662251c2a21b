// The hard tasks of a run: its pictures are looked at, not changed.
import { $, ask, counted, make, percent, rowsCard } from "./elements.js";

const still = (one) => make("img", { src: one.source, alt: one.alt, title: one.alt, loading: "lazy", class: one.width < 40 ? "coarse" : null });
const named = (name) => make("bdi", null, name); // which may run from right to left
const soft = (...parts) => make("p", { class: "soft" }, parts.filter(Boolean).join(", "));
const course = (one) => [make("p", null, make("b", null, `${percent(one.first)} → ${percent(one.last)}`), ` right, ${percent(one.mean)} on average`),
  make("meter", { min: 0, max: 1, value: one.last, "aria-label": "Accuracy now" })];
function neighbourhoodCard({ row, pictures, members }) {
  const card = rowsCard([named(row.name)], [...course(row), soft(`drawn ${counted(row.drawn, "time")}`,
    row.trained != null && `${percent(row.trained)} right in training`, row.weight != null && `weight ×${row.weight.toFixed(1)}`)], []);
  card.append(make("div", { class: "strip" }, ...pictures.map(still)), soft("most easily taken for"),
    make("ul", { class: "members" }, ...row.members.map((name, place) => make("li", null, ...members[place].map(still), named(name)))));
  return card;
}
function taskCard({ task, shown, wrong, worst_id, worst_accuracy, worst_step }) {
  const figure = (shown, ...caption) => make("figure", null, shown && still(shown), make("figcaption", null, ...caption));
  const missed = (name) => wrong.filter((query) => query.own === name)
    .map((query) => figure(query.picture, "as ", named(query.predicted), ` ${percent(query.confidence)}`));
  return rowsCard(task.classes.flatMap((name, place) => place ? [" · ", named(name)] : [named(name)]), [...course(task), soft(`seen ${counted(task.seen, "time")}`,
    task.resampled && `drawn as hard ${counted(task.resampled, "time")}`, task.weight != null && `weight ${task.weight.toPrecision(3)}`, task.verdict),
  soft(`worst visit ${worst_id}${worst_step == null ? "" : ` at step ${worst_step.toLocaleString("en")}`}: ${percent(worst_accuracy)} right`)],
  shown.map((one) => [[named(one.name), ` ${percent(one.recall)} right`], [...one.pictures.map((shown) => figure(shown, "learned from")), ...missed(one.name)]]));
}
function confusedCard({ pair, first_pictures, second_pictures }) {
  const [first, second] = pair.classes;
  return rowsCard([named(first), " and ", named(second)], [make("p", null, make("b", null, percent(pair.confusion)), ` confused, in ${counted(pair.n, "task")}`)], [
    [[`${percent(pair.first_as_second)} as `, named(second)], first_pictures.map(still)],
    [[`${percent(pair.second_as_first)} as `, named(first)], second_pictures.map(still)]]);
}
const PARTS = [
  ["neighbourhoods", "Hardest neighbourhoods", "The tasks around a class: of the class and those that it is most easily taken for. Accuracy of the one that the first round solved → now.", neighbourhoodCard],
  ["tasks", "Hardest tasks", "A task is a set of classes. Accuracy at its first visit → now; then the worst visit, and of its hardest classes what was learned from, and what was got wrong.", taskCard],
  ["pairs", "Most confused pairs", "The mean probability that queries of either class got for the other.", confusedCard],
];
export async function showLog(phase) {
  $("hard-said").textContent = "Reading the log and its pictures …";
  try {
    const log = await ask(`hard-tasks?phase=${encodeURIComponent(phase || "")}`);
    $("hard-said").textContent = `${counted(log.episodes, "episode")} of ${log.phase}, the hardest first.`;
    $("hard-tools").hidden = log.phases.length < 2;
    $("hard-phase").replaceChildren(...log.phases.map((name) => make("option", { value: name, selected: name === log.phase }, name)));
    $("hard-notes").replaceChildren(...log.notes.map((one) => make("li", null, one)));
    $("hard-cards").replaceChildren(...PARTS.filter(([part]) => log[part].length).map(([part, title, how, card]) =>
      make("section", { "aria-labelledby": `hard-${part}` }, make("h2", { id: `hard-${part}` }, title), make("p", { class: "how" }, how),
        make("div", { class: "deck wide" }, ...log[part].map(card)))));
  } catch (error) {
    $("hard-said").textContent = error.message;
    $("hard-cards").replaceChildren();
  }
}
