// The cards of the answers: of one class or of all, in the chosen order.
addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("answers-list");
  const tools = document.getElementById("answers-tools");
  const [only, order] = tools.querySelectorAll("select");
  const cards = [...box.children];
  const orders = {
    least: cards,
    most: cards.slice().reverse(),
    file: cards.slice().sort((a, b) => a.dataset.file - b.dataset.file),
  };
  const show = () => {
    let shown = 0;
    for (const card of cards) {
      card.hidden = Boolean(only.value) && card.dataset.class !== only.value;
      shown += !card.hidden;
    }
    tools.querySelector("output").textContent = only.value ? `${shown} of ${cards.length} shown` : "";
  };
  only.addEventListener("change", show);
  order.addEventListener("change", () => {
    box.append(...orders[order.value]);
    say(order.selectedOptions[0].textContent);
  });
  tools.hidden = cards.length < 2;
  show(); // on going back, the browser has kept the selection
  box.append(...orders[order.value]);
});
